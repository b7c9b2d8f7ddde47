"""Part of Driftlog."""
