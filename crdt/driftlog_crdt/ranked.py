"""Ranked: one value from a declared order; among concurrent writes the one further along stands.

| concurrent ops | result |
|---|---|
| set(x) and set(y), y later in the order | y, whatever the clocks say; x stays beside it |
| set(x) and set(x) | x; not a conflict |
| set(y), then set(x) by someone who saw y | x: whoever saw it may go back |

For the stages of a thing (open, packed, shipped): if one site ships while another, offline, still packs, it is shipped. It
converges like `Register`: the maximal writes follow from the partial order, and the pick from them.

>>> from driftlog_crdt.ops import Op
>>> stage = Ranked(["open", "packed", "shipped"])
>>> state = stage.new()
>>> stage.apply(state, Op("a", 1, 10, "stage", "set", "shipped", {}))
>>> stage.apply(state, Op("b", 1, 99, "stage", "set", "packed", {}))
>>> stage.value(state)
'shipped'

Source: the priority of values over clocks is that of Shapiro et al. 2011, section 3.2, "any total order"; maximal writes
as in Preguiça et al. 2012, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadValue
from driftlog_crdt.field_type import Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, Scalar, canonical, check_scalar
from driftlog_crdt.writes_field import WritesField


class Ranked(WritesField):
    """The value furthest along `order`. Before the first write it is `default`, or the first of the order."""

    __slots__ = ("_places", "default", "order")

    name: ClassVar[str] = "ranked"

    def __init__(self, order: Sequence[Scalar], default: Scalar = None) -> None:
        if not order:
            raise ValueError("a ranked field needs the order of its values")
        for value in order:
            check_scalar(value, "order")
        self.order = tuple(order)
        self._places = {canonical(value): place for place, value in enumerate(self.order)}
        if len(self._places) < len(self.order):
            raise ValueError("a value stands twice in the order of a ranked field")
        self.default = self.order[0] if default is None else default

    def check(self, op: Op) -> None:
        self.require_kind(op)
        check_scalar(op.value, op.field)
        if canonical(op.value) not in self._places:
            raise BadValue(op.field, f"{op.value!r} is not in the order; use one of {list(self.order)}")

    def rank(self, write: Write) -> tuple[object, ...]:
        place = self._places.get(canonical(write.value), -1)
        return (place, write.hlc, write.replica, write.seq)

    def value(self, state: Writes) -> Plain:
        return max(state, key=self.rank).value if state else self.default
