"""What is read from the API and from Monero, as typed values."""
