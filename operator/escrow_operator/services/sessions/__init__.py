"""EscrowSessions, from the first look to the last."""
