"""The values of a batch's ops, each kind in a column of its own.

A union in Avro names the branch of every value; here one byte per op does, and the values of a branch stand together: numbers packed,
texts and JSON as arrays, floats as machine words. What an op carried comes back as the very same value: `1`, `1.0` and `True`
are three.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from driftlog_crdt import Plain, canonical
from driftlog_crdt.errors import AlgebraError
from driftlog_crdt.plain import check_plain
from driftlog_schemas.columns_codec import LEAST, MOST, pack, unpack
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.json_text import from_json

_NULL, _FALSE, _TRUE, _NUMBER, _TEXT, _DOUBLE, _JSON = range(7)
_FORMS = frozenset(range(7))
_CONSTANTS: tuple[Plain, ...] = (None, False, True)


class ValueColumns:
    """Gathers values in order."""

    def __init__(self) -> None:
        self._forms = bytearray()
        self._numbers: list[int] = []
        self._texts: list[str] = []
        self._doubles: list[float] = []
        self._json: list[str] = []

    def add_all(self, values: Sequence[Plain]) -> None:
        """Those of the next ops. Most batches carry numbers only, and those are looked at together."""
        if set(map(type, values)) == {int} and _in_bounds(values):  # type: ignore[arg-type]  # they are numbers
            self._forms += bytes((_NUMBER,)) * len(values)
            self._numbers += values  # type: ignore[arg-type]
            return
        for value in values:
            self._add(value)

    def _add(self, value: Plain) -> None:
        kind = value.__class__
        if kind is int and LEAST <= value <= MOST:  # type: ignore[operator]  # is a number
            self._forms.append(_NUMBER)
            self._numbers.append(value)  # type: ignore[arg-type]
        elif kind is str:
            self._forms.append(_TEXT)
            self._texts.append(value)  # type: ignore[arg-type]
        elif value is None:
            self._forms.append(_NULL)
        elif kind is bool:
            self._forms.append(_TRUE if value else _FALSE)
        elif kind is float:
            self._forms.append(_DOUBLE)
            self._doubles.append(value)  # type: ignore[arg-type]
        else:
            self._forms.append(_JSON)
            self._json.append(canonical(value))

    def columns(self) -> dict[str, Any]:
        """What stands in the body."""
        return {
            "op_form": bytes(self._forms),
            "numbers": pack(self._numbers),
            "texts": self._texts,
            "doubles": struct.pack(f"<{len(self._doubles)}d", *self._doubles),
            "json": self._json,
        }


def _in_bounds(numbers: Sequence[int]) -> bool:
    return min(numbers) >= LEAST and max(numbers) <= MOST


def read_values(record: dict[str, Any], count: int) -> list[Plain]:
    """The value of each op of a body. Raises `Undecodable`."""
    forms: bytes = record["op_form"]
    if not _FORMS.issuperset(forms):
        raise Undecodable("op_form: a value of no known form")
    numbers = unpack(record["numbers"], forms.count(_NUMBER), "numbers")
    texts: list[str] = record["texts"]
    json: list[str] = record["json"]
    doubles: bytes = record["doubles"]
    for name, found, claimed in (
        ("texts", len(texts), forms.count(_TEXT)),
        ("json", len(json), forms.count(_JSON)),
        ("doubles", len(doubles), 8 * forms.count(_DOUBLE)),
    ):
        if found != claimed:
            raise Undecodable(f"{name}: columns of different length")
    if len(numbers) == count:
        return numbers  # type: ignore[return-value]  # a list of numbers is a list of values
    sources: list[Iterator[Plain]] = [
        iter(numbers),
        iter(texts),
        iter(struct.unpack(f"<{len(doubles) // 8}d", doubles)),
        map(_read_json, json),
    ]
    steps = [source.__next__ for source in sources]
    return [_CONSTANTS[form] if form < _NUMBER else steps[form - _NUMBER]() for form in forms]


def _read_json(text: str) -> Plain:
    value = from_json(text)
    try:
        check_plain(value, "value")
    except AlgebraError as error:
        raise Undecodable(str(error)) from error
    return value
