"""Queries to monerod: its state once a second, transactions and key images in batches."""
