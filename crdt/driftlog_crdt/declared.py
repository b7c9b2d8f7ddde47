"""What a declaration says about a field and about the collection, besides the merge types themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from driftlog_crdt.field_type import FieldType

OnConflict: TypeAlias = Literal["silent", "record", "review"]
DeletePolicy: TypeAlias = Literal["delete-wins", "update-wins"]
Unit: TypeAlias = Literal["field", "record"]


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field: its type, and what is done about conflicts. `deadline_ms` 0 means none."""

    type: FieldType[Any]
    on_conflict: OnConflict = "silent"
    deadline_ms: int = 0
