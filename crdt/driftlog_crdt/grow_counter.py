"""GrowCounter: a count that only goes up.

| concurrent ops | result |
|---|---|
| increment(a) and increment(b) | + a + b |

State and proof are those of `Counter`; the declaration is narrower, so that a decrement is refused where it is written,
and a reader may rely on a value that never falls (but for a delete).

>>> from driftlog_crdt.ops import Op
>>> visits = GrowCounter()
>>> state = visits.new()
>>> _ = visits.apply(state, Op("a", 1, 0, "visits", "increment", 2)), visits.apply(state, Op("b", 1, 0, "visits", "increment", 1))
>>> visits.value(state)
3

Source: Shapiro et al. 2011, section 3.1.2 (G-Counter).
"""

from __future__ import annotations

from driftlog_crdt.counter import Counter


class GrowCounter(Counter):
    """A G-Counter of integers."""

    __slots__ = ()

    name = "grow_counter"
    kinds = frozenset({"increment"})
