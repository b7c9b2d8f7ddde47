"""What an agent tells the fleet of the commands that a person should look at: how many, and some of them, in few bytes.

The oldest on the review list come first, for they are applied in their order; then the newest rejected ones. What is more is on the device. No more is read
for it than for a page of commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from driftlog_edge.asking.pages import COMMANDS_BYTES
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import decode_logged
from driftlog_schemas import bounds
from driftlog_schemas.messages import REJECTED, REVIEW, Command, WaitingCommand

MOST_COUNTED = 10_000
MOST_TOLD = 10
"""Of each kind."""
MOST_BYTES = 4 << 10
"""Of all that is told, as UTF-8: a heartbeat goes out every few minutes, over whatever link there is."""


class ForPeople(NamedTuple):
    """Both lists in small."""

    review: int
    rejected: int
    """Counted up to `MOST_COUNTED`."""
    told: tuple[WaitingCommand, ...]


def for_people(journal: Journal) -> ForPeople:
    """What is to be told now."""
    reviewed = _counted(journal, keys.REVIEWS)
    rejected = _counted(journal, keys.REJECTED)
    return ForPeople(reviewed, rejected, tuple(_within(MOST_BYTES, _told(journal))))


def _counted(journal: Journal, prefix: bytes) -> int:
    return sum(1 for _ in islice(journal.scan_keys(Family.META, prefix), MOST_COUNTED))


def _told(journal: Journal) -> Iterator[WaitingCommand]:
    left = COMMANDS_BYTES
    for kind, prefix in ((REVIEW, keys.REVIEWS), (REJECTED, keys.REJECTED)):
        for key, command_id in islice(journal.scan(Family.META, prefix), MOST_TOLD):
            lsn = keys.parse_lsn(key) if kind == REVIEW else keys.parse_rejected(key)
            raw = journal.get(Family.COMMANDS, command_id), journal.get(Family.OPLOG, keys.lsn_key(lsn))
            if raw[0] is None or raw[1] is None:
                continue  # it is decided or forgotten at this moment
            left -= len(raw[0]) + len(raw[1])
            if left < 0:
                return
            yield _one(kind, Entry.decode(raw[0]), decode_logged(raw[1]).command)


def _one(kind: str, entry: Entry, command: Command) -> WaitingCommand:
    documents = list(dict.fromkeys(document for document, _ in command.ops))
    first = documents[0] if documents else None
    return WaitingCommand(
        kind,
        command.id,
        command.name,
        command.actor,
        first.collection if first else "",
        command.scope,
        first.id if first else "",
        len(documents),
        bounds.cut(entry.code, bounds.MAX_CODE),
        bounds.cut(entry.reason, bounds.MAX_REASON),
        entry.at_ms,
    )


def _within(most: int, commands: Iterator[WaitingCommand]) -> Iterator[WaitingCommand]:
    for command in commands:
        most -= sum(len(part.encode()) for part in command if isinstance(part, str))
        if most < 0:
            return
        yield command
