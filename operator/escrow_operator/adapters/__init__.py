"""All I/O of the operator: Kubernetes, monero-wallet-rpc, monerod, its own web server and the clock."""
