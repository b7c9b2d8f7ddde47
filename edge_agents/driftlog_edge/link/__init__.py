"""The one connection to the cloud: whether there is a way, since when the replica is in step, who is told."""
