"""Carry out what core decides, through the adapters."""
