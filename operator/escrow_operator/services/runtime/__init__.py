"""What every service runs on: queues, concurrency, outcomes, metrics."""
