"""Infrastructure that all services use: queues, concurrency, outcomes, metrics."""
