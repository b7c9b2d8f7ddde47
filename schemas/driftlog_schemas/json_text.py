"""A plain value as JSON text inside a record: what Avro's own types cannot say.

Whatever the text is, reading it gives a plain value or `Undecodable`: text without end, numbers of a million digits and NaN included.
"""

from __future__ import annotations

import json
from typing import NoReturn

from driftlog_crdt import Plain
from driftlog_schemas.errors import Undecodable


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def from_json(text: str) -> Plain:
    """The value. Raises `Undecodable`."""
    try:
        value: Plain = _decode(text)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"a value that is not JSON: {error}") from error
    return value
