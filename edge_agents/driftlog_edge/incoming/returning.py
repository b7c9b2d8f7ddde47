"""The way back in: a partition is read again from its start, beside what readers have, and takes its place in one write.

A cursor leads on only where the log still has what follows it, and tells it. It does not where the topic was made anew (the broker gives it another
id), where it ends before the cursor, where its start has passed the cursor, and where the replica was away for longer than tombstones are kept:
then what was deleted meanwhile is not told any more. So the partition's states are read into a fresh generation of its rows
(`store/generations`), each step with its own cursor in the same write, so that a restart goes on where it was. Readers have the old generation, with
an age that grows. At the topic's end one small write makes the fresh generation the one that is read, with its cursor: what it lacks
is gone, what is pending here lies on top of it, and the old rows are removed a few at a time (`tidy`).

A topic that was made anew may have been filled from an older copy, without dots that this folder has made. They must not be used again, so the
partition's life ends with the change, and another begins (`outgoing/renewal`).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import structlog

from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.states import States, behind
from driftlog_edge.ports import Extent, Family, Place, Record
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import NOTHING_READ, Cursor, cursor_of, moved
from driftlog_edge.store.digests import ScopeDigest
from driftlog_edge.store.generations import Return, begun, coming, return_of, serve, serving, written
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import MADE_ANEW, Lives
from driftlog_edge.store.pending import Fate, marks_of
from driftlog_schemas import topics
from driftlog_schemas.identity import parse_document_key

log = structlog.get_logger()

AT_ONCE = 2_000
"""Rows, or pending entries, that one write of `tidy` looks at."""
AT_ONE_TURN = 100
"""Documents with pending entries that are looked at without letting others run."""


def ends_before(cursor: Cursor, extent: Extent, asked_at: int) -> bool:
    """Does the topic end before what was read of it when its extent was asked for? What was read since may lie behind an end that is old by now."""
    return extent.end < min(cursor.offset, asked_at)


def broken(cursor: Cursor, extent: Extent, asked_at: int) -> str:
    """Why a cursor leads nowhere in what the broker has; empty where it leads on. `asked_at` is its offset when the broker was asked."""
    if cursor.topic_id and cursor.topic_id != extent.topic_id:
        return "the topic was made anew"
    if ends_before(cursor, extent, asked_at):
        return f"the topic ends at {extent.end}, before what was read of it"
    if 0 < cursor.offset < extent.start:
        return f"the topic begins at {extent.start}, after what was read of it"
    return ""


class Returns:
    """The partitions of one replica that are read again."""

    def __init__(self, states: States, journal: Journal, lives: Lives) -> None:
        self._states = states
        self._journal = journal
        self._lives = lives

    def of(self, space: str, partition: int) -> Return | None:
        """The return of a partition, if one is under way."""
        return return_of(self._journal, space, partition)

    def generation(self, space: str, partition: int) -> int:
        """Into which rows the partition is to be read now."""
        return coming(self._journal, space, partition)

    def all(self) -> dict[tuple[str, int], Return]:
        """Every return that is under way, by (space, partition)."""
        found = self._journal.scan(Family.META, keys.RETURNS)
        return {keys.parse_place(key, keys.RETURNS): Return.decode(raw) for key, raw in found}

    def cursor(self, space: str, partition: int) -> Cursor:
        """From where the partition's states are to be read."""
        under_way = self.of(space, partition)
        return under_way.cursor if under_way else cursor_of(self._journal, topics.state_topic(space), partition)

    def begin(
        self, space: str, partition: int, topic_id: str, why: str, wall_ms: int, *, anew: bool
    ) -> dict[Place, bytes | None]:
        """The write with which a partition begins to be read again; one that was under way is given up."""
        log.warning("a partition is read again from its start", space=space, partition=partition, why=why)
        return begun(self._journal, space, partition, topic_id, why, wall_ms, anew=anew)

    def step(
        self, space: str, partition: int, under_way: Return, records: Sequence[Record], wall_ms: int, *, at_end: bool
    ) -> Generator[None, None, Pulled]:
        """What these records bring to the fresh generation; at the topic's end it takes the old one's place."""
        topic = topics.state_topic(space)
        pulled = yield from self._states.read(space, topic, partition, records, under_way.generation)
        cursor = behind(under_way.cursor, records, wall_ms) if records else under_way.cursor
        writes = pulled.writes
        if not at_end:
            further = under_way._replace(cursor=cursor, records=under_way.records + len(records))
            writes.update(written(space, partition, further))
            return pulled
        writes.update(written(space, partition, None))
        writes.update(serve(space, partition, under_way.generation))
        writes.update(moved(topic, partition, cursor))
        chain = self._lives.chain(space, partition)
        if under_way.anew and not chain.fork and self._journal.get(Family.META, keys.chain_key(space, partition)):
            writes.update(self._lives.written(space, partition, replace(chain, fork=MADE_ANEW, offset=-1)))
            pulled = pulled._replace(forked=((space, partition),))
        log.info(
            "a partition was read again", space=space, partition=partition, records=under_way.records + len(records)
        )
        return pulled._replace(anew=True)

    def log_made_anew(self, space: str, partition: int) -> dict[Place, bytes | None]:
        """The op topic counts anew: what was said in its old numbers says nothing any more."""
        topic = topics.state_topic(space)
        chain = self._lives.chain(space, partition)
        writes = moved(topic, partition, cursor_of(self._journal, topic, partition)._replace(group=NOTHING_READ))
        if self._journal.get(Family.META, keys.chain_key(space, partition)) is not None:
            writes.update(self._lives.written(space, partition, replace(chain, offset=-1)))
        for key, raw in self._journal.scan(Family.META, keys.digest_prefix(space, partition)):
            writes[Family.META, key] = ScopeDigest.decode(raw)._replace(number=-1, told=None).encode()
        return writes

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says of them."""
        return {
            f"{space}/{partition}": {"why": found.why, "since": found.since_ms, "records": found.records}
            for (space, partition), found in self.all().items()
        }

    # -- afterwards

    def tidy(self) -> Iterator[Pulled | None]:
        """What is left to do after changes of generation, a few rows at a time; stage each before the next is asked for. None: others may run.

        It follows from what the store holds, so it can be begun again at any time. A step may have nothing to write: then, too, others have their turn.
        """
        places = [
            keys.parse_place(key, keys.GENERATIONS) for key, _ in self._journal.scan(Family.META, keys.GENERATIONS)
        ]
        if places:
            yield from self._settle(frozenset(places))
        for space, partition in places:
            yield from self._remove(space, partition)
            yield from (Pulled(writes) for writes in self._states.only_up.forgotten(space, partition))

    def _settle(self, places: Collection[tuple[str, int]]) -> Iterator[Pulled | None]:
        """Pending entries that the new rows of these partitions cover go, and those that were decided before the change and are not in them."""
        after = b""
        while entries := list(islice(self._journal.scan_keys(Family.PENDING, b"", after), AT_ONCE)):
            after = entries[-1]
            documents = dict.fromkeys(map(keys.document_of_pending, entries))
            writes: dict[Place, bytes | None] = {}
            dropped: dict[int, None] = {}
            for number, key in enumerate(documents, 1):
                if number % AT_ONE_TURN == 0:
                    yield None
                place = self._states.place(key)
                vector = self._states.vector(key, *place) if place is not None and place in places else None
                if place is not None and vector is not None:
                    group = cursor_of(self._journal, topics.state_topic(place[0]), place[1]).group
                    writer = self._lives.writing(*place)
                    yield from self._states.coverage.drop_covered(key, vector, group, writer, writes, dropped)
                    self._drop_gone(key, serving(self._journal, *place), writes, dropped)
            changed = tuple(parse_document_key(key) for key in documents) if writes else ()
            yield Pulled(writes, changed, dropped=tuple(dropped))

    def _drop_gone(self, key: bytes, now: int, writes: dict[Place, bytes | None], dropped: dict[int, None]) -> None:
        """What was decided for an older generation would be in this one if it were anywhere."""
        for mark in marks_of(self._journal, key):
            place = (Family.PENDING, keys.pending_key(key, mark.lsn))
            if mark.fate is not Fate.UNKNOWN and mark.generation < now and place not in writes:
                writes[place] = None
                if not self._states.coverage.elsewhere(key, mark.lsn, writes):
                    dropped[mark.lsn] = None

    def _remove(self, space: str, partition: int) -> Iterator[Pulled]:
        """The rows of generations that nobody reads and nobody fills."""
        for family, kind in ((Family.CONFIRMED, b""), (Family.UNREAD, b""), (Family.META, keys.EVICTED)):
            for generation in self._generations(family, kind, space, partition):
                in_use = serving(self._journal, space, partition), coming(self._journal, space, partition)
                if generation in in_use:
                    continue
                rows = keys.confirmed_prefix(space, partition, generation)
                places = [
                    (family, kind + rows),
                    (Family.META, keys.trace_key(rows)),
                    (Family.META, keys.digest_prefix(space, partition, generation)),
                ]
                for place, prefix in places:
                    while gone := [(place, key) for key, _ in islice(self._journal.scan(place, prefix), AT_ONCE)]:
                        yield Pulled(dict.fromkeys(gone))

    def _generations(self, family: Family, kind: bytes, space: str, partition: int) -> list[int]:
        """Which there are rows of, under keys that begin with `kind`; each is found by one look, not by a walk over its rows."""
        found: list[int] = []
        prefix, after = kind + keys.confirmed_prefix(space, partition), b""
        while (key := next((k for k, _ in self._journal.scan(family, prefix, after)), None)) is not None:
            found.append(keys.parse_confirmed(key[len(kind) :])[2])
            after = kind + keys.confirmed_end(space, partition, found[-1])
        return found
