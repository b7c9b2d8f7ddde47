"""Hybrid logical clock: time that never runs backwards and stays near the wall.

One stamp is one integer: 48 bit milliseconds since the epoch, then a 16 bit counter, so that stamps compare as
numbers. The clock itself reads no wall: whoever owns the rim passes `wall_ms`. Causality is decided by version
vectors alone; stamps only order writes that are concurrent, and tell people when something happened.

A stamp further ahead of the record's append time than the bound counts as the append time (`bounded`), so that a
device with a clock of next year cannot win every conflict until then.

Source: Kulkarni et al. 2014, "Logical Physical Clocks", figure 5.
"""

from __future__ import annotations

COUNTER_BITS = 16
COUNTER_MASK = (1 << COUNTER_BITS) - 1
MAX_MS = (1 << 48) - 1
DEFAULT_BOUND_MS = 5 * 60 * 1000


def pack(ms: int, counter: int = 0) -> int:
    """The stamp of millisecond `ms` (0..2^48-1) and `counter` (0..65535).

    Raises:
        ValueError: either part is out of its range.
    """
    if not 0 <= ms <= MAX_MS or not 0 <= counter <= COUNTER_MASK:
        raise ValueError(f"no such HLC stamp: ms={ms}, counter={counter}")
    return (ms << COUNTER_BITS) | counter


def millis(stamp: int) -> int:
    """The millisecond part of a stamp."""
    return stamp >> COUNTER_BITS


def bounded(stamp: int, append_ms: int, bound_ms: int = DEFAULT_BOUND_MS) -> int:
    """The time a stamp counts as, given when the log took its record: itself, or the append time if too far ahead."""
    return stamp if (stamp >> COUNTER_BITS) <= append_ms + bound_ms else pack(append_ms)


class HybridClock:
    """The last stamp seen or given; `tick` for a local event, `observe` for a stamp from elsewhere."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, wall_ms: int) -> int:
        """A stamp above all earlier ones, at `wall_ms` where the wall is ahead. A full counter carries into the ms."""
        wall = wall_ms << COUNTER_BITS
        self.last = wall if wall > self.last else self.last + 1
        return self.last

    def observe(self, stamp: int) -> None:
        """Never again give a stamp at or below this one."""
        if stamp > self.last:
            self.last = stamp
