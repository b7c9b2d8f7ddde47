"""The other side in one process: topics as lists, a merge that does what it is told, and the route by which an agent reaches them.

It merges with the real algebra and writes real records; what it leaves out is what the workers' own tests are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import xor
from typing import Any

from driftlog_crdt import DocumentState, canonical
from driftlog_edge.ports import Chunk, Extent, Record, Sealed, Unreachable
from driftlog_schemas import groups, topics
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, decode_body
from driftlog_schemas.digests import document_digest
from driftlog_schemas.identity import DocumentId, device_of, document_key
from driftlog_schemas.messages import (
    Batch,
    ChainEntry,
    ChainRow,
    Command,
    CommandOutcome,
    Conflict,
    DocumentOp,
    Notice,
    RefusalNotice,
    Verdict,
)
from driftlog_schemas.moves import declared_name
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import verify
from driftlog_schemas.state_codec import codecs_of
from driftlog_schemas.support import VERSION_UNSUPPORTED, Floor, unmet, version_of
from tests.unit.edge.replica import COLLECTIONS, EPOCH_MS
from tests.unit.edge.shop import CONTRACT

Place = tuple[str, int]
DEFERRALS = frozenset({"undeclared", "quarantined", "expired", "parking_full"})


class Cloud:
    """Merges what it is sent. `rejects` maps a command id to the code with which it is rejected, or deferred."""

    def __init__(self, ids: SchemaIds) -> None:
        self._envelopes = BatchCodec(ids)
        self._codecs = codecs_of(COLLECTIONS, ids)
        self._records = RecordCodecs(ids)
        self.states: dict[DocumentId, DocumentState] = {}
        self.topics: dict[Place, list[Record]] = {}
        self.now_ms = EPOCH_MS
        """When it publishes."""
        self.rejects: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        """command id -> why it is rejected; without, the code says it"""
        self.forbids: set[str] = set()
        """ids of commands that are rejected because their device has no right there at all: nothing of them is seen"""
        self.parks: set[str] = set()
        """ids of commands that wait for something"""
        self.rows: dict[tuple[str, int], ChainRow] = {}
        self.batches: list[Batch] = []
        self.topic_ids: dict[str, str] = {}
        self.starts: dict[Place, int] = {}
        self.partitions: dict[str, int] = {}
        """topic -> how many it has, where that is not what the app declares"""
        self.tombstones_kept: float | None = None
        self.taken: dict[tuple[str, str], str] = {}
        """(root, command id) -> the life that brought it"""
        self.listeners: list[Callable[[], None]] = []
        self.floor: Floor | None = None
        """What it demands of the version of the app, as groups say; from then on by `now_ms`."""

    def merge(self, sealed: Sealed, public_key: bytes | None = None) -> ChainRow:
        """Take a batch if its chain can, publish its group of states and the chain's row."""
        signed = self._envelopes.open(sealed.value)
        assert public_key is None or verify(public_key, signed.signature, signed.body), "a signature that holds"
        batch, digest = decode_body(signed.body), batch_digest(signed.body)
        offset = self._logged(batch, sealed)
        row = self.rows.get((batch.replica, batch.partition))
        if row is not None and row.ended and batch.number > row.last:
            return self.publish_row(replace(row, notice=Notice(batch.number, digest[:8], offset, row.ended, "")))
        if row is not None and (batch.number != row.last + 1 or batch.prev != row.head):
            known = {entry.number: entry.digest for entry in row.entries}.get(batch.number)
            if known != digest[:8]:
                code = "early" if batch.number > row.last + 1 else "forked"
                row = replace(row, notice=Notice(batch.number, digest[:8], offset, code, ""))
            return self.publish_row(row)
        self.batches.append(batch)
        for life in batch.ends:
            self._end(life, batch, offset)
        missed = None if self.floor is None else unmet(version_of(batch.app_version), (self.floor,))
        if missed is not None and missed.from_ms <= self.now_ms:
            outcomes = tuple(
                CommandOutcome(command.id, Verdict.DEFERRED, VERSION_UNSUPPORTED) for command in batch.commands
            )
        else:
            outcomes = self._outcomes(batch, offset)
        kept = () if row is None else row.entries
        entries = (*kept, ChainEntry(batch.number, digest[:8], offset, outcomes))
        return self.publish_row(
            ChainRow(
                device_of(batch.replica),
                batch.replica,
                batch.space,
                batch.partition,
                batch.number,
                digest,
                entries[0].number,
                entries,
                offset=offset,
                oldest_supported="" if missed is None else missed.version,
                support_ends_ms=0 if missed is None else missed.from_ms,
            )
        )

    def _end(self, life: str, batch: Batch, offset: int) -> None:
        device = device_of(life)
        row = self.rows.get((life, batch.partition))
        row = row or ChainRow(device, life, batch.space, batch.partition, 0, b"", 1, ())
        if not row.ended:
            entries = row.entries
            if self.forbids:  # what waits for a change that was refused waits in vain
                entries = tuple(replace(entry, outcomes=tuple(map(_given_back, entry.outcomes))) for entry in entries)
            self.publish_row(replace(row, entries=entries, ended="ended", ended_at=offset))

    def _logged(self, batch: Batch, sealed: Sealed) -> int:
        """Its offset in the op topic."""
        log = self.topics.setdefault((sealed.topic, sealed.partition), [])
        log.append(Record(len(log), sealed.key, sealed.value, (), EPOCH_MS))
        return len(log) - 1

    def _outcomes(self, batch: Batch, offset: int) -> tuple[CommandOutcome, ...]:
        touched: dict[DocumentId, None] = {}
        outcomes = []
        for command in batch.commands:
            code = self.rejects.get(command.id, "")
            if command.id in self.forbids:
                outcomes.append(CommandOutcome(command.id, Verdict.REJECTED, "forbidden", "no right"))
                continue
            if command.id in self.parks or (self.forbids and self._behind_a_gap(command)):
                outcomes.append(CommandOutcome(command.id, Verdict.PARKED, "gap", "waits"))
                continue
            if code in DEFERRALS:
                outcomes.append(CommandOutcome(command.id, Verdict.DEFERRED, code))
                continue
            first = self.taken.setdefault((command.root, command.id), batch.replica) if command.root else batch.replica
            repeated = first != batch.replica
            for op in command.ops:
                self._apply(op, rejected=bool(code) or repeated)
            touched.update(dict.fromkeys(op.document for op in command.ops))
            if code:
                outcomes.append(
                    CommandOutcome(
                        command.id, Verdict.REJECTED, code, self.reasons.get(command.id, f"{code} says the guard")
                    )
                )
            elif repeated:
                outcomes.append(CommandOutcome(command.id, Verdict.ACCEPTED, "repeated"))
        if touched:
            self.publish_group(batch.space, batch.partition, touched, number=offset)
        return tuple(outcomes)

    def _behind_a_gap(self, command: Command) -> bool:
        """Is a change before it, or one that its writer had seen, not here?"""
        vectors: dict[DocumentId, dict[str, int]] = {}
        for document, op in command.ops:
            state = self.states.get(document)
            vector = vectors.setdefault(document, {} if state is None else dict(state.vector))
            missing = [name for name, seq in (op.context or {}).items() if vector.get(name, 0) < seq]
            if op.before > vector.get(op.replica, 0) or [name for name in missing if name != op.replica]:
                return True
            vector[op.replica] = op.seq
        return False

    def release(self, replica: str, command: Command, outcome: CommandOutcome) -> ChainRow:
        """A parked command has come to its end."""
        (row,) = [row for row in self.rows.values() if row.replica == replica]
        at = self._elsewhere(row.space, row.partition)
        if outcome.verdict is not Verdict.DEFERRED:
            for op in command.ops:
                self._apply(op, rejected=outcome.verdict is Verdict.REJECTED)
            documents = dict.fromkeys(op.document for op in command.ops)
            self.publish_group(row.space, row.partition, documents, number=at)
        told = () if outcome.verdict is Verdict.ACCEPTED else (outcome,)
        entries = tuple(
            replace(
                entry, outcomes=tuple(o for o in entry.outcomes if o.command_id != command.id) + told, decided_at=at
            )
            if any(o.command_id == command.id for o in entry.outcomes)
            else entry
            for entry in row.entries
        )
        return self.publish_row(replace(row, entries=entries))

    def _apply(self, change: DocumentOp, *, rejected: bool) -> bool:
        rules = COLLECTIONS[change.document.collection].document
        state = self.states.setdefault(change.document, rules.new())
        if rejected and state.vector.get(change.op.replica, 0) == change.op.before:
            rules.see(state, change.op)
            return True
        return rules.apply(state, change.op).outcome.value == "applied"

    def write(self, document: DocumentId, field: str, kind: str, value: Any, replica: str = "office.1") -> None:
        """Somebody else has written; published as a group of its own."""
        rules = COLLECTIONS[document.collection].document
        state = self.states.setdefault(document, rules.new())
        rules.apply(state, rules.prepare(state, replica, EPOCH_MS << 16, field, kind, value))
        self.say_again(document)

    def say_again(self, document: DocumentId) -> None:
        """What is known of a document, once more."""
        space = COLLECTIONS[document.collection].space
        partition = partition_of_space(space, document.scope)
        self.publish_group(space, partition, [document], number=self._elsewhere(space, partition))

    def purge(self, document: DocumentId, headers: Sequence[tuple[str, bytes]] | None = None) -> Record:
        """The document's record becomes null; in a worker's group unless other headers are given."""
        space = COLLECTIONS[document.collection].space
        partition = partition_of_space(space, document.scope)
        self.states.pop(document)
        headers = groups.headers(self._elsewhere(space, partition), last=True) if headers is None else headers
        return self.publish(topics.state_topic(space), partition, document_key(document), None, headers)

    def _elsewhere(self, space: str, partition: int) -> int:
        """The offset of a record of somebody else in the op topic, of no concern here but that a group is numbered by it."""
        log = self.topics.setdefault((topics.ops_topic(space), partition), [])
        log.append(Record(len(log), b"office", b"", (), EPOCH_MS))
        return len(log) - 1

    def publish_group(self, space: str, partition: int, documents: Iterable[DocumentId], number: int) -> list[Record]:
        """The states of these documents, as one group."""
        documents = list(documents)
        last = {document.scope: document for document in documents}
        return [
            self.publish(
                topics.state_topic(space),
                partition,
                document_key(document),
                self.state_value(document),
                [
                    *groups.headers(number, last=document is documents[-1]),
                    *([groups.digest(self.digest(space, document.scope))] if last[document.scope] is document else []),
                    *(groups.support((self.floor,)) if self.floor and document is documents[-1] else []),
                ],
            )
            for document in documents
        ]

    def digest(self, space: str, scope: str) -> int:
        """Of a scope as it is now."""
        return reduce(
            xor,
            (
                document_digest(document_key(d), canonical(dict(state.vector)).encode())
                for d, state in self.states.items()
                if d.scope == scope
                and COLLECTIONS[d.collection].space == declared_name(space)
                and COLLECTIONS[d.collection].direction != "up"
                and COLLECTIONS[d.collection].document.exists(state)
            ),
            0,
        )

    def state_value(self, document: DocumentId) -> bytes:
        return self._codecs[document.collection].encode(document, self.states[document])

    def publish_row(self, row: ChainRow) -> ChainRow:
        self.rows[row.replica, row.partition] = row
        value = self._records.encode_chain_row(row)
        self.publish(topics.receipts_topic(row.space), row.partition, row.replica.encode(), value)
        return row

    def publish_refusal(self, space: str, partition: int, notice: RefusalNotice) -> Record:
        value = self._records.encode_refusal_notice(notice)
        return self.publish(topics.receipts_topic(space), partition, notice.device_id.encode(), value)

    def publish_conflict(self, conflict: Conflict, space: str = "retail") -> Record:
        place = partition_of_space(space, conflict.document.scope)
        value = self._records.encode_conflict(conflict)
        return self.publish(topics.conflicts_topic(space), place, conflict.id.encode(), value)

    def publish(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | Sequence[tuple[str, bytes]] = (),
    ) -> Record:
        """Append a record."""
        log = self.topics.setdefault((topic, partition), [])
        record = Record(len(log), key, value, tuple(headers), self.now_ms)
        log.append(record)
        for grown in self.listeners:
            grown()
        return record

    def of(self, topic: str, partition: int) -> list[Record]:
        return self.topics.get((topic, partition), [])

    def everywhere(self, topic: str) -> list[Record]:
        return [record for (name, _), records in self.topics.items() if name == topic for record in records]


def _given_back(outcome: CommandOutcome) -> CommandOutcome:
    """A parked command of a life that sends nothing any more."""
    parked = outcome.verdict is Verdict.PARKED
    return outcome._replace(verdict=Verdict.DEFERRED, code="life_over") if parked else outcome


def partition_of_space(space: str, scope: str) -> int:
    from driftlog_schemas.partitioning import partition_of

    return partition_of(scope, CONTRACT.spaces[space].partitions)


class CloudRoute:
    """`ports.Route` to a `Cloud` in this process. `up` is the link; `merging` says whether the cloud works off what it gets."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.up = True
        self.merging = True
        self.sent: list[Sealed] = []
        self.told: list[tuple[str, bytes, bytes]] = []
        self.connections = 0
        self.looked_up: list[dict[bytes, int]] = []
        """Which records were read again, and from where."""
        self.answering = True
        """Does the broker say what it has?"""
        self.asked_counts = 0
        self.asked = 0
        self.looked = 0
        """How often the ends were asked for, and how often a feed has delivered."""
        self._feeds: list[_CloudFeed] = []
        self._kept: list[tuple[_CloudShipping, Sealed]] = []
        """What clients were given while there was no link: each tries on until it is closed."""
        cloud.listeners.append(self.wake)

    def ship(
        self,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> _CloudShipping:
        self.connections += 1
        return _CloudShipping(self, loop, delivered, trouble)

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[Place, int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> _CloudFeed:
        feed = _CloudFeed(self, loop, positions, arrived)
        self._feeds.append(feed)
        return feed

    def ask(self) -> _CloudAsker:
        return _CloudAsker(self)

    def rest(self) -> None:
        """Nothing asks here by itself."""

    def deliver(self, topic: str, key: bytes, value: bytes, seconds: float) -> None:
        if not self.up:
            raise Unreachable("the broker does not answer")
        self.told.append((topic, key, value))

    def records(
        self, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
    ) -> dict[bytes, Record]:
        """As a broker that has compacted its topic: of each key it has the newest record only."""
        if not self.up:
            raise Unreachable("the broker does not answer")
        self.looked_up.append(dict(wanted))
        newest = {record.key: record for record in self.cloud.of(topic, partition)}
        return {key: newest[key] for key in wanted if key in newest and newest[key].offset < end}

    def history(self, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float) -> list[bytes]:
        return [r.value for r in self.cloud.of(topic, partition)[start:end] if r.key == key and r.value is not None]

    def cut(self) -> None:
        """The link is gone."""
        self.up = False

    def mend(self) -> None:
        """The link is back; what the log did not get is merged now."""
        self.up = True
        kept, self._kept = self._kept, []
        for shipping, batch in kept:
            shipping.send(batch)
        self.wake()

    def work_off(self) -> None:
        """The cloud merges what it has not."""
        self.merging = True
        for batch in self.sent:
            self.cloud.merge(batch)

    def wake(self) -> None:
        """There may be something to read."""
        for feed in self._feeds:
            feed.wake()


class _CloudShipping:
    def __init__(
        self,
        route: CloudRoute,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> None:
        self._route = route
        self._loop = loop
        self._delivered = delivered
        self._trouble = trouble
        self._closed = False

    def send(self, batch: Sealed) -> None:
        route = self._route
        if self._closed:
            return
        if not route.up:
            self._loop.call_soon(self._trouble)  # like a client without end: it keeps the batch and tries on
            route._kept.append((self, batch))
            return
        route.sent.append(batch)
        if route.merging:
            route.cloud.merge(batch)
        self._loop.call_soon(self._delivered, batch, None)

    def tell(self, topic: str, key: bytes, value: bytes, done: Callable[[], None]) -> None:
        self._route.told.append((topic, key, value))
        self._loop.call_soon(done)

    def close(self, seconds: float = 0.0) -> None:
        self._closed = True


class _CloudAsker:
    def __init__(self, route: CloudRoute) -> None:
        self._route = route

    async def ends(self, places: Sequence[Place], seconds: float) -> dict[Place, int]:
        if not self._route.up:
            raise Unreachable("the broker does not answer")
        self._route.asked += 1
        return {place: len(self._route.cloud.of(*place)) for place in places}

    async def extents(self, places: Sequence[Place], seconds: float) -> dict[Place, Extent]:
        ends = await self.ends(places, seconds)
        cloud = self._route.cloud
        return {
            place: Extent(cloud.topic_ids.get(place[0], "first"), cloud.starts.get(place, 0), ends[place])
            for place in places
        }

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        self._route.asked_counts += 1
        if not (self._route.up and self._route.answering):
            raise Unreachable("the broker does not answer")
        found, declared = self._route.cloud.partitions, {name: one.partitions for name, one in CONTRACT.spaces.items()}
        return {name: found.get(name) or declared[name.partition(".")[0]] for name in names}

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        return self._route.cloud.tombstones_kept


class _CloudFeed:
    def __init__(
        self,
        route: CloudRoute,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[Place, int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
    ) -> None:
        self._route = route
        self._loop = loop
        self._positions = dict(positions)
        self._arrived = arrived
        self._news = asyncio.Event()
        self._news.set()
        self._task = loop.create_task(self._run())

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._news.set)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if not self._route.up:
                continue
            chunks = []
            for (topic, partition), at in self._positions.items():
                records = self._route.cloud.of(topic, partition)[at:]
                self._positions[topic, partition] = at + len(records)
                chunks.append(Chunk(topic, partition, records, at_end=True))
            await self._arrived(chunks)
            self._route.looked += 1

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
