"""The values that the algebra merges: what JSON can say, compared by what it says.

Richer Python types (Decimal, datetime, models) are turned into plain values above the algebra. Equality must be the
same on every replica, so it is that of the canonical text: `1`, `1.0` and `True` are three values here.
"""

from __future__ import annotations

import json
import math
from typing import TypeAlias

from driftlog_crdt.errors import BadValue

Scalar: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_SIMPLE = frozenset({str, int, bool, type(None)})


def canonical(value: Plain) -> str:
    """The one text of a plain value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return _canonical(value)


def check_plain(value: object, field: str) -> None:
    """Raise `BadValue` unless `value` is plain, finite and of JSON shape all the way down."""
    kind = type(value)
    if kind in _SIMPLE:
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadValue(field, f"{value} cannot be merged; use None where a number is unknown")
    elif isinstance(value, list):
        for item in value:
            check_plain(item, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadValue(field, f"a key of {type(key).__name__} cannot be merged; use text keys")
            check_plain(item, field)
    else:
        raise BadValue(field, f"{kind.__name__} is not a plain value; use None, bool, int, float, str, list or dict")


def check_scalar(value: object, field: str) -> None:
    """Raise `BadValue` unless `value` is a plain scalar (what a set can hold)."""
    if isinstance(value, list | dict):
        raise BadValue(field, f"a {type(value).__name__} cannot be an element; use text, a number or a bool")
    check_plain(value, field)
