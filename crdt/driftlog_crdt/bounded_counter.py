"""BoundedCounter: a count that stays within its bounds, offline too, because every replica spends only its own rights.

| concurrent ops | result |
|---|---|
| decrement(a) and decrement(b) | - a - b; each was covered by its writer's rights, so the bound holds |
| increment(a) and decrement(b) | + a - b |
| transfer(n to r) and any decrement | the same, and r may take n more, the giver n less |

With a lower bound, the distance to it is cut into *rights to go down*, each owned by one replica: an increment creates them for
its writer, a decrement uses up its writer's, a transfer hands some over. With an upper bound the same holds for *rights to
go up* (room): a decrement creates them, an increment uses them, `transfer_room` hands them over. What `initial` leaves to a
bound belongs to `holder`: one replica, or the device all of whose lives (`holder.life`) may start from it. A life takes from that only
what its own rights do not cover, and leaves the others what it did not take. The same holds for what lives that are over have left to
their device: whoever merges says who is over, and what such a life had left the device's other lives may spend; once it is forgotten, the
past gives that to the device's name.

State: per replica a row that only it writes: its increments, its decrements, the rights and the room it gave to each other. All
numbers only grow, in the order of its ops, so `join` is the maximum of each cell.

Why the bound holds: a replica's rights in its own view are at most its rights in any state that has all its ops and those of
the replicas that gave it some, since all that lowers them is its own, and known to it. An op that spends names those givers in its
context. `permit` refuses in the view, with what is left, and again in the merge: there the rights may be missing that an op
would have given which was refused, or that another life of the holder has taken, and a forger never had them. The rights of all replicas add up to the distance between value and
bound, so while no device's are negative together the bound holds.

A delete concurrent with a decrement must take both the decrement and the increments that paid for it, so a bounded counter
stands only in documents where deletes win.

>>> from driftlog_crdt.ops import Op
>>> seats = BoundedCounter(lower=0)
>>> state = seats.new()
>>> _ = seats.apply(state, Op("a", 1, 0, "seats", "increment", 10)), seats.apply(state, Op("a", 2, 0, "seats", "transfer", ["b", 4]))
>>> seats.rights(state, "a"), seats.rights(state, "b")
(6, 4)
>>> seats.permit(state, Op("b", 1, 0, "seats", "decrement", 5))
Traceback (most recent call last):
driftlog_crdt.errors.BadOperation: seats: b may take 4 more, not 5; ask for a transfer of rights

Source: Balegas et al. 2015, "Extending eventually consistent cloud databases for enforcing numeric invariants", section IV.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Mapping
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.counter import MAX_STEP, are_sums
from driftlog_crdt.errors import BadEncoding, BadOperation, BadValue
from driftlog_crdt.field_type import FieldType, combined
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain


class Row(NamedTuple):
    """What one replica did: the two dicts and the one-element sums change in place."""

    sums: list[int]
    """[increments, decrements]"""
    rights: dict[str, int]
    """to whom it gave rights to go down, and how many"""
    room: dict[str, int]
    """to whom it gave rights to go up"""


Rows: TypeAlias = dict[str, Row]

_POSSIBLE_NAME = re.compile(r"[!-~]{1,80}")
"""What a replica may be called, at most; rights given to any other name would be lost."""


class BoundedCounter(FieldType[Rows]):
    """An escrow counter. Give `lower`, `upper` or both."""

    __slots__ = ("holder", "initial", "lower", "upper")

    name = "bounded_counter"
    kinds = frozenset({"increment", "decrement", "transfer", "transfer_room"})
    erasable = False
    limited = True
    giving = frozenset({"transfer", "transfer_room"})

    def __init__(
        self, lower: int | None = 0, upper: int | None = None, initial: int | None = None, holder: str = ""
    ) -> None:
        bounds = [bound for bound in (lower, upper) if bound is not None]
        if not bounds:
            raise ValueError("a bounded counter needs a lower or an upper bound")
        self.lower, self.upper, self.holder = lower, upper, holder
        self.initial = bounds[0] if initial is None else initial
        if self.initial < bounds[0] if lower is not None else False:
            raise ValueError(f"initial {self.initial} is below the lower bound {lower}")
        if upper is not None and self.initial > upper:
            raise ValueError(f"initial {self.initial} is above the upper bound {upper}")
        if not holder and any(bound != self.initial for bound in bounds):
            raise ValueError(f"initial {self.initial} leaves rights to {bounds}: name the device that holds them")

    def new(self) -> Rows:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        if op.kind not in self.giving:
            _check_amount(op.value, op)
            return
        if (self.lower if op.kind == "transfer" else self.upper) is None:
            raise BadOperation(op.field, f"there is no bound on that side, so nothing to {op.kind}")
        if type(op.value) is not list or len(op.value) != 2 or type(op.value[0]) is not str:
            raise BadValue(op.field, f"{op.kind} takes [replica, number], not {op.value!r}")
        if op.value[0] == PAST or not _POSSIBLE_NAME.fullmatch(op.value[0]):
            raise BadValue(
                op.field, f"{op.kind} to {op.value[0][:80]!r}: no replica is called so; name one that is there"
            )
        _check_amount(op.value[1], op)

    def permit(self, state: Rows, op: Op, over: Container[str] = ()) -> None:
        value: Any = op.value
        amount: int = value[1] if op.kind in self.giving else value
        goes_down = op.kind in ("decrement", "transfer")
        left = self.rights(state, op.replica, over) if goes_down else self.room(state, op.replica, over)
        if left is not None and amount > left:
            verb, what = ("take", "rights") if goes_down else ("add", "room")
            raise BadOperation(
                op.field, f"{op.replica} may {verb} {max(left, 0)} more, not {amount}; ask for a transfer of {what}"
            )

    def relies_on(self, state: Rows, replica: str, kind: str) -> Collection[str]:
        if kind in ("decrement", "transfer"):
            return [giver for giver, row in state.items() if giver != replica and row.rights.get(replica)]
        return [giver for giver, row in state.items() if giver != replica and row.room.get(replica)]

    def heir(self, op: Op) -> str | None:
        named: Any = op.value
        if op.kind not in self.giving or type(named) is not list or not named or type(named[0]) is not str:
            return None
        return named[0]

    def stands_alone(self, state: Rows, op: Op) -> bool:
        try:
            self.permit(state, op)
        except BadOperation:
            return False
        return True

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        """In one direction only: where they alternate, what one takes the other may have brought."""
        if earlier.kind != later.kind or later.kind in self.giving:
            return None
        total: int = earlier.value + later.value  # type: ignore[operator,assignment]  # check() has seen ints
        return None if total > MAX_STEP else combined(earlier, later, total)

    def apply(self, state: Rows, op: Op) -> None:
        row = state.get(op.replica)
        if row is None:
            row = state[op.replica] = Row([0, 0], {}, {})
        value: Any = op.value
        if op.kind == "increment":
            row.sums[0] += value
        elif op.kind == "decrement":
            row.sums[1] += value
        else:
            given = row.rights if op.kind == "transfer" else row.room
            given[value[0]] = given.get(value[0], 0) + value[1]

    def join(self, left: Rows, left_seen: Vector, right: Rows, right_seen: Vector) -> Rows:
        result = self.copy(left)
        for replica, theirs in right.items():
            ours = result.get(replica, _NO_ROW)
            result[replica] = Row(
                [max(a, b) for a, b in zip(ours.sums, theirs.sums, strict=True)],
                _larger(ours.rights, theirs.rights),
                _larger(ours.room, theirs.room),
            )
        return result

    def value(self, state: Rows) -> int:
        return self.initial + sum(row.sums[0] - row.sums[1] for row in state.values())

    def rights(self, state: Rows, replica: str, over: Container[str] = ()) -> int | None:
        """How far `replica` may still go down, when these are over; None without a lower bound."""
        if self.lower is None:
            return None
        left = state.get(PAST, _NO_ROW).rights
        return self._share(state, replica, self.initial - self.lower, left, _down, over) + _down(state, replica)

    def room(self, state: Rows, replica: str, over: Container[str] = ()) -> int | None:
        """How far `replica` may still go up, when these are over; None without an upper bound."""
        if self.upper is None:
            return None
        left = state.get(PAST, _NO_ROW).room
        return self._share(state, replica, self.upper - self.initial, left, _up, over) + _up(state, replica)

    def _share(
        self,
        state: Rows,
        replica: str,
        held: int,
        left: Mapping[str, int],
        balance: Callable[[Rows, str], int],
        over: Container[str],
    ) -> int:
        """How much this replica may take, or has taken, of what is its device's: what `initial` leaves to a bound, if the device
        holds that, and what earlier lives have left. Of one that is over itself that may be less than nothing: others have taken of its own.
        """
        if replica == self.holder:
            return held
        device = _device_of(replica)
        if not device:
            return 0
        holds = device == self.holder
        others = _lives_of(state, device) - {replica}
        shared = left.get(device, 0) + (held if holds else 0)
        shared += sum(max(0, balance(state, name)) for name in others if name in over)
        taken = sum(max(0, -balance(state, name)) for name in [*others, *([PAST] if holds else ())])
        return shared - taken if replica in over else max(0, shared - taken)

    def fold(self, state: Rows, retired: Mapping[str, str], past: int) -> None:
        """The heirs receive what rights were left, as gifts of the past. Who took of a life that stays by name stays as well."""
        retired = {name: heir for name, heir in retired.items() if not self._indebted(state, name, retired)}
        names = {PAST, *retired}
        rows = [state[name] for name in sorted(names & state.keys())]
        over = Row([sum(row.sums[side] for row in rows) for side in (0, 1)], {}, {})
        for row in rows:
            _add(over.rights, row.rights, names)
            _add(over.room, row.room, names)
        for bound, held, given, balance in (
            (self.lower, self.initial - (self.lower or 0), over.rights, _down),
            (self.upper, (self.upper or 0) - self.initial, over.room, _up),
        ):
            if bound is None:
                continue
            rests = {name: balance(state, name) + (held if name == self.holder else 0) for name in sorted(retired)}
            debts: dict[str, int] = {}
            for name, rest in rests.items():
                if rest < 0:
                    debts[_device_of(name)] = debts.get(_device_of(name), 0) - rest
            for name, rest in rests.items():
                device = _device_of(name)
                spent = min(max(rest, 0), debts.get(device, 0))  # by a later life of the same device
                if spent:
                    debts[device] -= spent
                _add(given, {retired[name] or self.holder or device: max(rest, 0) - spent}, names)
            for device, debt in debts.items():
                _settle(given, device, debt)
        for name in names & state.keys():
            del state[name]
        for row in state.values():
            for given in (row.rights, row.room):
                back = sum(given.pop(name) for name in names & given.keys())
                if back:
                    given[PAST] = back
        if over != _NO_ROW:
            state[PAST] = over

    def _indebted(self, state: Rows, name: str, retired: Mapping[str, str]) -> bool:
        """Has a life taken of what another one of its device had left, which is not forgotten with it?"""
        device = _device_of(name)
        if not device or device == self.holder:
            return False  # what it took is told from the past as a whole
        kept = _lives_of(state, device) - retired.keys()
        return any(
            balance(state, name) < 0 and any(balance(state, other) > 0 for other in kept) for balance in (_down, _up)
        )

    def encode(self, state: Rows) -> Plain:
        rows: dict[str, Any] = {replica: [row.sums, row.rights, row.room] for replica, row in state.items()}
        return rows

    def decode(self, plain: Plain) -> Rows:
        if type(plain) is not dict:
            raise BadEncoding("", "a bounded counter is encoded as an object")
        rows: Rows = {}
        for replica, row in plain.items():
            if type(row) is not list or len(row) != 3:
                raise BadEncoding("", f"row of {replica}: [[up, down], rights, room] expected")
            sums, rights, room = row
            if type(sums) is not list or len(sums) != 2 or type(rights) is not dict or type(room) is not dict:
                raise BadEncoding("", f"row of {replica}: [[up, down], rights, room] expected")
            if not (are_sums(sums) and are_sums(rights.values()) and are_sums(room.values())):
                raise BadEncoding("", f"row of {replica}: whole numbers from 0 up expected")
            rows[replica] = Row(sums, rights, room)  # type: ignore[arg-type]  # just checked
        return rows

    def copy(self, state: Rows) -> Rows:
        return {replica: Row(row.sums[:], dict(row.rights), dict(row.room)) for replica, row in state.items()}

    def is_new(self, state: Rows) -> bool:
        return not state


_NO_ROW = Row([0, 0], {}, {})
"""Read, never written."""


def _down(state: Rows, replica: str) -> int:
    """The rights to go down that this replica made or was given, less those that it used or gave; below 0 for who took of what is held."""
    own = state.get(replica, _NO_ROW)
    received = sum(row.rights.get(replica, 0) for row in state.values())
    return own.sums[0] + received - sum(own.rights.values()) - own.sums[1]


def _up(state: Rows, replica: str) -> int:
    """The same of the rights to go up."""
    own = state.get(replica, _NO_ROW)
    received = sum(row.room.get(replica, 0) for row in state.values())
    return own.sums[1] + received - sum(own.room.values()) - own.sums[0]


def _check_amount(amount: Plain, op: Op) -> None:
    if type(amount) is not int or not 0 <= amount <= MAX_STEP:
        raise BadValue(op.field, f"{op.kind} takes a whole number from 0 up, not {amount!r}")


def _add(total: dict[str, int], gifts: Mapping[str, int], to_nobody: Collection[str]) -> None:
    """What those who are over gave to each other is theirs together."""
    for to, amount in gifts.items():
        if amount and to not in to_nobody:
            total[to] = total.get(to, 0) + amount


def _settle(given: dict[str, int], device: str, taken: int) -> None:
    """A life took this much of its device's. What the past had given to the device is spent now; the rest came from what the device holds."""
    left = given.pop(device, 0) if device else 0
    if left > taken:
        given[device] = left - taken


def _lives_of(state: Rows, device: str) -> set[str]:
    """The device's lives that did something here, or were given something."""
    named = chain(state, *(row.rights for row in state.values()), *(row.room for row in state.values()))
    return {name for name in named if _device_of(name) == device}


def _device_of(replica: str) -> str:
    """The device of a life (`device.life`); empty where the name tells of none."""
    return replica.rpartition(".")[0]


def _larger(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {to: max(left.get(to, 0), right.get(to, 0)) for to in left.keys() | right.keys()}
