"""The last known state of the cluster, with indexes."""
