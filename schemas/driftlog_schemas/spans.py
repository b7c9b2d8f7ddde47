"""Lengths of time as people read them."""

from __future__ import annotations


def span(ms: int) -> str:
    """A length of time, for people."""
    seconds = ms / 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
