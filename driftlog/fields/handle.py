"""A field as a command sees it, a value to read and changes that make sense, and what its declaration comes to.

A handle looks through a *port* at one place: a field of a document, or one key of a map in it. Reading gives the user's type;
each mutator validates and records one op through the port. Handles hold nothing, so they are made when they are asked for, from
what was *built* of the declaration: merge type, column, type of values, and the handle's class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Protocol, TypeAlias

from driftlog.columns import Shape
from driftlog.errors import InvalidInput
from driftlog.values import ValueType
from driftlog_crdt import FieldType, Op, Plain
from driftlog_schemas.contract import DocumentEditor, Json

Check: TypeAlias = Callable[[Op], None]

NO_VALUE: ValueType[Any] = ValueType.of(int)


@dataclass(frozen=True, slots=True)
class Built:
    """A field, compiled. `check` raises `BadValue` for an op whose value is not of the declared type; None: the algebra knows."""

    handle: type[FieldHandle]
    algebra: FieldType[Any]
    shape: Shape
    value: ValueType[Any] = NO_VALUE
    check: Check | None = None
    inner: Built | None = None
    """What stands under the keys of a map."""


class Port(Protocol):
    """One place that holds a plain value."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def read(self) -> Plain: ...
    def write(self, kind: str, value: Plain) -> None:
        """Record one op."""
        ...


class FieldPort:
    """The place of a field in its document."""

    __slots__ = ("editor", "name")

    def __init__(self, editor: DocumentEditor, name: str) -> None:
        self.editor = editor
        self.name = name

    def read(self) -> Plain:
        editor = self.editor
        return editor.collection.document.field_value(editor.state, self.name)

    def write(self, kind: str, value: Plain) -> None:
        self.editor.record(self.name, kind, value)


class FieldHandle:
    """One field of one document. Not a value itself: reading one where its value was meant is an error, never a wrong answer."""

    __slots__ = ("_built", "_port")
    mutators: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, port: Port, built: Built) -> None:
        self._port = port
        self._built = built

    def mutate(self, op: str, args: Sequence[Json]) -> None:
        """One of `mutators` by name, with arguments from outside. Raises `InvalidInput`."""
        if op not in self.mutators:
            raise InvalidInput("op", f"{self._port.name} takes {', '.join(sorted(self.mutators))}, not {op!r}")
        method = getattr(self, op)
        try:
            inspect.signature(method).bind(*args)
        except TypeError as error:
            raise InvalidInput("args", f"{self._port.name}.{op}: {error}") from error
        method(*args)

    def decide(self, key: str, value: Json) -> None:
        """Write what a person chose; `key` is a map's. Raises `InvalidInput`."""
        if key or "set" not in self.mutators:
            raise InvalidInput(self._port.name, "has no value that could be decided")
        self.mutate("set", [value])

    def __repr__(self) -> str:
        return f"<{self._port.name}: {self._port.read()!r}>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self._port.name} is a field; ask for {self._port.name}.value")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{self._port.name} is a field; compare {self._port.name}.value")

    __hash__ = None  # type: ignore[assignment]  # nothing that compares by its value now can be a key

    def _to_plain(self, value: object) -> Plain:
        return self._built.value.to_plain(value, self._port.name)

    def _from_plain(self, plain: Plain) -> Any:
        return self._built.value.from_plain(plain)
