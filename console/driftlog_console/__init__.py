"""The console: what waits for a person, and the fleet at a glance."""
