"""Reconciliation of EscrowSessions: opening, reading, renewal and closing."""
