"""The values that the algebra merges: what JSON can say, compared by what it says.

Richer Python types (Decimal, datetime, models) are turned into plain values above the algebra. Equality must be the
same on every replica, so it is that of the canonical text: `1`, `1.0` and `True` are three values here. What some
reader of JSON could not take back is refused at the door: NaN, half a surrogate pair, numbers of a thousand bits,
nesting without end.
"""

from __future__ import annotations

import json
import math
from typing import TypeAlias

from driftlog_crdt.errors import BadValue

Scalar: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

MAX_DEPTH = 32
MAX_INTEGER_BITS = 1024

_canonical = json.JSONEncoder(
    ensure_ascii=False,
    sort_keys=True,
    separators=(",", ":"),
    allow_nan=False,
    check_circular=False,  # a fifth of the time; a value that holds itself ends as a RecursionError instead
).encode
_EXACT = frozenset({str, int, bool, type(None)})
"""Types whose `==` within the type says the same as the canonical text."""


def canonical(value: Plain) -> str:
    """The one text of a plain value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return repr(value) if type(value) is int else _canonical(value)


def differ(left: Plain, right: Plain) -> bool:
    """Are these two values, by canonical text? Types tell most of it without writing the text."""
    kind = type(left)
    if kind is not type(right):
        return True
    if kind in _EXACT:
        return left != right
    return _canonical(left) != _canonical(right)


def check_plain(value: object, field: str, depth: int = 0) -> None:
    """Raise `BadValue` unless `value` is plain, finite and of JSON shape all the way down."""
    kind = type(value)
    if kind is str:
        _check_text(value, field)  # type: ignore[arg-type]
    elif kind is int:
        if value.bit_length() > MAX_INTEGER_BITS:  # type: ignore[attr-defined]
            raise BadValue(field, f"a number of more than {MAX_INTEGER_BITS} bits cannot be merged; use text")
    elif kind is bool or value is None:
        return
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise BadValue(field, f"{value} cannot be merged; use None where a number is unknown")
    elif kind is list or kind is dict:
        _check_inside(value, field, depth)  # type: ignore[arg-type]
    else:
        raise BadValue(field, f"{kind.__name__} is not a plain value; use None, bool, int, float, str, list or dict")


def check_scalar(value: object, field: str) -> None:
    """Raise `BadValue` unless `value` is a plain scalar (what a set can hold)."""
    if isinstance(value, (list, dict)):
        raise BadValue(field, f"a {type(value).__name__} cannot be an element; use text, a number or a bool")
    check_plain(value, field)


def _check_text(value: str, field: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadValue(field, "text with half a surrogate pair cannot be merged") from None


def _check_inside(value: list[object] | dict[object, object], field: str, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise BadValue(field, f"nested deeper than {MAX_DEPTH} levels; flatten the value")
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise BadValue(field, f"a key of {type(key).__name__} cannot be merged; use text keys")
            _check_text(key, field)
    for item in value.values() if isinstance(value, dict) else value:
        check_plain(item, field, depth + 1)
