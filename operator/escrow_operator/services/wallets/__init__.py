"""The wallets in the slots: deeds, connections, key exchange; opening, reading and closing wallets."""
