"""What a field is declared as, in words that stay: the merge type's name, and what its values are on the wire.

These words stand in registered schemas and are compared with later declarations, so they never change. They name only what a value
means, not which values are allowed: a `Literal` of texts is text, `X | None` is X. Which are allowed (`allowed`) tells two releases of an app apart.
"""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from driftlog.columns import members_of
from driftlog.fields.handle import NO_VALUE, Built
from driftlog.values import bare, optional

_NAMES: dict[Any, str] = {
    str: "text",
    bool: "bool",
    int: "int",
    float: "float",
    Decimal: "decimal",
    datetime: "time",
    date: "date",
    uuid.UUID: "uuid",
}


def fingerprint(built: Built) -> str:
    """For example `counter`, `register of decimal`, `map of register of text`."""
    name = built.algebra.name
    if built.inner is not None:
        return f"{name} of {fingerprint(built.inner)}"
    return name if built.value is NO_VALUE else f"{name} of {_value(built.value.annotation)}"


def allowed(built: Built) -> str:
    """The fingerprint, and which values the field takes; another text is another release's."""
    if built.inner is not None:
        return f"{built.algebra.name} of {allowed(built.inner)}"
    if built.value is NO_VALUE:
        return fingerprint(built)
    try:
        values = json.dumps(built.value.adapter.json_schema())
    except PydanticInvalidForJsonSchema:  # a type without a schema: its name has to do
        values = repr(built.value.annotation)
    return f"{fingerprint(built)}: {values}"


def _value(annotation: Any) -> str:
    inner = optional(annotation)
    if inner is not None:
        return _value(inner)
    kinds = {type(member) for member in members_of(annotation)}
    if len(kinds) == 1:
        return _NAMES.get(kinds.pop(), "json")
    return _NAMES.get(bare(annotation), "json")
