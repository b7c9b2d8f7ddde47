"""Register: one value; among concurrent writes the higher (HLC, replica) stands, the others are known.

| concurrent ops | result |
|---|---|
| set(x) and set(y) | the write with the higher (hlc, replica) is the value; the other stays beside it |
| set(x) and set(x) | x; not a conflict |
| set(x), then set(y) by someone who saw x | y, whatever the clocks say |

Causality decides first and clocks only between concurrent writes: keeping just the winner would let a late write with
a slow clock give different values in different orders. So the state is the set of maximal writes (at most one per
replica), and the value is picked from it. It converges because that set is a function of the ops' partial order, and
the pick a function of the set. A conflict exists between two of them with different values; the next write by
somebody who saw both ends it.

>>> from driftlog_crdt.ops import Op
>>> register = Register(default="")
>>> state = register.new()
>>> register.apply(state, Op("a", 1, 10, "name", "set", "tea", {}))
>>> register.apply(state, Op("b", 1, 11, "name", "set", "coffee", {}))
>>> register.value(state), [write.value for write in state]
('coffee', ['tea', 'coffee'])

Source: Shapiro et al. 2011, section 3.2.1 (LWW), on the siblings of Preguiça et al. 2012, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from driftlog_crdt.dotted import Writes
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, check_plain
from driftlog_crdt.writes_field import WritesField


@dataclass(frozen=True, slots=True)
class Register(WritesField):
    """Last writer wins, losers recorded."""

    default: Plain = None

    name: ClassVar[str] = "register"

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_plain(op.value, op.field)

    def value(self, state: Writes) -> Plain:
        if not state:
            return self.default
        return state[0].value if len(state) == 1 else max(state, key=self.rank).value
