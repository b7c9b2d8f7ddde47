"""What must come out, by definition: a second opinion that knows nothing of the algebra.

Everything is computed from the list of ops of a document and what each op's writer had seen: a counter is a sum; a register
holds the writes that no later writer had seen; an element is in the set if some add of it was seen by no remover of it. Slow and
plain on purpose: nothing here is shared with what it judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from driftlog_crdt import Op
from driftlog_schemas.identity import DocumentId
from tests.load.app import COUNTER, LABEL, TAGS

Dot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ExpectedDocument:
    """The end state of one document, as plain values."""

    hits: int
    label: str
    tags: frozenset[str]
    vector: dict[str, int]
    disputed: frozenset[Dot]
    """The surviving writes of the label, where they differ."""


@dataclass(slots=True)
class Expectation:
    """All ops that were made, by document."""

    ops: dict[DocumentId, list[Op]] = field(default_factory=dict)
    count: int = 0

    def add(self, document: DocumentId, op: Op) -> None:
        self.ops.setdefault(document, []).append(op)
        self.count += 1

    def documents(self) -> Iterable[tuple[DocumentId, ExpectedDocument]]:
        """What each document must be in the end."""
        for document, ops in self.ops.items():
            yield document, expected(ops)


def expected(ops: Iterable[Op]) -> ExpectedDocument:
    """The end state of a document of which exactly these ops were merged."""
    hits, vector = 0, dict[str, int]()
    writes: list[Op] = []
    adds: dict[str, list[Op]] = {}
    removes: dict[str, list[Op]] = {}
    for op in ops:
        vector[op.replica] = max(vector.get(op.replica, 0), op.seq)
        if op.field == COUNTER:
            hits += int(str(op.value)) if op.kind == "increment" else -int(str(op.value))
        elif op.field == LABEL:
            writes.append(op)
        else:
            assert op.field == TAGS
            (adds if op.kind == "add" else removes).setdefault(str(op.value), []).append(op)
    surviving = [w for w in writes if not any(_saw(other, w) for other in writes if other is not w)]
    winner = max(surviving, key=lambda op: (op.hlc, op.replica), default=None)
    tags = {
        element
        for element, added in adds.items()
        if any(not any(_saw(remove, add) for remove in removes.get(element, ())) for add in added)
    }
    differ = any(op.value != surviving[0].value for op in surviving)
    disputed = frozenset((op.replica, op.seq) for op in surviving) if differ else frozenset[Dot]()
    return ExpectedDocument(hits, "" if winner is None else str(winner.value), frozenset(tags), vector, disputed)


def _saw(later: Op, earlier: Op) -> bool:
    """Had the writer of `later` seen `earlier`?"""
    if later.replica == earlier.replica:
        return later.seq > earlier.seq
    return (later.context or {}).get(earlier.replica, 0) >= earlier.seq
