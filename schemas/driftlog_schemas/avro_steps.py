"""Avro binary stepped over: where the last column of a record begins, found without reading those before it.

A record in Avro is its fields' bytes one after the other. Texts say how long they are, whole numbers where they end, so to step over a column is one
look at it, and makes no value. What is stepped over is not checked: it is for those who read it.

Source: Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Step: TypeAlias = int | Callable[[bytes, int], int]
"""Of one column: so many bytes, `SIZED`, `NUMBER`, or what takes data and the place where the column begins and gives the place behind it. The last
is not asked where the column is a zero byte alone: null, or no items."""
SIZED = -1
"""A length, and so many bytes."""
NUMBER = -2
"""A whole number, which tells with each byte whether there is another."""

_WIDTHS: dict[str, Step] = {
    "null": 0,
    "boolean": 1,
    "float": 4,
    "double": 8,
    "int": NUMBER,
    "long": NUMBER,
    "enum": NUMBER,
    "bytes": SIZED,
    "string": SIZED,
}
_MORE = 0x80
_MAX_SHIFT = 63


def steps_of(columns: Sequence[Any]) -> Sequence[Step] | None:
    """How to step over columns of these types, as fastavro has parsed them; None for types that rows of ours seldom have: unions without null,
    names of types from elsewhere.
    """
    try:
        return [step for column in columns for step in _steps(column)]
    except LookupError:
        return None


def behind(data: bytes, at: int, steps: Sequence[Step]) -> int:
    """The place behind all of these, the first of which begins at `at`; it may be beyond the end. Raises IndexError, ValueError where they do not
    stand there.
    """
    for step in steps:
        if step == SIZED:
            length = data[at]
            if length < _MORE and not length & 1:
                at += 1 + (length >> 1)
            else:
                length, at = number(data, at)
                at = _further(at, length)
        elif step == NUMBER:
            while data[at] >= _MORE:
                at += 1
            at += 1
        elif step.__class__ is int:
            at += step
        elif data[at]:
            at = step(data, at)  # type: ignore[operator]
        else:
            at += 1
    return at


def number(data: bytes, at: int) -> tuple[int, int]:
    """The whole number that begins there, and the place behind it. Raises IndexError, ValueError."""
    found = data[at]
    at += 1
    if found >= _MORE:
        found, shift = found & ~_MORE, 7
        while True:
            byte = data[at]
            at += 1
            if byte < _MORE:
                found |= byte << shift
                break
            found |= (byte & ~_MORE) << shift
            shift += 7
            if shift > _MAX_SHIFT:
                raise ValueError("a whole number of more than 64 bits")
    return (found >> 1) ^ -(found & 1), at


def _further(at: int, size: int) -> int:
    if size < 0:
        raise ValueError(f"{size} bytes")
    return at + size


def _steps(schema: Any) -> list[Step]:
    """Raises KeyError."""
    if isinstance(schema, list):
        return [_union([_steps(branch) for branch in schema])]
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "fixed":
        return [int(schema["size"])]
    if kind == "array":
        return [_blocks(_steps(schema["items"]))]
    if kind == "map":
        return [_blocks([SIZED, *_steps(schema["values"])])]
    if kind in ("record", "error"):
        return [step for field in schema["fields"] for step in _steps(field["type"])]
    return [_WIDTHS[kind]]


def _union(branches: Sequence[Sequence[Step]]) -> Step:
    """Raises KeyError."""
    if not branches or branches[0] != [_WIDTHS["null"]]:
        raise KeyError("a union whose first type is not null")

    def step(data: bytes, at: int) -> int:
        branch, at = number(data, at)
        if branch < 0:
            raise ValueError(f"branch {branch} of a union")
        return behind(data, at, branches[branch])

    return step


def _blocks(item: Sequence[Step]) -> Step:
    def step(data: bytes, at: int) -> int:
        while True:
            count, at = number(data, at)
            if count == 0:
                return at
            if count < 0:  # then its size follows
                size, at = number(data, at)
                at = _further(at, size)
            for _ in range(count):
                at = behind(data, at, item)

    return step
