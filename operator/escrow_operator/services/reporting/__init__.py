"""What the operator says: status, Events, metrics of the whole."""
