"""Worker processes: what one is told, how it starts, who starts it again, who holds its folder, what it tells Prometheus."""
