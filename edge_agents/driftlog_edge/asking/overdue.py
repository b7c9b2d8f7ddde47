"""What was written by a device that was away for longer than a collection allows: it goes to the review list, before anything of it is sent.

What changes such a collection waits for a person, whole. Other commands of those documents were computed on it, so they are taken back and run again
without it, with all that was computed on them in turn (`again`).

What the cloud has put off, and what waits since with something sealed behind it on the same document, goes as ever: the log may have that, and it is merged only
behind this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from driftlog_edge.asking.again import Again
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_schemas.identity import collection_prefix
from driftlog_schemas.messages import Command
from driftlog_schemas.spans import span

OFFLINE_TOO_LONG = "offline_too_long"
"""Code of a command that waits for a person because its device was away for too long."""
LOOKED_AT = 100
"""Commands that are looked at without letting others run."""


class Step(NamedTuple):
    """Some commands that leave the queue; stage `writes` before the next step is asked for."""

    writes: dict[Place, bytes | None]
    documents: set[bytes]
    """Those that readers see otherwise by it."""
    reviewed: int


class Overdue:
    """Looks for such commands in the queue of one replica."""

    def __init__(self, again: Again, outbox: Outbox, journal: Journal) -> None:
        self._again = again
        self._outbox = outbox
        self._journal = journal

    def steps(self, space: str, partition: int, limits: Mapping[str, float], seconds: float) -> Iterator[Step | None]:
        """What becomes of the commands of a partition whose device was away for so many seconds; `limits` are those that were passed, by collection.
        None: others may run."""

        def why(command: Command) -> tuple[str, str] | None:
            name = next((d.collection for d, _ in command.ops if d.collection in limits), None)
            if name is None:
                return None
            allowed, away = span(round(limits[name] * 1000)), span(round(seconds * 1000))
            return (
                OFFLINE_TOO_LONG,
                f"this device was away for {away}, and {name} allows {allowed}; apply it, or drop it",
            )

        staying: set[int] = set()
        for lsn in self._pending_on(limits):
            if lsn is None:
                yield None
                continue
            if lsn in staying or not self._outbox.queue.entries.holds(lsn, (space, partition)):
                continue  # sealed, of another partition, or gone with one before it
            command = logged(self._journal, lsn).command
            if why(command) is not None:
                writes = self._again.take_back(space, partition, changed_keys(command), why, staying)
                if not writes:
                    continue
                documents = {keys.document_of_pending(key) for family, key in writes if family is Family.PENDING}
                reviewed = sum(family is Family.META and key.startswith(keys.REVIEWS) for family, key in writes)
                yield Step(writes, documents, reviewed)

    def _pending_on(self, collections: Iterable[str]) -> Iterator[int | None]:
        """The commands that are pending on documents of these collections, found by the documents' keys: the rest of a long queue is not looked at. None:
        others may run."""
        for collection in collections:
            prefix, after = collection_prefix(collection), b""
            while some := list(islice(self._journal.scan(Family.PENDING, prefix, after), LOOKED_AT)):
                after = some[-1][0]
                yield from (keys.parse_lsn(key) for key, _ in some)
                yield None
