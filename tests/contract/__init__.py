"""What the operator relies on in Monero's servers: the same tests for the simulated and for real ones."""
