"""WalletPools: their objects, drift and deletion, and the scheduling gates of new slots."""
