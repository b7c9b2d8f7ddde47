"""The fields of a document as its user sees them: a value to read, and the changes that make sense.

`Register[str] = ""` should type-check for the user although a `str` is no register: for type checkers the names are the
handle or anything, so that the default passes and `.value` has its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from driftlog.fields.gatherings import (
    AddWinsSetField,
    GrowSetField,
    ListField,
    MapField,
    RemoveWinsSetField,
    TextField,
)
from driftlog.fields.handle import FieldHandle
from driftlog.fields.numbers import BoundedCounterField, CounterField, GrowCounterField, MaxField, MinField
from driftlog.fields.options import field
from driftlog.fields.writes import CustomField, FlagField, MultiValueField, RankedField, RegisterField

T = TypeVar("T")
N = TypeVar("N", int, float)

if TYPE_CHECKING:
    Counter: TypeAlias = CounterField
    GrowCounter: TypeAlias = GrowCounterField
    BoundedCounter: TypeAlias = BoundedCounterField
    Max: TypeAlias = MaxField[N]
    Min: TypeAlias = MinField[N]
    Register: TypeAlias = RegisterField[T] | Any
    Ranked: TypeAlias = RankedField[T] | Any
    MultiValue: TypeAlias = MultiValueField[T]
    Flag: TypeAlias = FlagField
    Custom: TypeAlias = CustomField[T] | Any
    AddWinsSet: TypeAlias = AddWinsSetField[T]
    RemoveWinsSet: TypeAlias = RemoveWinsSetField[T]
    GrowSet: TypeAlias = GrowSetField[T]
    Map: TypeAlias = MapField[T]
    List: TypeAlias = ListField[T]
    Text: TypeAlias = TextField
else:
    Counter, GrowCounter, BoundedCounter = CounterField, GrowCounterField, BoundedCounterField
    Max, Min = MaxField, MinField
    Register, Ranked, MultiValue, Flag, Custom = RegisterField, RankedField, MultiValueField, FlagField, CustomField
    AddWinsSet, RemoveWinsSet, GrowSet = AddWinsSetField, RemoveWinsSetField, GrowSetField
    Map, List, Text = MapField, ListField, TextField

__all__ = [
    "AddWinsSet",
    "BoundedCounter",
    "Counter",
    "Custom",
    "FieldHandle",
    "Flag",
    "GrowCounter",
    "GrowSet",
    "List",
    "Map",
    "Max",
    "Min",
    "MultiValue",
    "Ranked",
    "Register",
    "RemoveWinsSet",
    "Text",
    "field",
]
