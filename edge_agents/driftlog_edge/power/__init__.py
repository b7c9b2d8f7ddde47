"""What the device says of its power and its network, and what is kept back for it."""
