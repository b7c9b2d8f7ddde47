"""What was pulled: a write set, and what it means to those who follow the replica."""

from __future__ import annotations

from typing import NamedTuple

import structlog

from driftlog_crdt import AlgebraError
from driftlog_edge.incoming.answered import Answered
from driftlog_edge.ports import Place, Record
from driftlog_edge.store.changes import ANEW, Changed
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import RefusalNotice
from driftlog_schemas.sparing import Sparing

log = structlog.get_logger()

UNREADABLE = (Undecodable, UnknownSchema, AlgebraError, ValueError)
"""What reading a record raises when it is foreign, damaged, or of a newer app."""


class Pulled(NamedTuple):
    """What a write set of pulled records means, once it is durable."""

    writes: dict[Place, bytes | None]
    changed: tuple[DocumentId, ...] = ()
    answered: tuple[Answered, ...] = ()
    """What rows of our chains said"""
    refused: tuple[tuple[str, int, RefusalNotice], ...] = ()
    """(space, partition, why) of batches that were not believed to be ours"""
    dropped: tuple[int, ...] = ()
    """lsns that are decided and that the confirmed state now has"""
    forked: tuple[tuple[str, int], ...] = ()
    """(space, partition) in which somebody else speaks in our name"""
    unreadable: int = 0
    """records that were passed over because they cannot be read here"""
    anew: bool = False
    """a whole partition may look different: nobody can name what has changed"""

    @property
    def shown(self) -> Changed:
        """The documents that readers may see otherwise; those of refused commands among them."""
        if self.anew:
            return ANEW
        found = dict.fromkeys(map(document_key, self.changed))
        for answer in self.answered:
            found.update(dict.fromkeys(answer.refused))
        return found

    @property
    def settled(self) -> tuple[str, ...]:
        """ids of commands that got their final status"""
        return tuple(command_id for answer in self.answered for command_id in answer.settled)


class PassedOver:
    """Says that records are left where they are; of many, how many."""

    def __init__(self) -> None:
        self._say = Sparing(log, "a record cannot be read and is passed over")

    def __call__(self, topic: str, record: Record, error: Exception) -> None:
        self._say(topic=topic, offset=record.offset, reason=str(error))
