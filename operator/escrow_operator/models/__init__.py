"""Typed values for what is read from the Kubernetes API and from Monero."""
