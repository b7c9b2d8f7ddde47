"""Numbers that everybody changes at once: counters and extremes."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from driftlog.errors import InvalidInput
from driftlog.fields.handle import FieldHandle, FieldPort
from driftlog.values import LONG_MAX
from driftlog_schemas.identity import is_life

N = TypeVar("N", int, float)


def _amount(n: object, field: str) -> int:
    if type(n) is not int or not 0 <= n <= LONG_MAX:
        raise InvalidInput(field, f"takes a whole number from 0 up, not {n!r}")
    return n


def _heir(replica: object, field: str) -> str:
    name = str(replica)
    if not is_life(name):
        raise InvalidInput(field, f"rights go to a life of a device, as in 'store-1.k3f7q2w7', not to {name[:80]!r}")
    return name


class GrowCounterField(FieldHandle):
    """A whole number that only grows; the increments of all replicas add up."""

    __slots__ = ()
    mutators = frozenset({"increment"})

    @property
    def value(self) -> int:
        return cast(int, self._port.read())

    def increment(self, n: int = 1) -> None:
        """Add `n`, a whole number from 0 up."""
        self._port.write("increment", _amount(n, self._port.name))


class CounterField(GrowCounterField):
    """A whole number; increments and decrements of all replicas add up."""

    __slots__ = ()
    mutators = frozenset({"increment", "decrement"})

    def decrement(self, n: int = 1) -> None:
        """Take `n` away, a whole number from 0 up."""
        self._port.write("decrement", _amount(n, self._port.name))


class BoundedCounterField(CounterField):
    """A whole number within bounds, offline too: each replica spends its own rights and may hand some over."""

    __slots__ = ()
    mutators = frozenset({"increment", "decrement", "transfer", "transfer_room"})

    def transfer(self, replica: str, n: int) -> None:
        """Give `replica` the right to take `n` more, out of our own rights."""
        self._port.write("transfer", [_heir(replica, self._port.name), _amount(n, self._port.name)])

    def transfer_room(self, replica: str, n: int) -> None:
        """Give `replica` the right to add `n` more, out of our own room."""
        self._port.write("transfer_room", [_heir(replica, self._port.name), _amount(n, self._port.name)])

    def rights(self, replica: str) -> int | None:
        """How far `replica` may still go down; None without a lower bound."""
        return cast("int | None", self._stored(replica, "rights"))

    def room(self, replica: str) -> int | None:
        """How far `replica` may still go up; None without an upper bound."""
        return cast("int | None", self._stored(replica, "room"))

    def _stored(self, replica: str, what: str) -> Any:
        assert isinstance(self._port, FieldPort), "a bounded counter never stands in a map"
        algebra: Any = self._built.algebra
        stored = self._port.editor.state.fields.get(self._port.name)
        return getattr(algebra, what)(algebra.new() if stored is None else stored, replica)


class MaxField(FieldHandle, Generic[N]):
    """The largest number that anybody wrote; None before the first."""

    __slots__ = ()
    mutators = frozenset({"raise_to"})

    @property
    def value(self) -> N | None:
        return cast("N | None", self._port.read())

    def raise_to(self, number: N) -> None:
        """The value is `number` from now on, unless it is higher already."""
        self._port.write("raise", self._to_plain(number))


class MinField(FieldHandle, Generic[N]):
    """The smallest number that anybody wrote; None before the first."""

    __slots__ = ()
    mutators = frozenset({"lower_to"})

    @property
    def value(self) -> N | None:
        return cast("N | None", self._port.read())

    def lower_to(self, number: N) -> None:
        """The value is `number` from now on, unless it is lower already."""
        self._port.write("lower", self._to_plain(number))
