"""WalletPools: their objects, their drift, their end, and the scheduling gates of fresh slots."""
