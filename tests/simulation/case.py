"""A run to be judged: its history, and what its log means, worked out once for all laws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from driftlog_crdt import AlgebraError, DocumentState
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import META, StateCodec
from tests.simulation.app import SPACE
from tests.simulation.history import History
from tests.simulation.reference import COME_AGAIN, REPEATED, Reference


class Meaningless(Exception):
    """The log cannot be folded."""


class Case:
    """A history with its meaning, worked out once for all laws; `space` as the agents of that world had it declared."""

    def __init__(self, history: History, space: SpaceContract = SPACE) -> None:
        self.history = history
        self.space = space
        ids = FixedIds()
        self.reference = Reference(history.devices, history.intents, ids)
        try:
            partitions = Counter(name for name, _ in history.ops)
            for place, records in history.ops.items():
                self.reference.fold(place, records, partitions[place[0]])
            self.reference.settle()
        except (AssertionError, AlgebraError) as error:  # dots that were given out twice, for instance
            raise Meaningless(str(error)) from error
        self._codecs = {name: StateCodec(c, ids) for name, c in space.collections.items()}
        for codec in self._codecs.values():
            ids.id_of(codec.schema)
        self.decisions = {name: d for (_, name), d in self.reference.decisions.items() if d.code != REPEATED}
        """command id -> what became of it; whoever brought it again was told the same"""

    @property
    def now(self) -> str:
        """What the space is called on the wire in the end."""
        return [name for name, _ in self.history.ops][-1]

    def lying(self, space: str) -> Iterator[tuple[DocumentId, int]]:
        """The documents that are told of under this name of the space, with their partitions."""
        for (name, at), records in self.history.states.items():
            if name == space:
                yield from ((parse_document_key(record.key or b""), at) for record in records)

    def only_goes_up(self, document: DocumentId) -> bool:
        """Does a device hold of its collection what it has written itself, for a time?"""
        return self.space.collections[document.collection].direction == "up"

    def refused_for_now(self, command_id: str) -> set[str]:
        """The codes with which lives were refused a command that may come again."""
        decisions = self.reference.decisions.items()
        return {d.code for (_, name), d in decisions if name == command_id and d.code in COME_AGAIN}

    def row(self, document: DocumentId, value: bytes) -> dict[str, Any]:
        """A state record as any Kafka tool reads it."""
        return self._codecs[document.collection].decode_row(value)

    def merged(self, document: DocumentId, value: bytes) -> bytes:
        """The merge encoding in a state record."""
        merge: bytes = self.row(document, value)[META]["merge"]
        return merge

    def state(self, document: DocumentId, merged: bytes) -> DocumentState:
        """What a merge encoding says."""
        return SPACE.collections[document.collection].document.decode(merged)


def said(outcome: CommandOutcome | None) -> tuple[str, str]:
    """Verdict and code as the reference names them."""
    if outcome is None:
        return "accepted", ""
    return outcome.verdict.value, "" if outcome.verdict is Verdict.PARKED else outcome.code
