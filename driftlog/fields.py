"""The fields of a document as its user sees them: a value to read, and the changes that make sense.

A handle is bound to one document inside a command (or to a read-only view); each of its mutators records one op. A field
kind ties a handle to its algebra: how the annotation becomes a merge type and a column of the row. To add a field
type is to add one handle and one entry in `KINDS`.

`Register[str] = ""` should type-check for the user although a `str` is no register: for type checkers the names are the
handle or anything, so that the default passes and `.value` has its type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import driftlog_crdt as crdt
from driftlog.values import ValueType, array_column
from driftlog_crdt import FieldType, Plain
from driftlog_schemas.contract import Column, DocumentEditor, InvalidInput

T = TypeVar("T")


class FieldHandle:
    """One field of one document."""

    __slots__ = ("_editor", "_name", "_type")
    mutators: frozenset[str] = frozenset()

    def __init__(self, editor: DocumentEditor, name: str, value_type: ValueType[Any]) -> None:
        self._editor = editor
        self._name = name
        self._type = value_type

    def _plain(self) -> Plain:
        return self._editor.collection.document.field_value(self._editor.state, self._name)


class CounterField(FieldHandle):
    """A whole number; increments and decrements of all replicas add up."""

    __slots__ = ()
    mutators = frozenset({"increment", "decrement"})

    @property
    def value(self) -> int:
        return cast(int, self._plain())

    def increment(self, n: int = 1) -> None:
        """Add `n`, a whole number from 0 up."""
        self._editor.record(self._name, "increment", self._amount(n))

    def decrement(self, n: int = 1) -> None:
        """Take `n` away, a whole number from 0 up."""
        self._editor.record(self._name, "decrement", self._amount(n))

    def _amount(self, n: int) -> int:
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise InvalidInput(self._name, f"takes a whole number from 0 up, not {n!r}")
        return n


class RegisterField(FieldHandle, Generic[T]):
    """One value; the last write stands, and concurrent ones are known."""

    __slots__ = ()
    mutators = frozenset({"set"})

    @property
    def value(self) -> T:
        return cast(T, self._type.from_plain(self._plain()))

    def set(self, value: T) -> None:
        """Write a new value. Raises `InvalidInput` if it is not of the declared type."""
        self._editor.record(self._name, "set", self._type.to_plain(value, self._name))


class AddWinsSetField(FieldHandle, Generic[T]):
    """A set of scalars; an add survives a concurrent remove."""

    __slots__ = ()
    mutators = frozenset({"add", "remove"})

    @property
    def value(self) -> frozenset[T]:
        return frozenset(self._type.from_plain(item) for item in cast(list[Plain], self._plain()))

    def add(self, element: T) -> None:
        self._editor.record(self._name, "add", self._type.to_plain(element, self._name))

    def remove(self, element: T) -> None:
        self._editor.record(self._name, "remove", self._type.to_plain(element, self._name))

    def __contains__(self, element: object) -> bool:
        return element in self.value


if TYPE_CHECKING:
    Counter: TypeAlias = CounterField
    Register: TypeAlias = RegisterField[T] | Any
    AddWinsSet: TypeAlias = AddWinsSetField[T] | Any
else:
    Counter, Register, AddWinsSet = CounterField, RegisterField, AddWinsSetField


@dataclass(frozen=True)
class Options:
    """What `field(...)` says about a field."""

    default: Any = ...
    on_conflict: str = "silent"
    deadline: str = ""


def field_options(*, default: Any = ..., on_conflict: str = "silent", deadline: str = "") -> Any:
    """Declare more about a field than its default.

    `on_conflict`: "silent" (the default), "record" (kept for information) or "review" (a person is asked).
    `deadline`: how long a person may take before the default is final: "48h", "30m", "7d".
    """
    return Options(default, on_conflict, deadline)


@dataclass(frozen=True)
class FieldKind:
    """How a handle's annotation becomes a merge type and a column."""

    takes_type: bool
    takes_default: bool
    algebra: Callable[[Plain], FieldType[Any]]
    """default value -> merge type"""
    column: Callable[[str, ValueType[Any]], Column]
    bare: Any = field(default=int)
    """The value type where the annotation names none."""


def _register_column(name: str, value_type: ValueType[Any]) -> Column:
    return Column(name, *value_type.column())


def _set_column(name: str, value_type: ValueType[Any]) -> Column:
    return Column(name, *array_column(value_type.annotation))


KINDS: Mapping[type[FieldHandle], FieldKind] = {
    CounterField: FieldKind(False, False, lambda _: crdt.Counter(), lambda name, _: Column(name, "long", 0)),
    RegisterField: FieldKind(True, True, lambda default: crdt.Register(default=default), _register_column),
    AddWinsSetField: FieldKind(True, False, lambda _: crdt.AddWinsSet(), _set_column),
}
