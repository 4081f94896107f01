"""Periodic work on all objects: full lists, orphaned pods, drift."""
