"""The demo: a real 2-of-3 escrow on a real cluster, told in the terminal. Run it with ``make demo``."""
