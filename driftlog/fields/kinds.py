"""Every kind of field that a declaration may name: how its annotation becomes a merge type, a column, a handle and a check.

To add a kind is to add one handle and one entry in `KINDS`. What the algebra cannot know, because it is untyped, is checked here: an
op from another device may hold a value that is plain but not of the declared type, and a row could not be written for it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args, get_origin

import driftlog_crdt as crdt
from driftlog import columns
from driftlog.columns import Shape
from driftlog.errors import DeclarationError
from driftlog.fields.custom import guarded_merge
from driftlog.fields.gatherings import (
    AddWinsSetField,
    GrowSetField,
    ListField,
    MapField,
    RemoveWinsSetField,
    TextField,
)
from driftlog.fields.handle import Built, Check, FieldHandle
from driftlog.fields.numbers import BoundedCounterField, CounterField, GrowCounterField, MaxField, MinField
from driftlog.fields.options import Options
from driftlog.fields.spec import Spec
from driftlog.fields.writes import CustomField, FlagField, MultiValueField, RankedField, RegisterField
from driftlog.values import ValueType
from driftlog_crdt import FieldType, Op, Plain
from driftlog_crdt.yjs_edit import read_edit
from driftlog_schemas.identity import is_life

COMMON = frozenset({"on_conflict", "deadline", "masked"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of field. Every kind takes the options of `COMMON`; `options` are its others."""

    name: str
    build: Callable[[Spec], Built]
    options: frozenset[str] = frozenset()


def build(place: str, annotation: Any, options: Options) -> Built:
    """A declared field, compiled. Raises `DeclarationError`."""
    handle = get_origin(annotation) or annotation
    kind = KINDS.get(handle) if isinstance(handle, type) else None
    if kind is None:
        known = ", ".join(kind.name for kind in KINDS.values())
        raise DeclarationError(place, f"{_shown(annotation)} is not a field type", f"use one of {known}")
    foreign = sorted(options.given() - kind.options - COMMON)
    if foreign:
        takes = ", ".join(sorted(kind.options)) or "only on_conflict, deadline and masked"
        raise DeclarationError(place, f"a {kind.name} has no {foreign[0]}", f"leave it out; it takes {takes}")
    return kind.build(Spec(place, kind.name, get_args(annotation), options))


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else repr(annotation)


def _counter(handle: type[FieldHandle], algebra: Callable[[], FieldType[Any]]) -> Callable[[Spec], Built]:
    return lambda spec: Built(handle, algebra(), columns.long_sum())


def _bounded_counter(spec: Spec) -> Built:
    given = spec.options.some("lower", "upper", "initial", "holder")
    for name, value in given.items():
        if type(value) is not (str if name == "holder" else int) and value is not None:
            raise DeclarationError(
                spec.place,
                f"{name}={value!r} is of the wrong type",
                "bounds are whole numbers, holder is a device's name",
            )
    try:
        algebra = crdt.BoundedCounter(**given)
    except ValueError as error:
        raise DeclarationError(spec.place, str(error), "see lower, upper, initial and holder of field()") from error

    def check(op: Op) -> None:
        heir = algebra.heir(op)
        if heir is not None and not is_life(heir):
            raise crdt.BadValue(op.field, f"{op.kind} takes a life of a device, not {heir[:80]!r}")

    return Built(BoundedCounterField, algebra, columns.long_sum(), check=check)


def _extreme(handle: type[FieldHandle], algebra: FieldType[Any]) -> Callable[[Spec], Built]:
    def build(spec: Spec) -> Built:
        if spec.argument("int") not in (int, float):
            raise DeclarationError(spec.place, "holds no numbers that Driftlog can compare", f"write {spec.kind}[int]")
        value = spec.value_type()
        inner = columns.of_value(value)
        return Built(handle, algebra, Shape(["null", inner.avro], None), value, _exactly(value))

    return build


def _register(spec: Spec) -> Built:
    value = spec.value_type()
    default = spec.default(value)
    shape = columns.of_value(value, default)
    return Built(RegisterField, crdt.Register(default=default), shape, value, _exactly(value))


def _ranked(spec: Spec) -> Built:
    value = spec.value_type()
    listed = columns.members_of(spec.argument())
    if spec.options.order is not ...:
        listed = [spec.plain(value, one, "in the order,") for one in spec.options.order]
    if not listed:
        raise DeclarationError(
            spec.place, "has no order", 'write Ranked[Literal["open", "done"]], or give field(order=[...])'
        )
    default = listed[0] if spec.options.default is ... else spec.default(value)
    if default not in listed:
        raise DeclarationError(spec.place, f"the default {default!r} is not in the order", "mend one of both")
    try:
        algebra = crdt.Ranked(cast(Any, listed), default=cast(Any, default))
    except (ValueError, crdt.BadValue) as error:
        raise DeclarationError(spec.place, str(error), "list each value once, the weakest first") from error
    return Built(RankedField, algebra, columns.of_value(value, default), value, _exactly(value))


def _multi_value(spec: Spec) -> Built:
    value = spec.value_type()
    return Built(MultiValueField, crdt.MultiValue(), columns.array_of(columns.of_value(value)), value, _exactly(value))


def _flag(spec: Spec) -> Built:
    try:
        return Built(FlagField, crdt.Flag(**spec.options.some("wins")), Shape("boolean", False))
    except ValueError as error:
        raise DeclarationError(spec.place, str(error), 'write wins="enable" or wins="disable"') from error


def _custom(spec: Spec) -> Built:
    value = spec.value_type()
    default = spec.default(value)
    if not callable(spec.options.merge):
        raise DeclarationError(spec.place, "has no merge", "write field(merge=function of (base, left, right))")
    algebra = crdt.Custom(guarded_merge(spec.options.merge, value, spec.place), default)

    def check(op: Op) -> None:
        for one in algebra.carried_values(op):
            value.require_exact(one, op.field)

    return Built(CustomField, algebra, columns.of_value(value, default), value, check)


def _set(handle: type[FieldHandle], algebra: Callable[[], FieldType[Any]]) -> Callable[[Spec], Built]:
    def build(spec: Spec) -> Built:
        value = spec.value_type()
        if not columns.is_scalar(value):
            raise DeclarationError(
                spec.place, "a set holds texts, numbers, times and the like", "use a Map or a collection of their own"
            )
        return Built(handle, algebra(), columns.array_of(columns.of_value(value)), value, _exactly(value))

    return build


def _list(spec: Spec) -> Built:
    value = spec.value_type()

    def check(op: Op) -> None:
        for element in read_edit(base64.b64decode(cast(str, op.value))).elements:
            value.require_exact(json.loads(element), op.field)

    return Built(ListField, crdt.List(), columns.array_of(columns.of_value(value)), value, check)


def _map(spec: Spec) -> Built:
    inner = build(f"{spec.place}[...]", spec.argument("Counter"), Options())
    try:
        algebra = crdt.Map(inner.algebra)
    except ValueError as error:
        raise DeclarationError(spec.place, str(error), "write Map[Counter] or Map[Register[str]]") from error
    of_value = inner.check

    def check(op: Op) -> None:
        if op.kind != "remove" and of_value is not None:
            of_value(op._replace(value=cast("list[Plain]", op.value)[1]))

    return Built(MapField, algebra, columns.map_of(inner.shape), check=check, inner=inner)


def _exactly(value: ValueType[Any]) -> Check:
    return lambda op: value.require_exact(op.value, op.field)


KINDS: Mapping[type[FieldHandle], Kind] = {
    CounterField: Kind("Counter", _counter(CounterField, crdt.Counter)),
    GrowCounterField: Kind("GrowCounter", _counter(GrowCounterField, crdt.GrowCounter)),
    BoundedCounterField: Kind("BoundedCounter", _bounded_counter, frozenset({"lower", "upper", "initial", "holder"})),
    MaxField: Kind("Max", _extreme(MaxField, crdt.Max())),
    MinField: Kind("Min", _extreme(MinField, crdt.Min())),
    RegisterField: Kind("Register", _register, frozenset({"default"})),
    RankedField: Kind("Ranked", _ranked, frozenset({"default", "order"})),
    MultiValueField: Kind("MultiValue", _multi_value),
    FlagField: Kind("Flag", _flag, frozenset({"wins"})),
    CustomField: Kind("Custom", _custom, frozenset({"default", "merge"})),
    AddWinsSetField: Kind("AddWinsSet", _set(AddWinsSetField, crdt.AddWinsSet)),
    RemoveWinsSetField: Kind("RemoveWinsSet", _set(RemoveWinsSetField, crdt.RemoveWinsSet)),
    GrowSetField: Kind("GrowSet", _set(GrowSetField, crdt.GrowSet)),
    MapField: Kind("Map", _map),
    ListField: Kind("List", _list),
    TextField: Kind("Text", lambda spec: Built(TextField, crdt.Text(), Shape("string", ""))),
}
