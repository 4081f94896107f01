"""Keeps the wallets of active Monero escrow trades open, each in a monero-wallet-rpc pod of its own.

The layers, enforced by import-linter (see pyproject.toml), from the outside in: ``handlers`` (kopf) → ``services``
(carry out decisions) → ``adapters`` (the only I/O) → ``core`` (pure decisions) → ``models``.
"""
