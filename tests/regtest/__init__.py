"""Clients of a regtest Monero network: mine blocks, pay as a customer, pay out as an escrow platform."""
