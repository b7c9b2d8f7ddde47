"""The way in: records of the cloud become consistent cuts, and cuts become the replica's state."""
