"""Pure decisions: from what was seen to what should be done. No I/O, and the time is an argument."""
