"""Mistakes that a hand could make in the rims, kept as data: each must be noticed by a fast test (`make mistakes`)."""
