"""Between the user's Python types and the algebra's plain values.

The algebra merges what JSON can say; pydantic knows how every type becomes that and comes back. What a row of the read model
could not hold is refused here, where the writer still hears of it: decimals of more than 38 digits, 9 of them after the point,
whole numbers of more than 64 bits, NaN and infinities, times without a zone.

One value has one text, or writing it twice would look like a conflict: decimals lose trailing zeros, times are in UTC.
What travels is checked again by `require_exact` in the cloud, because a device may run another version of the app.
"""

from __future__ import annotations

import copy
import types
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    PydanticUserError,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic import Field as PydanticField
from pydantic_core import PydanticCustomError, PydanticSerializationError, to_jsonable_python

from driftlog.errors import InvalidInput
from driftlog_crdt import AlgebraError, BadValue, Plain, canonical
from driftlog_crdt.plain import check_plain

T = TypeVar("T")

DECIMAL_DIGITS, DECIMAL_PLACES = 38, 9
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

_BARE = frozenset({str, bool, int})
"""Types whose plain value is the value itself."""


@dataclass(frozen=True, slots=True)
class ValueType(Generic[T]):
    """One Python type as the value of a field."""

    annotation: Any
    adapter: TypeAdapter[T]

    @classmethod
    def of(cls, annotation: Any) -> ValueType[Any]:
        """Raises TypeError if pydantic cannot handle the type."""
        try:
            return cls(annotation, TypeAdapter(storable(annotation)))
        except (PydanticUserError, NameError) as error:
            raise TypeError(str(error).splitlines()[0]) from error

    def to_plain(self, value: object, field: str) -> Plain:
        """Validated and plain. Raises `InvalidInput` naming the field."""
        try:
            checked = self.adapter.validate_python(value)
        except ValidationError as error:
            raise InvalidInput(field, explain(error)) from error
        if type(checked) in _BARE:
            return cast(Plain, checked)
        if isinstance(checked, Decimal):
            return decimal_text(checked)
        plain = self.adapter.dump_python(checked, mode="json")
        if isinstance(plain, list | dict):
            try:
                check_plain(plain, field)
            except BadValue as error:
                raise InvalidInput(field, error.reason) from error
        return cast(Plain, plain)

    def from_plain(self, plain: Plain) -> T:
        """Back to the user's type; the plain value stays out of the user's hands."""
        return self.adapter.validate_python(copy.deepcopy(plain) if isinstance(plain, list | dict) else plain)

    def require_exact(self, plain: Plain, field: str) -> None:
        """Raise `BadValue` unless `plain` is what `to_plain` gives for some value."""
        try:
            again = self.to_plain(self.from_plain(plain), field)
        except ValidationError as error:
            raise BadValue(field, explain(error)) from error
        except InvalidInput as error:
            raise BadValue(field, error.message) from error
        if type(again) is not type(plain) or (again != plain and canonical(again) != canonical(plain)):
            raise BadValue(field, f"{plain!r} is not how this type is written; that would be {again!r}")

    def zero(self) -> Plain:
        """What a field of this type holds before the first write. Raises TypeError where no value is obvious."""
        if optional(self.annotation) is not None:
            return None
        base = bare(self.annotation)
        for kind, value in ((str, ""), (bool, False), (int, 0), (float, 0.0), (Decimal, "0")):
            if base is kind:
                return cast(Plain, value)
        if get_origin(base) in (list, dict, tuple, set, frozenset):
            return {} if get_origin(base) is dict else []
        raise TypeError("has no default")


def decimal_text(value: Decimal) -> str:
    """The one text of a decimal: 3.50 and 3.5 are the same value."""
    return format(value.normalize(), "f") if value else "0"


def explain(error: ValidationError) -> str:
    """A pydantic error in one line."""
    parts = []
    for item in error.errors(include_url=False, include_context=False):
        place = ".".join(str(p) for p in item["loc"])
        parts.append(f"{place}: {item['msg']}" if place else item["msg"])
    return "; ".join(parts)


def to_json(value: object) -> Plain:
    """Any Python value as JSON. Raises TypeError for what JSON cannot say."""
    try:
        plain = to_jsonable_python(value, inf_nan_mode="constants")
        check_plain(plain, "")
    except (PydanticSerializationError, AlgebraError, ValueError) as error:
        raise TypeError(str(error)) from error
    return cast(Plain, plain)


def optional(annotation: Any) -> Any:
    """X of `X | None`; None for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not types.NoneType]
        if len(rest) == 1 and len(get_args(annotation)) == 2:
            return rest[0]
    return None


def bare(annotation: Any) -> Any:
    """The type under `Annotated`."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def storable(annotation: Any) -> Any:
    """The same type, limited to what a row can hold."""
    return _refine(
        annotation,
        {
            int: (Strict(), PydanticField(ge=LONG_MIN, le=LONG_MAX)),
            bool: (Strict(),),
            float: (Strict(), _FINITE),
            Decimal: (_DECIMAL, AfterValidator(_fitting)),
            datetime: (AwareDatetime, AfterValidator(_in_utc)),
        },
    )


_FINITE = PydanticField(allow_inf_nan=False)
_DECIMAL = PydanticField(max_digits=DECIMAL_DIGITS, decimal_places=DECIMAL_PLACES, allow_inf_nan=False)


def _refine(annotation: Any, rules: dict[Any, tuple[Any, ...]]) -> Any:
    inner = optional(annotation)
    if inner is not None:
        return _refine(inner, rules) | None
    base = bare(annotation)
    extra = rules.get(base, ()) if isinstance(base, type) else ()
    return Annotated[(annotation, *extra)] if extra else annotation


def _fitting(value: Decimal) -> Decimal:
    """With 9 places reserved after the point, 29 digits are left before it."""
    if value.adjusted() >= DECIMAL_DIGITS - DECIMAL_PLACES and value:
        raise ValueError(f"at most {DECIMAL_DIGITS - DECIMAL_PLACES} digits before the point")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # the first and the last hours of all time
        raise ValueError("not a moment between the years 1 and 9999 in UTC") from error


def numeric(annotation: Any) -> Any:
    """The same type, in which a number is none where true or false is given: pydantic takes them for 1 and 0. Models of the app's own say it themselves."""
    if bare(annotation) in (int, float, Decimal):
        return Annotated[annotation, BeforeValidator(_no_truth)]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(numeric(inner[0]), *inner[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(numeric, inner))]  # noqa: UP007  # made of what is only known here
    if origin in (list, dict, tuple, set, frozenset):
        return origin[tuple(map(numeric, inner))]
    return annotation


def _no_truth(given: object) -> object:
    if isinstance(given, bool):
        raise PydanticCustomError("no_number", "{given} is no number", {"given": str(given).lower()})
    return given
