"""The algebra of Driftlog: mergeable fields and documents. Pure: no I/O, no clock, no randomness."""

from driftlog_crdt.add_wins_set import AddWinsSet
from driftlog_crdt.bounded_counter import BoundedCounter
from driftlog_crdt.causal import (
    PAST,
    SETTLER,
    Dot,
    Vector,
    changes_in,
    concurrent,
    covers,
    dominates,
    epoch_of,
    forgotten_in,
    joined,
)
from driftlog_crdt.collapsing import Collapsing
from driftlog_crdt.conflicts import Conflict, Place
from driftlog_crdt.counter import Counter
from driftlog_crdt.custom import Custom, assert_mergeable
from driftlog_crdt.document import (
    Applied,
    DeletePolicy,
    DocumentState,
    DocumentType,
    Field,
    OnConflict,
    Outcome,
)
from driftlog_crdt.document_codec import version_of
from driftlog_crdt.errors import AlgebraError, BadEncoding, BadOperation, BadValue, TooLarge
from driftlog_crdt.extremes import Max, Min
from driftlog_crdt.field_type import FieldType, Siblings, Write
from driftlog_crdt.flag import Flag
from driftlog_crdt.forgetting import EverybodyBut
from driftlog_crdt.grow_counter import GrowCounter
from driftlog_crdt.grow_set import GrowSet
from driftlog_crdt.hlc import HybridClock, bounded
from driftlog_crdt.list_field import List
from driftlog_crdt.map_field import Map
from driftlog_crdt.multi_value import MultiValue
from driftlog_crdt.ops import DELETE, DOCUMENT, Decision, Op, Origin
from driftlog_crdt.plain import Plain, Scalar, canonical, differ
from driftlog_crdt.ranked import Ranked
from driftlog_crdt.record import PUT
from driftlog_crdt.register import Register
from driftlog_crdt.registry import FIELD_TYPES
from driftlog_crdt.remove_wins_set import RemoveWinsSet
from driftlog_crdt.settling import DEADLINE
from driftlog_crdt.takeover import Takeover
from driftlog_crdt.text import Text

__all__ = [
    "DEADLINE",
    "DELETE",
    "DOCUMENT",
    "FIELD_TYPES",
    "PAST",
    "PUT",
    "SETTLER",
    "AddWinsSet",
    "AlgebraError",
    "Applied",
    "BadEncoding",
    "BadOperation",
    "BadValue",
    "BoundedCounter",
    "Collapsing",
    "Conflict",
    "Counter",
    "Custom",
    "Decision",
    "DeletePolicy",
    "DocumentState",
    "DocumentType",
    "Dot",
    "EverybodyBut",
    "Field",
    "FieldType",
    "Flag",
    "GrowCounter",
    "GrowSet",
    "HybridClock",
    "List",
    "Map",
    "Max",
    "Min",
    "MultiValue",
    "OnConflict",
    "Op",
    "Origin",
    "Outcome",
    "Place",
    "Plain",
    "Ranked",
    "Register",
    "RemoveWinsSet",
    "Scalar",
    "Siblings",
    "Takeover",
    "Text",
    "TooLarge",
    "Vector",
    "Write",
    "assert_mergeable",
    "bounded",
    "canonical",
    "changes_in",
    "concurrent",
    "covers",
    "differ",
    "dominates",
    "epoch_of",
    "forgotten_in",
    "joined",
    "version_of",
]
