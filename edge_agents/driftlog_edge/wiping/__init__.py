"""Erasing a replica because its operator said so."""
