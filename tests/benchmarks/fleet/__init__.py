"""Slots by the thousand on a real API server: nodes and pods are simulated by KWOK, wallets by one small server."""
