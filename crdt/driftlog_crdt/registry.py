"""Every field type by its stable name, as declarations in schemas and tools say it.

A name here is a promise: data with it may be decades old. Types are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftlog_crdt.add_wins_set import AddWinsSet
from driftlog_crdt.bounded_counter import BoundedCounter
from driftlog_crdt.counter import Counter
from driftlog_crdt.custom import Custom
from driftlog_crdt.extremes import Max, Min
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.flag import Flag
from driftlog_crdt.grow_counter import GrowCounter
from driftlog_crdt.grow_set import GrowSet
from driftlog_crdt.list_field import List
from driftlog_crdt.map_field import Map
from driftlog_crdt.multi_value import MultiValue
from driftlog_crdt.ranked import Ranked
from driftlog_crdt.register import Register
from driftlog_crdt.remove_wins_set import RemoveWinsSet
from driftlog_crdt.text import Text

FIELD_TYPES: Mapping[str, type[FieldType[Any]]] = {
    kind.name: kind
    for kind in (
        AddWinsSet,
        BoundedCounter,
        Counter,
        Custom,
        Flag,
        GrowCounter,
        GrowSet,
        List,
        Map,
        Max,
        Min,
        MultiValue,
        Ranked,
        Register,
        RemoveWinsSet,
        Text,
    )
}
