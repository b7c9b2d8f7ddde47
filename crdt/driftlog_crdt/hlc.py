"""Hybrid logical clock: time that never runs backwards and stays near the wall.

One stamp is one integer: 48 bit milliseconds since the epoch, then a 16 bit counter, so that stamps compare as
numbers. The clock itself reads no wall: whoever owns the rim passes `wall_ms`. Causality is decided by version
vectors alone; stamps only order writes that are concurrent, and tell people when something happened.

A stamp further ahead of the record's append time than the bound counts as the append time (`bounded`), so that a
device with a clock of next year cannot win every conflict until then. Nor may such a stamp drag another clock along
(`observe`), nor its own once the log has contradicted it (`correct`): one hour in 2030 is not for ever.

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
    """The last stamp seen or given, and how much the wall is known to be ahead of real time.

    `tick` for a local event, `observe` for a stamp from elsewhere, `correct` and `at_least` for what a log says of time.
    """

    __slots__ = ("ahead_ms", "last")

    def __init__(self, last: int = 0, ahead_ms: int = 0) -> None:
        self.last = last
        self.ahead_ms = ahead_ms

    def now_ms(self, wall_ms: int) -> int:
        """Real time, as far as it is known."""
        return wall_ms - self.ahead_ms

    def tick(self, wall_ms: int) -> int:
        """A stamp above all earlier ones, at the time of the wall where that is ahead. A full counter carries into the ms."""
        wall = (wall_ms - self.ahead_ms) << COUNTER_BITS
        self.last = wall if wall > self.last else self.last + 1
        return self.last

    def observe(self, stamp: int, now_ms: int, bound_ms: int = DEFAULT_BOUND_MS) -> None:
        """Never again give a stamp at or below this one, unless it is further ahead of `now_ms` than the bound: then it is wrong."""
        if self.last < stamp and millis(stamp) <= now_ms + bound_ms:
            self.last = stamp

    def correct(self, stamped_ms: int, append_ms: int, wall_ms: int) -> None:
        """The log took at `append_ms` what was stamped `stamped_ms` by this clock, too far ahead: go back to real time.

        If the wall has passed that stamp, the wall is ahead by at least as much; if not, it has been set back meanwhile and only the
        clock had remained. Hearing it again changes nothing until that time has really come; after that `at_least` mends it.
        """
        if self.now_ms(wall_ms) >= stamped_ms:
            self.ahead_ms += stamped_ms - append_ms
        self.last = min(self.last, max(self.now_ms(wall_ms), 0) << COUNTER_BITS)

    def at_least(self, past_ms: int, wall_ms: int) -> None:
        """`past_ms` has passed: a wall that was found ahead and says less has been set right."""
        if self.ahead_ms and self.now_ms(wall_ms) < past_ms:
            self.ahead_ms = max(0, wall_ms - past_ms)
