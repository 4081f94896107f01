"""Builders of the Kubernetes objects that the operator makes: pure functions that return plain dicts and lists."""
