"""Between the user's Python types, the algebra's plain values, and the columns of a row.

The algebra merges plain JSON values; pydantic knows how every type becomes one and comes back. Decimals are written without
trailing zeros, so that 3.5 and 3.50 are one value and never a conflict; they fit a column of 38 digits, 9 of them after the point.
"""

from __future__ import annotations

import enum
import json
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import Field as PydanticField
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from driftlog_crdt import Plain, canonical
from driftlog_schemas.contract import InvalidInput

T = TypeVar("T")

DECIMAL_DIGITS, DECIMAL_PLACES = 38, 9
_DECIMAL_COLUMN = {"type": "bytes", "logicalType": "decimal", "precision": DECIMAL_DIGITS, "scale": DECIMAL_PLACES}
_ColumnShape = tuple[Any, Any, Callable[[Plain], Any] | None]


@dataclass(frozen=True)
class ValueType(Generic[T]):
    """One Python type as a field's value."""

    annotation: Any
    adapter: TypeAdapter[T]

    @classmethod
    def of(cls, annotation: Any) -> ValueType[Any]:
        """Raises TypeError if pydantic cannot handle the type."""
        try:
            return cls(annotation, TypeAdapter(_bounded(annotation)))
        except PydanticSchemaGenerationError as error:
            raise TypeError(str(error).splitlines()[0]) from error

    def to_plain(self, value: object, field: str) -> Plain:
        """Validated and plain. Raises `InvalidInput` naming the field."""
        try:
            checked = self.adapter.validate_python(value)
        except ValidationError as error:
            raise InvalidInput(field, explain(error)) from error
        if isinstance(checked, Decimal):
            return format(checked.normalize(), "f") if checked else "0"
        return cast(Plain, self.adapter.dump_python(checked, mode="json"))

    def from_plain(self, plain: Plain) -> T:
        """Back to the user's type."""
        return self.adapter.validate_python(plain)

    def zero(self) -> Plain:
        """What a field of this type holds before the first write. Raises TypeError where no value is obvious."""
        if _optional(self.annotation) is not None:
            return None
        for kind, value in ((str, ""), (bool, False), (int, 0), (float, 0.0), (Decimal, "0")):
            if self.annotation is kind:
                return cast(Plain, value)
        raise TypeError("has no default")

    def column(self) -> _ColumnShape:
        """(Avro type, Avro default, plain -> what fastavro writes)."""
        return _column(self.annotation)


def explain(error: ValidationError) -> str:
    """A pydantic error in one line."""
    parts = []
    for item in error.errors(include_url=False, include_context=False):
        place = ".".join(str(p) for p in item["loc"])
        parts.append(f"{place}: {item['msg']}" if place else item["msg"])
    return "; ".join(parts)


def _bounded(annotation: Any) -> Any:
    inner = _optional(annotation)
    if inner is Decimal:
        return _bounded(Decimal) | None
    if annotation is Decimal:
        return Annotated[
            Decimal, PydanticField(max_digits=DECIMAL_DIGITS, decimal_places=DECIMAL_PLACES, allow_inf_nan=False)
        ]
    return annotation


def _optional(annotation: Any) -> Any:
    """X of `X | None`; None for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not types.NoneType]
        if len(rest) == 1 and len(get_args(annotation)) == 2:
            return rest[0]
    return None


def _column(annotation: Any) -> _ColumnShape:
    inner = _optional(annotation)
    if inner is not None:
        avro, _, convert = _column(inner)
        return ["null", avro], None, None if convert is None else _keep_none(convert)
    if get_origin(annotation) is Annotated:
        return _column(get_args(annotation)[0])
    simple: dict[Any, _ColumnShape] = {
        str: ("string", "", None),
        bool: ("boolean", False, None),
        int: ("long", 0, None),
        float: ("double", 0.0, None),
        Decimal: (_DECIMAL_COLUMN, "\u0000", lambda text: Decimal(cast(str, text))),
        uuid.UUID: ("string", "", None),
        datetime: ({"type": "long", "logicalType": "timestamp-millis"}, 0, _to_datetime),
        date: ({"type": "int", "logicalType": "date"}, 0, lambda text: date.fromisoformat(cast(str, text))),
    }
    if annotation in simple:
        return simple[annotation]
    texts = isinstance(annotation, type) and issubclass(annotation, enum.Enum) and issubclass(annotation, str)
    if texts or (get_origin(annotation) is Literal and all(isinstance(a, str) for a in get_args(annotation))):
        return "string", "", None
    return "string", "null", canonical


def _keep_none(convert: Callable[[Plain], Any]) -> Callable[[Plain], Any]:
    return lambda value: None if value is None else convert(value)


def _to_datetime(text: Plain) -> datetime:
    moment = datetime.fromisoformat(cast(str, text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def array_column(annotation: Any) -> _ColumnShape:
    """The column of a set of these."""
    avro, _, convert = _column(annotation)
    items = (lambda values: [convert(v) for v in values]) if convert else None
    return {"type": "array", "items": avro}, [], cast("Callable[[Plain], Any] | None", items)


def to_json(value: object) -> Plain:
    """A command's result as JSON. Raises TypeError for what JSON cannot say."""
    return cast(Plain, json.loads(json.dumps(TypeAdapter(Any).dump_python(value, mode="json"), allow_nan=False)))
