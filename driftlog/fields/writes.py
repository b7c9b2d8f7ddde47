"""Fields that hold what was written: one value by some rule, or all that stand side by side."""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from driftlog.errors import InvalidInput
from driftlog.fields.handle import FieldHandle
from driftlog_crdt import Plain
from driftlog_schemas.contract import Json

T = TypeVar("T")


class RegisterField(FieldHandle, Generic[T]):
    """One value; the last write stands, and concurrent ones are known."""

    __slots__ = ()
    mutators = frozenset({"set"})

    @property
    def value(self) -> T:
        return cast(T, self._from_plain(self._port.read()))

    def set(self, value: T) -> None:
        """Write a new value. Raises `InvalidInput` if it is not of the declared type."""
        self._port.write("set", self._to_plain(value))


class RankedField(RegisterField[T]):
    """One value of a declared order; among concurrent writes the one further along stands."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __class_getitem__(cls, values: object) -> GenericAlias:
            """Not `Generic`'s, which remembers: two literals of the same values are equal to it, whatever their order."""
            return GenericAlias(cls, values)


class CustomField(RegisterField[T]):
    """One value; concurrent ones are merged by the app's own function."""

    __slots__ = ()


class MultiValueField(FieldHandle, Generic[T]):
    """All values that nobody has overwritten, the newest first; empty before the first."""

    __slots__ = ()
    mutators = frozenset({"set"})

    @property
    def value(self) -> tuple[T, ...]:
        return tuple(self._from_plain(item) for item in cast("list[Plain]", self._port.read()))

    def set(self, value: T) -> None:
        """One value instead of all that are seen here."""
        self._port.write("set", self._to_plain(value))


class FlagField(FieldHandle):
    """On or off; off before the first switch."""

    __slots__ = ()
    mutators = frozenset({"enable", "disable"})

    @property
    def value(self) -> bool:
        return cast(bool, self._port.read())

    def enable(self) -> None:
        self._port.write("enable", None)

    def disable(self) -> None:
        self._port.write("disable", None)

    def decide(self, key: str, value: Json) -> None:
        if key or type(value) is not bool:
            raise InvalidInput(self._port.name, f"takes true or false, not {value!r}")
        self.mutate("enable" if value else "disable", [])
