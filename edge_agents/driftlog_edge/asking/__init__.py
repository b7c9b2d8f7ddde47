"""What an application asks: commands, reads, changes as they happen, conflicts to decide."""
