"""The algebra of Driftlog: mergeable fields and documents. Pure: no I/O, no clock, no randomness."""

from driftlog_crdt.add_wins_set import AddWinsSet
from driftlog_crdt.causal import Dot, Vector, concurrent, covers, dominates, joined
from driftlog_crdt.counter import Counter
from driftlog_crdt.document import (
    Applied,
    DeletePolicy,
    DocumentState,
    DocumentType,
    Field,
    OnConflict,
    Outcome,
)
from driftlog_crdt.errors import AlgebraError, BadEncoding, BadOperation, BadValue, TooLarge
from driftlog_crdt.field_type import FieldType, Write
from driftlog_crdt.hlc import HybridClock, bounded
from driftlog_crdt.ops import DELETE, DOCUMENT, Op
from driftlog_crdt.plain import Plain, Scalar, canonical
from driftlog_crdt.register import Register

__all__ = [
    "DELETE",
    "DOCUMENT",
    "AddWinsSet",
    "AlgebraError",
    "Applied",
    "BadEncoding",
    "BadOperation",
    "BadValue",
    "Counter",
    "DeletePolicy",
    "DocumentState",
    "DocumentType",
    "Dot",
    "Field",
    "FieldType",
    "HybridClock",
    "OnConflict",
    "Op",
    "Outcome",
    "Plain",
    "Register",
    "Scalar",
    "TooLarge",
    "Vector",
    "Write",
    "bounded",
    "canonical",
    "concurrent",
    "covers",
    "dominates",
    "joined",
]
