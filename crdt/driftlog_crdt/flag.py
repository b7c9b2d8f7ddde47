"""Flag: on or off; for concurrent switches the declaration says which side wins.

| concurrent ops | `wins="enable"` | `wins="disable"` |
|---|---|---|
| enable and disable | on | off |
| enable and enable | on | on |
| disable and disable | off | off |
| enable, then disable by someone who saw it | off | off |

State: the maximal switches (see `dotted`), so one survives from every side of a fork and is gone when somebody who saw it
switches again. It converges because that set follows from the partial order. A flag nobody switched is off.

>>> from driftlog_crdt.ops import Op
>>> recalled = Flag(wins="disable")
>>> state = recalled.new()
>>> _ = recalled.apply(state, Op("a", 1, 0, "on", "enable", None, {})), recalled.apply(state, Op("b", 1, 0, "on", "disable", None, {}))
>>> recalled.value(state), Flag(wins="enable").value(state)
(False, True)

Source: Baquero, Almeida and Shoker 2017, "Pure operation-based replicated data types", section 5 (enable-wins flag and its dual).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadEncoding, BadValue
from driftlog_crdt.field_type import Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain
from driftlog_crdt.writes_field import WritesField


@dataclass(frozen=True, slots=True)
class Flag(WritesField):
    """A boolean that two kinds of op switch. A switch is kept as a write of True or False."""

    wins: Literal["enable", "disable"] = "enable"

    name: ClassVar[str] = "flag"
    kinds: ClassVar[frozenset[str]] = frozenset({"enable", "disable"})
    contextual: ClassVar[frozenset[str]] = frozenset({"enable", "disable"})

    def __post_init__(self) -> None:
        if self.wins not in ("enable", "disable"):
            raise ValueError(f"a flag is won by 'enable' or 'disable', not {self.wins!r}")

    def check(self, op: Op) -> None:
        self.require_kind(op)
        if op.value is not None:
            raise BadValue(op.field, f"{op.kind} takes no value, not {op.value!r}")

    def apply(self, state: Writes, op: Op) -> None:
        self.put(state, op, op.kind == "enable")

    def decode(self, plain: Plain) -> Writes:
        writes = super(Flag, self).decode(plain)
        if any(type(write.value) is not bool for write in writes):
            raise BadEncoding("", "a switch is encoded as [replica, seq, hlc, true or false]")
        return writes

    def restated(self, state: Writes, key: str) -> tuple[str, Plain]:
        return "enable" if self.value(state) else "disable", None

    def rank(self, write: Write) -> tuple[object, ...]:
        return (write.value is (self.wins == "enable"), write.hlc, write.replica, write.seq)

    def value(self, state: Writes) -> Plain:
        return max(state, key=self.rank).value if state else False
