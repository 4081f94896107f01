"""A gateway to the open wallets: who may call which wallet is Kubernetes' own decision."""
