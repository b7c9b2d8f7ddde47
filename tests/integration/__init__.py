"""The programs as processes, on a real broker."""
