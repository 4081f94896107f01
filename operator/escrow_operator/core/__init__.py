"""Pure decisions: from observed state to the action to take. No I/O, and the time is an argument."""
