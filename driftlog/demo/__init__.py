"""The retail day: a story played on a real broker with real processes, and checked to the unit."""
