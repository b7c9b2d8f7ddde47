"""Sets, maps and sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from driftlog.errors import InvalidInput
from driftlog.fields.handle import FieldHandle, Port
from driftlog_crdt import Plain
from driftlog_schemas.contract import Json

T = TypeVar("T")
V = TypeVar("V")


class GrowSetField(FieldHandle, Generic[T]):
    """A set that only grows."""

    __slots__ = ()
    mutators = frozenset({"add"})

    @property
    def value(self) -> frozenset[T]:
        return frozenset(self._from_plain(item) for item in cast("list[Plain]", self._port.read()))

    def add(self, element: T) -> None:
        self._port.write("add", self._to_plain(element))

    def __contains__(self, element: object) -> bool:
        return element in self.value

    def __iter__(self) -> Iterator[T]:
        return iter(self.value)

    def __len__(self) -> int:
        return len(cast("list[Plain]", self._port.read()))


class AddWinsSetField(GrowSetField[T]):
    """A set; an add survives a concurrent remove."""

    __slots__ = ()
    mutators = frozenset({"add", "remove"})

    def remove(self, element: T) -> None:
        """Take it out, also if it is not seen here: then nothing changes."""
        self._port.write("remove", self._to_plain(element))


class RemoveWinsSetField(AddWinsSetField[T]):
    """A set; a remove beats a concurrent add."""

    __slots__ = ()


class _KeyPort:
    """The place of one key in a map."""

    __slots__ = ("_empty", "_key", "_map", "name")

    def __init__(self, port: Port, key: str, empty: Plain) -> None:
        self._map = port
        self._key = key
        self._empty = empty
        self.name = f"{port.name}[{key!r}]"

    def read(self) -> Plain:
        return cast("dict[str, Plain]", self._map.read()).get(self._key, self._empty)

    def write(self, kind: str, value: Plain) -> None:
        self._map.write(kind, [self._key, value])


class MapField(FieldHandle, Generic[V]):
    """A field under each text key. `stock.bins["left"].increment(5)`; a key is there once something was written to it."""

    __slots__ = ()
    mutators = frozenset({"remove"})

    @property
    def value(self) -> dict[str, Any]:
        return {key: cast(Any, self._at(key)).value for key in cast("dict[str, Plain]", self._port.read())}

    def __getitem__(self, key: str) -> V:
        return cast(V, self._at(key))

    def _at(self, key: str) -> FieldHandle:
        inner = self._built.inner
        assert inner is not None
        if type(key) is not str:
            raise InvalidInput(self._port.name, f"takes text keys, not {key!r}")
        empty = inner.algebra.value(inner.algebra.new())
        return inner.handle(_KeyPort(self._port, key, empty), inner)

    def mutate(self, op: str, args: Sequence[Json]) -> None:
        """`remove` takes [key]; a change of what stands under a key takes [key, ...]."""
        if not args or type(args[0]) is not str:
            raise InvalidInput("args", f"{self._port.name}.{op} takes a text key first")
        if op == "remove":
            super().mutate(op, args)
        else:
            self._at(args[0]).mutate(op, args[1:])

    def decide(self, key: str, value: Json) -> None:
        self._at(key).decide("", value)

    def remove(self, key: str) -> None:
        """Take the key out, with all that is seen of it here."""
        if type(key) is not str:
            raise InvalidInput(self._port.name, f"takes text keys, not {key!r}")
        self._port.write("remove", key)

    def __contains__(self, key: object) -> bool:
        return key in cast("dict[str, Plain]", self._port.read())

    def __iter__(self) -> Iterator[str]:
        return iter(cast("dict[str, Plain]", self._port.read()))

    def __len__(self) -> int:
        return len(cast("dict[str, Plain]", self._port.read()))


class TextField(FieldHandle):
    """Characters in an order that concurrent editing agrees on. Positions count characters, from 0."""

    __slots__ = ()
    mutators = frozenset({"insert", "delete"})

    @property
    def value(self) -> str:
        return cast(str, self._port.read())

    def insert(self, position: int, text: str) -> None:
        """Put `text` before `position`."""
        if type(text) is not str or not text:
            raise InvalidInput(self._port.name, f"takes a text to insert, not {text!r}")
        self._port.write("insert", [_place(position, self._port.name), text])

    def append(self, text: str) -> None:
        """Put `text` at the end."""
        self.insert(len(self.value), text)

    def delete(self, position: int, count: int = 1) -> None:
        """Take out `count` characters from `position`."""
        self._port.write("delete", [_place(position, self._port.name), _place(count, self._port.name)])

    def __len__(self) -> int:
        return len(self.value)


class ListField(FieldHandle, Generic[T]):
    """Elements in an order that concurrent editing agrees on. Positions count elements, from 0."""

    __slots__ = ()
    mutators = frozenset({"insert", "delete"})

    @property
    def value(self) -> list[T]:
        return [self._from_plain(item) for item in cast("list[Plain]", self._port.read())]

    def insert(self, position: int, *elements: T) -> None:
        """Put `elements` before `position`, in their order."""
        if not elements:
            raise InvalidInput(self._port.name, "takes at least one element to insert")
        plain: list[Plain] = [self._to_plain(element) for element in elements]
        self._port.write("insert", [_place(position, self._port.name), plain])

    def append(self, *elements: T) -> None:
        """Put `elements` at the end."""
        self.insert(len(self), *elements)

    def delete(self, position: int, count: int = 1) -> None:
        """Take out `count` elements from `position`."""
        self._port.write("delete", [_place(position, self._port.name), _place(count, self._port.name)])

    def __len__(self) -> int:
        return len(cast("list[Plain]", self._port.read()))

    def __iter__(self) -> Iterator[T]:
        return iter(self.value)


def _place(number: object, field: str) -> int:
    if type(number) is not int or number < 0:
        raise InvalidInput(field, f"takes positions and counts from 0 up, not {number!r}")
    return number
