"""``kubectl escrow``: for people who run trades, and who are called when one of them stands still."""
