"""The edge agent: a replica, its conversation with the cloud, and what an application asks of it.

    async with EdgeAgent(app, config) as edge:
        await edge.run("sell", store="s1", sku="tea", qty=1)

Every write is local first and answered when durable; every read says how fresh it is. One loop runs everything; the disk and the
network have threads of their own.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from driftlog_edge import keys, sessions
from driftlog_edge.command_log import Entry, Status
from driftlog_edge.committer import Committer
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import NotFound, Offline, TimedOut
from driftlog_edge.executor import Executed, Executor
from driftlog_edge.journal import Journal
from driftlog_edge.outbox import Outbox
from driftlog_edge.ports import Family
from driftlog_edge.puller import Pulled, Puller
from driftlog_edge.rocks import RocksStore
from driftlog_edge.shipper import Shipper
from driftlog_edge.sync import Sync
from driftlog_edge.views import Views
from driftlog_edge.watch import Change, Watchers
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import AppContract, CollectionContract, Declared, InvalidInput, Json
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key, scope_prefix
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec

Consistency: TypeAlias = Literal["eventual", "causal", "strong"]
Wait: TypeAlias = Literal["disk", "shipped", "merged"]

DEFAULT_TIMEOUT = 5.0
MAX_PAGE = 1000


class DocumentClass(Protocol):
    """A declared document class."""

    __driftlog__: CollectionContract


class SystemClock:
    """The device's clock."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command."""

    command_id: str
    status: str
    result: Json
    dots: tuple[tuple[str, str, int], ...]
    session: str
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document as this replica sees it, and how fresh that is. Ages in seconds; None before the first contact."""

    value: dict[str, Json]
    document: Any
    """The typed, read-only document of the app."""
    version: Mapping[str, int]
    pending: int
    synced_at: int | None
    age_seconds: float | None
    conflicts: tuple[str, ...]
    session: str


class EdgeAgent:
    """One device's replica."""

    def __init__(self, app: Declared | AppContract, config: EdgeConfig) -> None:
        self.contract = app if isinstance(app, AppContract) else app.contract
        self.config = config
        self._clock = SystemClock()
        self._progress = asyncio.Event()

    # -- life

    async def __aenter__(self) -> Self:
        config = self.config
        self.identity = Identity.load(config.identity)
        self._store = RocksStore(config.data_dir)
        self._ids = CachedRegistry(config.registry, config.data_dir.with_name(config.data_dir.name + ".schemas"))
        collections = {n: c for s in self.contract.spaces.values() for n, c in s.collections.items()}
        self._codecs = {name: StateCodec(c, self._ids) for name, c in collections.items()}
        self._records = RecordCodecs(self._ids)
        self._journal = Journal(self._store)
        self._committer = Committer(self._journal, self._store)
        self._views = Views(self.contract, self._codecs, self._journal)
        self._outbox = Outbox(self.contract, self.identity, BatchCodec(self._ids), self._journal, config.outbox_limit)
        self._executor = Executor(
            self.contract, self.identity.replica, self._views, self._outbox, self._journal, self._clock
        )
        puller = Puller(
            self.contract,
            config.scopes,
            self._codecs,
            self._records,
            self._views,
            self._outbox,
            self._journal,
            lambda: self._executor.hlc,
            self.identity.device_id,
        )
        self.watchers = Watchers(secrets.token_hex(4))
        self._sync = Sync(
            self.contract,
            config.scopes,
            config.bootstrap,
            self._journal,
            self._committer,
            Shipper(self._outbox, config.batches_in_flight),
            puller,
            self._clock,
            self._pulled,
            sync_before_send=config.durability != "disk",
        )
        await self._sync.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sync.close()
        await self._committer.drained()
        self._committer.close()
        self._store.close()

    async def offline(self) -> None:
        """Stay off the network until `online`."""
        await self._sync.force_offline(True)

    async def online(self) -> None:
        """Use the network again."""
        await self._sync.force_offline(False)

    # -- writes

    async def run(
        self,
        command: str,
        /,
        *,
        command_id: str = "",
        wait: Wait = "disk",
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
        **arguments: Any,
    ) -> Answer:
        """Run a declared command. Arguments named like an option of this method go through `run_with`."""
        return await self.run_with(
            command, arguments, command_id=command_id, wait=wait, seconds=seconds, session=session, actor=actor
        )

    async def run_with(
        self,
        command: str,
        arguments: Mapping[str, Any],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Run a declared command.

        Raises:
            InvalidInput, Refused, AlgebraError, OutboxFull, DiskFull: nothing has changed.
            TimedOut: not shipped or merged in time; the write stands and its status can be asked.
        """
        return await self._finish(self._executor.run(command, arguments, command_id, actor), wait, seconds, session)

    async def write(
        self,
        document: DocumentId,
        changes: Sequence[tuple[str, str, Sequence[Json]]],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Change one document without a declared command. Raises like `run_with`."""
        return await self._finish(self._executor.write(document, changes, command_id, actor), wait, seconds, session)

    async def _finish(self, executed: Executed, wait: Wait, seconds: float, session: str) -> Answer:
        if executed.writes is not None:
            await self._committer.commit(executed.writes, sync=self.config.durability == "disk")
            if executed.touched:
                for key in executed.touched:
                    self.watchers.changed(parse_document_key(key))
                self._sync.pump()
        else:
            await self._committer.drained()  # a repeated id is answered when the first one is durable, not before
        if wait != "disk":
            wanted = (
                (Status.SHIPPED, Status.MERGED, Status.REJECTED)
                if wait == "shipped"
                else (Status.MERGED, Status.REJECTED)
            )
            await self._until(
                lambda: self._reached(executed.command_id, wanted), seconds, f"{executed.command_id} to be {wait}"
            )
        return self.command(executed.command_id, session)

    def _reached(self, command_id: str, wanted: Sequence[Status]) -> bool:
        entry, status = self._status(command_id)
        if status not in wanted:
            return False
        # Merged for a caller means: the merged state is here too.
        return status is not Status.MERGED or not any(
            entry.lsn in self._views.pending(document.encode()) for document, _, _ in entry.dots
        )

    def _status(self, command_id: str) -> tuple[Entry, Status]:
        entry = self._executor.entry(command_id)
        if entry.status is Status.PENDING and not self._outbox.holds(entry.lsn, self._place(entry)) and self._sync.idle:
            return entry, Status.SHIPPED
        return entry, entry.status

    def _place(self, entry: Entry) -> tuple[str, int]:
        document = parse_document_key(entry.dots[0][0].encode())
        space = self.contract.collection(document.collection).space
        return space, partition_of(document.scope, self.contract.spaces[space].partitions)

    def command(self, command_id: str, session: str = "") -> Answer:
        """What became of a command. Raises `NotFound`."""
        entry, status = self._status(command_id)
        seen: dict[str, dict[str, int]] = {}
        for document, replica, seq in entry.dots:
            seen.setdefault(document, {})[replica] = seq
        token = sessions.extend(session, seen)
        return Answer(command_id, status.value, entry.result, entry.dots, token, entry.code, entry.reason)

    # -- reads

    async def read(
        self,
        kind: type[DocumentClass] | str,
        scope: str,
        id: str,
        *,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: float | None = None,
        seconds: float = DEFAULT_TIMEOUT,
    ) -> Reading:
        """One document.

        `eventual` answers from the replica at once; `causal` waits until it has all that the session has seen; `strong`
        waits until it has all that the cloud had merged when asked, own writes included. `max_age` in seconds.

        Raises:
            NotFound, Deleted, InvalidInput
            Offline: a strong read without the cloud, or data older than `max_age` and no way to newer.
            TimedOut: not in `seconds`.
        """
        document = DocumentId(self._collection(kind).name, scope, id)
        key = document_key(document)
        if consistency == "causal":
            wanted = sessions.parse(session).get(key.decode(), {})
            await self._until(lambda: self._has(document, wanted), seconds, "the session's writes to arrive")
        elif consistency == "strong":
            await self._barrier(document, seconds)
        if max_age is not None:
            await self._fresh(document, max_age, seconds)
        return self._reading(document, session)

    def page(
        self, kind: type[DocumentClass] | str, scope: str, limit: int = 100, after: str = ""
    ) -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`; deleted ones are passed over."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput("limit", f"is 1 to {MAX_PAGE}")
        name = self._collection(kind).name
        prefix = scope_prefix(name, scope)
        start = document_key(DocumentId(name, scope, after)) if after else b""
        result: list[tuple[str, Reading]] = []
        for key in self._keys(prefix, start):
            document = parse_document_key(key)
            view = self._views.get(document)
            if view.collection.document.exists(view.state):
                result.append((document.id, self._reading(document, "")))
                if len(result) == limit:
                    break
        return result

    def _keys(self, prefix: bytes, start: bytes) -> list[bytes]:
        found = {key for key, _ in self._journal.scan(Family.CONFIRMED, prefix, start)}
        for key, _ in self._journal.scan(Family.PENDING, prefix, start):
            document = key[: -keys.LSN_BYTES - 1]
            if document > start:
                found.add(document)
        return sorted(found)

    def _reading(self, document: DocumentId, session: str) -> Reading:
        value = self._executor.document_json(document)
        view = self._views.get(document)
        synced = self._synced_ms(document)
        return Reading(
            value=value,
            document=view.collection.view(document.scope, document.id, view.collection.document.copy(view.state)),
            version=dict(view.state.vector),
            pending=len(self._views.pending(view.key)),
            synced_at=synced,
            age_seconds=None if synced is None else max(0.0, (self._clock.wall_ms() - synced) / 1000),
            conflicts=tuple(c.id for c in self.conflicts() if c.document == document),
            session=sessions.extend(session, {view.key.decode(): dict(view.state.vector)}),
        )

    def _synced_ms(self, document: DocumentId) -> int | None:
        space = self.contract.spaces[self.contract.collection(document.collection).space]
        place = (topics.state_topic(space.name), partition_of(document.scope, space.partitions))
        return self._sync.synced_ms.get(place)

    def _has(self, document: DocumentId, wanted: Mapping[str, int]) -> bool:
        vector = self._views.get(document).state.vector
        return all(vector.get(replica, 0) >= seq for replica, seq in wanted.items())

    async def _barrier(self, document: DocumentId, seconds: float) -> None:
        space = self.contract.spaces[self.contract.collection(document.collection).space]
        partition = partition_of(document.scope, space.partitions)
        key = document_key(document)
        await self._until(lambda: not self._views.pending(key), seconds, "own writes to be merged", needs_cloud=True)
        there = await self._sync.caught_up(space.name, partition, seconds)
        await self._until(there, seconds, "the replica to catch up", needs_cloud=True)

    async def _fresh(self, document: DocumentId, max_age: float, seconds: float) -> None:
        def fresh() -> bool:
            synced = self._synced_ms(document)
            return synced is not None and self._clock.wall_ms() - synced <= max_age * 1000

        if not fresh():
            space = self.contract.spaces[self.contract.collection(document.collection).space]
            partition = partition_of(document.scope, space.partitions)
            there = await self._sync.caught_up(space.name, partition, seconds)
            await self._until(there, seconds, f"data younger than {max_age} s", needs_cloud=True)
            self._sync.synced_ms[topics.state_topic(space.name), partition] = self._clock.wall_ms()

    def watch(self, kind: type[DocumentClass] | str = "", scope: str = "", last_id: str = "") -> AsyncIterator[Change]:
        """Changes of a collection and scope (empty for all), from now or after the event `last_id`."""
        return self.watchers.watch(self._collection(kind).name if kind else "", scope, last_id)

    # -- conflicts

    def conflicts(self, *, everything: bool = False) -> list[Conflict]:
        """The conflicts of subscribed scopes that are not resolved, or all that are known."""
        found = (self._records.decode_conflict(v) for _, v in self._journal.scan(Family.CONFLICTS, b""))
        return [c for c in found if everything or c.status is not ConflictStatus.RESOLVED]

    def conflict(self, conflict_id: str) -> Conflict:
        """Raises `NotFound`."""
        raw = self._journal.get(Family.CONFLICTS, conflict_id.encode())
        if raw is None:
            raise NotFound(f"no conflict {conflict_id!r} is known here")
        return self._records.decode_conflict(raw)

    async def resolve(
        self, conflict_id: str, values: Mapping[str, Json] | None = None, *, command_id: str = "", actor: str = ""
    ) -> Answer:
        """Decide: write `values` (field -> value), or accept what stands. The write has seen both sides and ends the conflict."""
        conflict = self.conflict(conflict_id)
        if conflict.status is ConflictStatus.RESOLVED:
            raise InvalidInput("id", "this conflict is resolved already")
        chosen = {conflict.field: conflict.winner.value} if values is None else values
        if conflict.field not in chosen:
            raise InvalidInput(conflict.field, 'is what the conflict is about; give its value, or {"accept": true}')
        changes = [(field, "set", [value]) for field, value in chosen.items()]
        return await self.write(conflict.document, changes, command_id=command_id, actor=actor)

    # -- status

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        oldest = next(iter(self._journal.scan(Family.PENDING, b"")), None)
        return {
            "device_id": self.identity.device_id,
            "replica": self.identity.replica,
            "connection": self._sync.connectivity.state.value,
            "problem": self._sync.problem,
            "pending": self._pending_commands(),
            "oldest_pending_seconds": 0.0 if oldest is None else self._oldest_seconds(),
            "scopes": {scope: self._scope_status(scope) for scope in self.config.scopes},
            "disk_bytes": self._store.disk_bytes(),
            "clock_skew_ms": self._sync.skew_ms,
            "versions": {"agent": "0.1.0", "app": self.contract.name},
        }

    def _pending_commands(self) -> int:
        return len({keys.parse_lsn(key) for key, _ in self._journal.scan(Family.PENDING, b"")})

    def _oldest_seconds(self) -> float:
        lsn = min(keys.parse_lsn(key) for key, _ in self._journal.scan(Family.PENDING, b""))
        return max(0.0, (self._clock.wall_ms() - (self._views.command(lsn).hlc >> 16)) / 1000)

    def _scope_status(self, scope: str) -> dict[str, Any]:
        digest = 0
        synced: list[int | None] = []
        for space in self.contract.spaces.values():
            stored = self._journal.get(Family.META, keys.digest_key(space.name, scope))
            digest ^= int.from_bytes(stored or b"", "big")
            place = (topics.state_topic(space.name), partition_of(scope, space.partitions))
            synced.append(self._sync.synced_ms.get(place))
        known = [s for s in synced if s is not None]
        at = min(known) if len(known) == len(synced) else None
        age = None if at is None else max(0.0, (self._clock.wall_ms() - at) / 1000)
        return {"synced_at": at, "age_seconds": age, "digest": f"{digest:016x}"}

    # -- waiting

    def _pulled(self, pulled: Pulled) -> None:
        for document in pulled.changed:
            self.watchers.changed(document)
        self._moved()

    def _moved(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def _until(
        self, condition: Callable[[], bool], seconds: float, what: str, *, needs_cloud: bool = False
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if needs_cloud and self._sync.connectivity.forced:
                        raise Offline(f"waiting for {what} needs the cloud", "connect the device")
                    try:
                        async with asyncio.timeout(0.05):
                            await self._progress.wait()
                    except TimeoutError:
                        continue
        except TimeoutError as error:
            raise TimedOut(f"waited {seconds:g} s for {what}", "ask again later") from error

    def _collection(self, kind: type[DocumentClass] | str) -> CollectionContract:
        return self.contract.collection(kind if isinstance(kind, str) else kind.__driftlog__.name)
