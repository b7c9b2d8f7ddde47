"""MultiValue: all concurrent values, until somebody who saw them writes one.

| concurrent ops | result |
|---|---|
| set(x) and set(y) | [x, y], the newer first |
| set(x) and set(x) | [x] |
| set(x), then set(y) by someone who saw x | [y] |

Nothing is picked: the reader decides, and says so by writing. It converges because the maximal writes are a function of
the ops' partial order.

>>> from driftlog_crdt.ops import Op
>>> owner = MultiValue()
>>> state = owner.new()
>>> _ = owner.apply(state, Op("a", 1, 10, "owner", "set", "Ann", {})), owner.apply(state, Op("b", 1, 11, "owner", "set", "Bo", {}))
>>> owner.value(state)
['Bo', 'Ann']
>>> _ = owner.apply(state, Op("c", 1, 3, "owner", "set", "Ann", {"a": 1, "b": 1}))
>>> owner.value(state)
['Ann']

Source: Preguiça et al. 2012, "Dotted version vectors: logical clocks for optimistic replication", section 3.
"""

from __future__ import annotations

from typing import ClassVar

from driftlog_crdt.dotted import Writes
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, canonical, check_plain
from driftlog_crdt.writes_field import WritesField


class MultiValue(WritesField):
    """Every value that nobody has overwritten, each once."""

    __slots__ = ()

    name: ClassVar[str] = "multi_value"
    picks: ClassVar[bool] = False

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_plain(op.value, op.field)

    def value(self, state: Writes) -> Plain:
        if len(state) == 1:
            return [state[0].value]
        newest_first = sorted(state, key=self.rank, reverse=True)
        return list({canonical(w.value): w.value for w in newest_first}.values())
