"""Collapsing: one writer's ops in a row, which nobody else has seen, as the fewest ops that mean the same.

| in a row, at one spot | is sent as |
|---|---|
| increments of a counter (decrements likewise) | one with their sum |
| raises of a Max, lowers of a Min | one to the extreme |
| sets of a register, switches of a flag, puts of a record | the last |
| adds and removes of an element | the last; a remove, and the last add after it |
| edits of texts and lists, sets of a custom field, gifts of rights, removes of a map's key | each of them |

A *spot* is where ops of one writer concern each other: an element, a key, a direction of a counter. Each op stays under its own dot or is absorbed by
a later one of its spot, so the last op of all is always left, and dots are as dense as ever: an op that is left takes the dots that were absorbed
since the one before it (`Op.span`). No dot names two ops, and no number is left out.

Why it means the same. What is absorbed was never outside of its writer's folder, so nobody's op stands on it or has seen it. Two ops that add up
become one only if both had seen the same of others, so no context grows. An op that goes altogether goes before one of its own writer that undoes it
and that had seen no less. Whoever merges it comes to the state to which he would have come with all of them, as readers see it, and to no state in
between.

A delete acts on every spot: nothing is absorbed across it.

Sources: the merging of log entries is log compaction as in Bayou (Terry et al. 1995, section 6); that only unseen ops may go is causal stability the other
way round (Baquero, Almeida and Shoker 2017, section 4).
"""

from __future__ import annotations

from driftlog_crdt.document import DocumentType
from driftlog_crdt.ops import Op


class Collapsing:
    """Ops of one writer on one document of this type, in order and without a gap."""

    def __init__(self, kind: DocumentType, before: int) -> None:
        """`before` is the seq of the writer's last op before them."""
        self._kind = kind
        self._before = self._last = before
        self._left: dict[tuple[str, str], list[Op]] = {}

    def __len__(self) -> int:
        """How many ops are left."""
        return sum(map(len, self._left.values()))

    @property
    def last(self) -> int:
        """The seq of the newest."""
        return self._last

    def takes(self, op: Op) -> bool:
        """Can it stand in a row with others?"""
        return op.before == self._last and self._kind.spot(op) is not None

    def add(self, op: Op) -> None:
        """The next one; it `takes` it."""
        spot = self._kind.spot(op)
        assert spot is not None and op.before == self._last, f"{op} does not follow {self._last}"
        self._last = op.seq
        there = self._left.setdefault(spot, [])
        while there and (one := self._kind.absorb(there[-1], op)) is not None:
            op = one
            there.pop()
        there.append(op)

    def ops(self) -> tuple[Op, ...]:
        """What is left, in order."""
        result, before = [], self._before
        for op in sorted((op for there in self._left.values() for op in there), key=lambda op: op.seq):
            result.append(op._replace(span=op.seq - before))
            before = op.seq
        return tuple(result)
