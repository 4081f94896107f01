"""What the operator last saw of the cluster, and what it is looked up by."""
