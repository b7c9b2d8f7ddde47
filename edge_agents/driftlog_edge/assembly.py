"""Putting an agent together: which part is given which.

Nothing is decided here and nothing runs yet. What fails here has closed the store again, so that a start that did not succeed leaves the folder free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.asking.deferred import Deferred
from driftlog_edge.asking.executor import Executor
from driftlog_edge.asking.op_log import OpLog
from driftlog_edge.asking.overdue import Overdue
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.reader import Reader
from driftlog_edge.asking.rejections import Rejections
from driftlog_edge.asking.scope_change import ScopeChange
from driftlog_edge.asking.submission import Submission
from driftlog_edge.asking.waiting import Waiting
from driftlog_edge.config import EdgeConfig
from driftlog_edge.incoming import puller as pullers
from driftlog_edge.link.connectivity import Connection
from driftlog_edge.link.generation_route import GenerationRoute
from driftlog_edge.link.key_change import KeyChange
from driftlog_edge.link.refetch import Refetch
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.sync import Sync
from driftlog_edge.opening import OpenedFolder, open_folder
from driftlog_edge.outgoing.flow import Bucket, Flow
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.rebase import Rebase
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Clock, Route
from driftlog_edge.power.hook import Hook
from driftlog_edge.settings_change import SettingsChange, check_rhythms, rhythms
from driftlog_edge.store.budget import DiskBudget
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.eviction import Eviction
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.housekeeping import Housekeeping
from driftlog_edge.store.letting_go import LettingGo
from driftlog_edge.store.pruning import Pruning
from driftlog_edge.store.rotation import Rotation
from driftlog_edge.store.shown import Shown
from driftlog_edge.store.uses import Uses
from driftlog_edge.store.views import Views
from driftlog_edge.store.wrapping import WrappingKey, wrapping_keys
from driftlog_edge.vitals import Vitals
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.registry import CachedRegistry, SchemaIds
from driftlog_schemas.signing import Identity


@dataclass(eq=False)
class Assembly:
    """The parts of an agent, each made when the first one needs it. Two that need each other find each other when they run."""

    _folder: OpenedFolder
    _config: EdgeConfig
    _identity: Identity
    _route: Route
    _ids: SchemaIds
    _clock: Clock
    _progress: Progress
    _durable: Callable[[], None]
    _wiped: Callable[[], None]
    _follow: Callable[[], None]

    def __post_init__(self) -> None:
        folder = self._folder
        self.contract, self.store, self._journal = folder.contract, folder.store, folder.journal
        self.changes, self.holdings = folder.changes, folder.holdings
        self._keep_ms = int(self._config.keep_hours * 3_600_000)

    def complete(self) -> Self:
        """Make all that are not there yet, so that what can fail fails now."""
        for name, part in vars(type(self)).items():
            if isinstance(part, cached_property):
                getattr(self, name)
        return self

    # -- what is kept

    @cached_property
    def committer(self) -> Committer:
        return Committer(self._journal, self.store, self.changes)

    @cached_property
    def views(self) -> Views:
        return Views(self.contract, self._folder.codecs, self._journal, self._config.gathers)

    @cached_property
    def _uses(self) -> Uses:
        return Uses(self._journal, self.views.generations, self._clock)

    @cached_property
    def _eviction(self) -> Eviction:
        folder = self._folder
        return Eviction(
            self.contract,
            folder.codecs,
            folder.versions,
            self._journal,
            self._uses,
            lambda document: bool(self.conflicts.of(document)),
            self._clock,
        )

    @cached_property
    def budget(self) -> DiskBudget:
        return DiskBudget(
            self._config.disk_budget,
            self.store,
            self.committer,
            self._eviction,
            self._uses,
            self.views.forget,
            lambda: bool(self._journal.refusal or self.store.refusal),
        )

    @cached_property
    def _going_up(self) -> GoingUp:
        return GoingUp(self._clock, self._keep_ms)

    @cached_property
    def housekeeping(self) -> Housekeeping:
        pruning = Pruning(
            self._journal,
            self.views.backlog,
            lambda: self.executor.stamps.clock.now_ms(self._clock.wall_ms()),
            self._keep_ms,
        )
        letting_go = LettingGo(
            self._folder.codecs,
            self._journal,
            self._going_up,
            self._folder.lives,
            self._clock,
            self._config.gathers,
        )
        housekeeping = Housekeeping(
            pruning,
            letting_go,
            self.views,
            self.committer,
            self.store,
            self.vitals.look,
            lambda: not len(self.views.backlog),
        )
        if self._folder.emptied:
            housekeeping.give_back()
        return housekeeping

    @cached_property
    def rotation(self) -> Rotation:
        return Rotation(self.store, self._clock, self._config.encryption_key_days, partial(wrapping_keys, self._config))

    # -- what leaves

    @cached_property
    def _batches(self) -> BatchCodec:
        return BatchCodec(self._ids)

    @cached_property
    def _outbox(self) -> Outbox:
        config = self._config
        outbox = Outbox(
            self.contract,
            self._identity,
            self._batches,
            self._journal,
            self._folder.lives,
            config.outbox_limit,
            config.outbox_bytes,
        )
        outbox.set_rhythms(rhythms(config))
        return outbox

    @cached_property
    def _flow(self) -> Flow:
        return Flow(self._clock.monotonic, self._config.link.bytes_per_second)

    @cached_property
    def _shipper(self) -> Shipper:
        return Shipper(self._outbox, self._config.batches_in_flight, self._flow)

    @cached_property
    def _waiting(self) -> Waiting:
        return Waiting(
            self._outbox,
            self._journal,
            self._clock,
            lambda: self.sync.signal.state is Connection.ONLINE,
            lambda lsn: self._shipper.carries(lsn),  # noqa: PLW0108  # it may not be there yet
        )

    @cached_property
    def _renewal(self) -> Renewal:
        return Renewal(
            Rebase(self.contract, self.views, self._outbox, self._journal),
            self.views,
            self._outbox,
            self._shipper,
            self._journal,
            self._folder.records,
            self._batches,
            self._clock,
        )

    # -- what comes in

    @cached_property
    def _registry(self) -> RegistryLine:
        registry = RegistryLine(self._identity, self._folder.records, self._journal, self._clock, self.contract.spaces)
        registry.open(self.store)
        return registry

    @cached_property
    def _in_force(self) -> GenerationRoute:
        registry = self._registry
        return GenerationRoute(self._route, lambda: {space: said.read for space, said in registry.generations.items()})

    @cached_property
    def _incoming(self) -> Bucket:
        return Bucket(self._clock.monotonic, self._config.link.bytes_per_second)

    @cached_property
    def _puller(self) -> pullers.Puller:
        folder = self._folder
        puller = pullers.assembled(
            self.holdings,
            folder.codecs,
            folder.versions,
            folder.records,
            self.views,
            self._outbox,
            self._journal,
            self.executor.stamps,
            self._clock,
            self._identity.device_id,
            self._going_up,
            lambda: self.budget.limit > 0,
        )
        puller.on_staged(lambda pulled: self.conflicts.pulled(pulled.writes))
        return puller

    @cached_property
    def refetch(self) -> Refetch:
        return Refetch(
            self._in_force,
            self._journal,
            self.committer,
            self.views.generations,
            self._folder.versions,
            self._clock,
            self.sync.signal.require,
            self.views.forget,
        )

    # -- what is asked

    @cached_property
    def executor(self) -> Executor:
        return Executor(
            self.contract,
            self._folder.lives,
            self.views,
            self._outbox,
            self._journal,
            self._clock,
            self.holdings,
            lambda: self.sync.freshness,
            lambda: self._registry.publishes,
        )

    @cached_property
    def again(self) -> Again:
        return Again(self.executor, self.views, self._outbox, self._journal)

    @cached_property
    def deferred(self) -> Deferred:
        return Deferred(self.again, self._outbox, self._journal)

    @cached_property
    def rejections(self) -> Rejections:
        return Rejections(self._journal)

    @cached_property
    def conflicts(self) -> ConflictBook:
        return ConflictBook(self._journal, self._folder.records)

    @cached_property
    def log(self) -> OpLog:
        return OpLog(self.store, self.views.backlog, self._waiting)

    @cached_property
    def reader(self) -> Reader:
        return Reader(
            self.contract,
            self.holdings,
            self.store,
            Shown(self.contract, self._folder.codecs, self.store, self._journal, self.views),
            self.views.generations,
            self.conflicts,
            self.sync.freshness,
            self.sync.ends,
            self._progress,
            self.refetch.bring,
            lambda document: self._used((document,)),
        )

    @cached_property
    def submission(self) -> Submission:
        return Submission(
            self.store,
            self.committer,
            self._outbox,
            self._waiting,
            self._shipper,
            self._progress,
            self._durable,
            self.reader.catch_up,
            self.refetch.bring,
            lambda keys: self._used(parse_document_key(key) for key in keys),
            self._config.durability,
        )

    def _used(self, documents: Iterable[DocumentId]) -> None:
        if self.budget.limit:
            self._uses.note(documents)

    # -- what runs

    @cached_property
    def identities(self) -> KeyChange:
        return KeyChange(self._config.identity, self._identity, lambda: self._registry.device, self._sign_with)

    def _sign_with(self, identity: Identity) -> None:
        self._outbox.sign_with(identity)
        self._registry.sign_with(identity)

    @cached_property
    def vitals(self) -> Vitals:
        contract = self.contract
        return Vitals(
            contract,
            self._folder.lives,
            self.holdings,
            {**self._folder.releases, **({f"app {contract.name}": contract.version} if contract.version else {})},
            self.store,
            self.rotation,
            self._journal,
            self.views,
            self._outbox,
            self._waiting,
            self._flow,
            self.conflicts,
            self._clock,
            lambda: self.budget.facts() | {"fetches": self.refetch.fetched},
        )

    @cached_property
    def sync(self) -> Sync:
        return Sync(
            self.contract,
            self.holdings,
            self._in_force,
            self._ids,
            self._journal,
            self.committer,
            self._shipper,
            self._puller,
            self._clock,
            self._progress.moved,
            self._renewal,
            self.again,
            Overdue(self.again, self._outbox, self._journal),
            self._registry,
            self.identities,
            self._folder.versions,
            Hook(self._config.power, self._clock),
            self._incoming,
            self._heartbeat,
            self._wiped,
            self.budget.room,
            lambda document, seconds: self.refetch.bring(document, seconds),  # noqa: PLW0108  # it needs this one
            self._follow,
        )

    def _heartbeat(self) -> tuple[bytes, bytes]:
        beat = self._folder.records.encode_heartbeat(self.vitals.heartbeat(self.sync))
        return self._identity.device_id.encode(), beat

    @cached_property
    def scope_change(self) -> ScopeChange:
        return ScopeChange(self.holdings, self.committer, self.views, self.conflicts, self.sync, self.housekeeping)

    @cached_property
    def settings(self) -> SettingsChange:
        return SettingsChange(
            self.contract, self._config, self._outbox, self._flow, self._incoming, self.sync, self.budget
        )


def assemble(
    contract: AppContract,
    config: EdgeConfig,
    route: Route,
    ids: SchemaIds | None,
    clock: Clock,
    progress: Progress,
    durable: Callable[[], None],
    wiped: Callable[[], None],
    follow: Callable[[], None],
    wrapping: Sequence[WrappingKey],
) -> Assembly:
    """`follow` opens the folder anew, where a space goes on elsewhere.

    Raises `IdentityProblem`, `InvalidInput` for a setting of what the app does not declare, and as `open_folder` does.
    """
    check_rhythms(config, {name for space in contract.spaces.values() for name in space.collections})
    identity = Identity.load(config.identity)
    if ids is None:
        ids = CachedRegistry(
            config.registry, config.data_dir.with_name(config.data_dir.name + ".schemas"), lasting=True
        )
    folder = open_folder(contract, config, identity.device_id, ids, clock, wrapping)
    try:
        return Assembly(folder, config, identity, route, ids, clock, progress, durable, wiped, follow).complete()
    except BaseException:  # the folder must be free again, whatever it was
        folder.store.close()
        raise
