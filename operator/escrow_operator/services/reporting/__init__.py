"""What the operator reports: status, Events, metrics of the current state."""
