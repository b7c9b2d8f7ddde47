"""Which batches are in a replica's chain, proven from its head alone.

A row names the head of the chain by its digest, and every batch names its predecessor. So whoever has the head and the records of the op topic
walks back from one to the next and knows what the chain holds: neither what was refused on the way nor what a stranger wrote is in it.
A command that stands there several times was put off or refused before it came again, so the newest tells: of the older ones the
row has forgotten what became of them. It may have forgotten that of the newest, too (`Sent.told`), for it tells no more than its own replica asks for;
that it was rejected the row tells for longer, as the states do not.
The walk ends at a batch that this folder itself knows to be in the chain, or at the first one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from driftlog_edge.store.handover import Sent
from driftlog_schemas.batch_codec import batch_digest, decode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import Batch, ChainRow, CommandOutcome, Verdict
from driftlog_schemas.row_columns import short_name


class Lineage(NamedTuple):
    """What others have written under our name and the cloud has taken."""

    commands: dict[bytes, Sent]
    """By the command's short name; where several were sent as one, each is named with that one."""
    complete: bool
    """Did the walk arrive where our own knowledge begins? If not, the log no longer holds what is between."""


NOTHING = Lineage({}, True)


def lineage(row: ChainRow, bodies: Iterable[bytes], ours: Collection[bytes]) -> Lineage:
    """Walk back from the row's head through `bodies` to one of `ours`, digests that we know to be in the chain."""
    by_digest = {batch_digest(body): body for body in bodies}
    verdicts = {(entry.number, o.command_id): o for entry in row.entries for o in entry.outcomes}
    found: dict[bytes, Sent] = {}
    met: set[bytes] = set()
    at = row.head
    while at not in ours:
        batch = _read(by_digest.pop(at, b""))
        if batch is None or batch.replica != row.replica:
            return Lineage(found, False)
        for command in batch.commands:
            refused = rejected(row, batch.number, command.id)
            told = refused or verdicts.get((batch.number, command.id))
            outcome = told or CommandOutcome(command.id, Verdict.ACCEPTED)
            sent = Sent(
                command,
                outcome,
                batch.number,
                told=refused is not None or batch.number >= row.floor,
                refusals_told=batch.number >= row.refused_from,
            )
            names = {short_name(command.id), *command.stands_for}
            if outcome.verdict is not Verdict.DEFERRED:  # of that nothing was seen
                found.update(dict.fromkeys(names - met, sent))
            met |= names
        if batch.number == 1:
            return Lineage(found, True)
        at = batch.prev
    return Lineage(found, True)


def rejected(row: ChainRow, number: int, command_id: str) -> CommandOutcome | None:
    """That a command of this batch was rejected, where the row has forgotten all else of the batch."""
    refused = row.refused.get(short_name(command_id))
    if refused is None or refused.number != number:
        return None
    return CommandOutcome(command_id, Verdict.REJECTED, refused.code, "another copy of the folder was told why")


def _read(body: bytes) -> Batch | None:
    try:
        return decode_body(body)
    except Undecodable:
        return None
