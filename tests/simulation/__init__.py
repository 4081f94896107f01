"""A whole operator in one process and thread: API server, cluster and Monero are simulated, and time is virtual."""
