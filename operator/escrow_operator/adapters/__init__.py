"""The only I/O: Kubernetes, monero-wallet-rpc, monerod and the clock."""
