"""What a worker tells of itself: logs, metrics, whether it is well, whether it spins idly."""
