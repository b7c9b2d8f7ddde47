"""What a field is declared as, in words that stay: the merge type's name, and what its values are on the wire.

These words stand in registered schemas and are compared with later declarations, so they never change. They name only what a value
means, not which values are allowed: a `Literal` of texts is text, `X | None` is X. What may change within limits are the `terms`: the order of
ranked values, bounds, what stands in values that are JSON. What a merge function computes cannot be compared: another one is a
matter for whoever writes it. Which values are allowed (`allowed`) tells two releases of an app apart.
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
from driftlog.fields.json_shape import JsonShape
from driftlog.values import bare, optional
from driftlog_crdt import BoundedCounter, FieldType, Flag, Ranked
from driftlog_schemas.evolution import Terms

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
_JSON = "json"


def fingerprint(built: Built) -> str:
    """For example `counter`, `register of decimal`, `map of register of text`."""
    name = _merged_as(built.algebra)
    if built.inner is not None:
        return f"{name} of {fingerprint(built.inner)}"
    return name if built.value is NO_VALUE else f"{name} of {_value(built.value.annotation)}"


def _merged_as(algebra: FieldType[Any]) -> str:
    """The merge type, with what of its parameters makes another value of the same ops."""
    if isinstance(algebra, Flag):
        return algebra.name if algebra.wins == "enable" else f"{algebra.name} where {algebra.wins} wins"
    if isinstance(algebra, BoundedCounter):
        held = f" held by {algebra.holder}" if algebra.holder else ""
        return f"{algebra.name} from {algebra.initial}{held}"
    return algebra.name


def terms(built: Built) -> Terms:
    """What of a declaration may change within limits."""
    algebra = built.algebra
    if built.inner is not None:
        return terms(built.inner)
    if isinstance(algebra, Ranked):
        return {"order": list(algebra.order)}
    if isinstance(algebra, BoundedCounter):
        return {"bounds": [algebra.lower, algebra.upper]}
    if built.value is NO_VALUE or _value(built.value.annotation) != _JSON:
        return {}
    try:
        return JsonShape(built.value.adapter.json_schema(mode="serialization")).terms
    except PydanticInvalidForJsonSchema:
        return {}


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
        return _NAMES.get(kinds.pop(), _JSON)
    return _NAMES.get(bare(annotation), _JSON)
