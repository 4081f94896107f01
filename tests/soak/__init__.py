"""Users and faults at random on the real test cluster, and a checker that looks on from outside."""
