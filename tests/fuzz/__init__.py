"""Hostile input against the real pipeline: admit, merge, seal, encode, within a broker's limits."""
