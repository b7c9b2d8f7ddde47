"""Putting an agent together: which part is given which, in the order in which they need each other.

Nothing is decided here and nothing runs yet. What opens can fail only before the store is open or after it was closed again, so that
a start that did not succeed leaves the folder free.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version

import structlog

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
from driftlog_edge.errors import UNWRITABLE
from driftlog_edge.incoming import puller as pullers
from driftlog_edge.incoming import unread
from driftlog_edge.link.connectivity import Connection
from driftlog_edge.link.generation_route import GenerationRoute
from driftlog_edge.link.key_change import KeyChange
from driftlog_edge.link.refetch import Refetch
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.sync import Sync
from driftlog_edge.outgoing.flow import Bucket, Flow
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.rebase import Rebase
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Clock, Route, Store
from driftlog_edge.power.hook import Hook
from driftlog_edge.settings_change import SettingsChange, check_rhythms, rhythms
from driftlog_edge.store import gathering
from driftlog_edge.store.budget import DiskBudget
from driftlog_edge.store.carrying import carry
from driftlog_edge.store.changes import ANEW, ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.counts import settle
from driftlog_edge.store.eviction import Eviction
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.holdings import Holdings
from driftlog_edge.store.housekeeping import Housekeeping
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.letting_go import LettingGo
from driftlog_edge.store.lives import Lives, ensure_life
from driftlog_edge.store.pruning import Pruning
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.rotation import Rotation
from driftlog_edge.store.shown import Shown
from driftlog_edge.store.sizes import sizes_of
from driftlog_edge.store.uses import Uses
from driftlog_edge.store.views import Views
from driftlog_edge.store.wrapping import WrappingKey, wrapping_keys
from driftlog_edge.vitals import Vitals
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import DocumentId, parse_document_key
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry, SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec, codecs_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that the agent speaks to."""

    contract: AppContract
    """Of the app, with its spaces as the folder has them."""
    identities: KeyChange
    store: RocksStore
    committer: Committer
    changes: ChangeLog
    views: Views
    executor: Executor
    again: Again
    deferred: Deferred
    rejections: Rejections
    submission: Submission
    conflicts: ConflictBook
    log: OpLog
    sync: Sync
    holdings: Holdings
    scope_change: ScopeChange
    housekeeping: Housekeeping
    rotation: Rotation
    reader: Reader
    vitals: Vitals
    settings: SettingsChange
    budget: DiskBudget
    refetch: Refetch


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
) -> Parts:
    """`follow` opens the folder anew, where a space goes on elsewhere.

    Raises `IdentityProblem`, `StoreBusy`, `StoreFailed`, `KeyUnusable`, `OtherPartitions`, `InvalidInput` for a setting of what the app does not declare;
    `DiskFull`, `StoreDamaged` where the folder lies half here and half there (`store/carrying`).
    """
    check_rhythms(config, {name for space in contract.spaces.values() for name in space.collections})
    identity = Identity.load(config.identity)
    if ids is None:
        ids = CachedRegistry(
            config.registry, config.data_dir.with_name(config.data_dir.name + ".schemas"), lasting=True
        )
    store = _store(config, wrapping)
    try:
        return _assembled(contract, config, route, ids, clock, progress, durable, wiped, follow, identity, store)
    except BaseException:  # the folder must be free again, whatever it was
        store.close()
        raise


def carried(contract: AppContract, config: EdgeConfig, clock: Clock, wrapping: Sequence[WrappingKey]) -> None:
    """Carry what the folder has of spaces that have moved, before it is opened for more. Blocking. Raises as `assemble` does."""
    store = _store(config, wrapping)
    try:
        carry(store, contract, clock.wall_ms())
    finally:
        store.close()


def _store(config: EdgeConfig, wrapping: Sequence[WrappingKey]) -> RocksStore:
    sizes = sizes_of(config.disk_budget, config.memory.write_buffers, config.memory.block_cache)
    return RocksStore(config.data_dir, wrapping, sizes)


def _assembled(
    declared: AppContract,
    config: EdgeConfig,
    route: Route,
    ids: SchemaIds,
    clock: Clock,
    progress: Progress,
    durable: Callable[[], None],
    wiped: Callable[[], None],
    follow: Callable[[], None],
    identity: Identity,
    store: RocksStore,
) -> Parts:
    contract = carry(store, declared, clock.wall_ms())
    codecs = codecs_of({n: c for s in contract.spaces.values() for n, c in s.collections.items()}, ids)
    records, versions = RecordCodecs(ids), Versions(ids)
    settle(store, contract)
    ensure_life(store, identity.device_id, clock.wall_ms())
    journal = Journal(store)
    holdings = Holdings(contract, config.scopes, journal, records)
    releases = {
        "agent": _version(),
        "app": contract.name,
        **{f"space {n}": s.release for n, s in declared.spaces.items()},
    }
    changes = _changes(store, json.dumps(releases).encode(), holdings)
    removed = holdings.open(store)
    _gather(store, contract, config.gathers, clock.wall_ms())
    lives = Lives(journal)
    batches = BatchCodec(ids)
    committer = Committer(journal, store, changes)
    views = Views(contract, codecs, journal, config.gathers)
    outbox = Outbox(contract, identity, batches, journal, lives, config.outbox_limit, config.outbox_bytes)
    outbox.set_rhythms(rhythms(config))
    waiting = Waiting(
        outbox,
        journal,
        clock,
        lambda: sync.signal.state is Connection.ONLINE,
        lambda lsn: shipper.carries(lsn),  # noqa: PLW0108  # it is made below
    )
    uses = Uses(journal, views.generations, clock)
    registry = RegistryLine(identity, records, journal, clock, contract.spaces)
    registry.open(store)
    in_force = GenerationRoute(route, lambda: {space: said.read for space, said in registry.generations.items()})
    executor = Executor(
        contract,
        lives,
        views,
        outbox,
        journal,
        clock,
        holdings,
        lambda: sync.freshness,
        lambda: registry.publishes,
    )
    _read_again(store, codecs, versions, changes)
    keep_ms = int(config.keep_hours * 3_600_000)
    going_up = GoingUp(clock, keep_ms)
    puller = pullers.assembled(
        holdings,
        codecs,
        versions,
        records,
        views,
        outbox,
        journal,
        executor.stamps,
        clock,
        identity.device_id,
        going_up,
        lambda: budget.limit > 0,
    )
    flow = Flow(clock.monotonic, config.link.bytes_per_second)
    incoming = Bucket(clock.monotonic, config.link.bytes_per_second)
    shipper = Shipper(outbox, config.batches_in_flight, flow)
    again = Again(executor, views, outbox, journal)
    conflicts = ConflictBook(journal, records)
    puller.on_staged(lambda pulled: conflicts.pulled(pulled.writes))
    eviction = Eviction(contract, codecs, versions, journal, uses, lambda document: bool(conflicts.of(document)), clock)
    budget = DiskBudget(
        config.disk_budget,
        store,
        committer,
        eviction,
        uses,
        views.forget,
        lambda: bool(journal.refusal or store.refusal),
    )

    def used(documents: Iterable[DocumentId]) -> None:
        if budget.limit:
            uses.note(documents)

    def sign_with(identity: Identity) -> None:
        outbox.sign_with(identity)
        registry.sign_with(identity)

    identities = KeyChange(config.identity, identity, lambda: registry.device, sign_with)
    rotation = Rotation(store, clock, config.encryption_key_days, partial(wrapping_keys, config))
    vitals = Vitals(
        contract,
        lives,
        holdings,
        releases | ({f"app {contract.name}": contract.version} if contract.version else {}),
        store,
        rotation,
        journal,
        views,
        outbox,
        waiting,
        flow,
        conflicts,
        clock,
        lambda: budget.facts() | {"fetches": refetch.fetched},
    )
    sync = Sync(
        contract,
        holdings,
        in_force,
        ids,
        journal,
        committer,
        shipper,
        puller,
        clock,
        progress.moved,
        Renewal(Rebase(contract, views, outbox, journal), views, outbox, shipper, journal, records, batches, clock),
        again,
        Overdue(again, outbox, journal),
        registry,
        identities,
        versions,
        Hook(config.power, clock),
        incoming,
        lambda: (identity.device_id.encode(), records.encode_heartbeat(vitals.heartbeat(sync))),
        wiped,
        budget.room,
        lambda document, seconds: refetch.bring(document, seconds),  # noqa: PLW0108  # it is made below
        follow,
    )
    refetch = Refetch(
        in_force, journal, committer, views.generations, versions, clock, sync.signal.require, views.forget
    )
    reader = Reader(
        contract,
        holdings,
        store,
        Shown(contract, codecs, store, journal, views),
        views.generations,
        conflicts,
        sync.freshness,
        sync.ends,
        progress,
        refetch.bring,
        lambda document: used((document,)),
    )
    housekeeping = Housekeeping(
        Pruning(
            journal,
            views.backlog,
            lambda: executor.stamps.clock.now_ms(clock.wall_ms()),
            keep_ms,
        ),
        LettingGo(codecs, journal, going_up, lives, clock, config.gathers),
        views,
        committer,
        store,
        vitals.look,
        lambda: not len(views.backlog),
    )
    if removed:
        housekeeping.give_back()
    return Parts(
        contract=contract,
        identities=identities,
        store=store,
        committer=committer,
        changes=changes,
        views=views,
        executor=executor,
        again=again,
        deferred=Deferred(again, outbox, journal),
        rejections=Rejections(journal),
        submission=Submission(
            store,
            committer,
            outbox,
            waiting,
            shipper,
            progress,
            durable,
            reader.catch_up,
            refetch.bring,
            lambda keys: used(parse_document_key(key) for key in keys),
            config.durability,
        ),
        conflicts=conflicts,
        log=OpLog(store, views.backlog, waiting),
        sync=sync,
        holdings=holdings,
        scope_change=ScopeChange(holdings, committer, views, conflicts, sync, housekeeping),
        housekeeping=housekeeping,
        rotation=rotation,
        reader=reader,
        vitals=vitals,
        settings=SettingsChange(contract, config, outbox, flow, incoming, sync, budget),
        budget=budget,
        refetch=refetch,
    )


def _changes(store: Store, release: bytes, holdings: Holdings) -> ChangeLog:
    changes = ChangeLog(store, secrets.token_hex(4))
    try:
        changes.open(release, anew=holdings.leaving)
    except UNWRITABLE as error:  # no reason not to start
        log.warning("who watches must read again after the next start", reason=str(error))
    return changes


def _read_again(store: Store, codecs: Mapping[str, StateCodec], versions: Versions, changes: ChangeLog) -> None:
    try:
        for writes in unread.read_again(store, codecs, versions):
            changes.write(writes, ANEW)
    except UNWRITABLE as error:  # no reason not to start: the next start reads on
        log.warning("rows that an older release could not read wait for room on the disk", reason=str(error))


def _gather(store: Store, contract: AppContract, gathers: bool, wall_ms: int) -> None:
    if writes := gathering.begun(store, contract, gathers, wall_ms):
        try:
            store.write(writes, sync=True)
        except UNWRITABLE as error:
            log.warning("to gather waits for room on the disk, and the next start", reason=str(error))


@cache  # it reads the whole description of the installed package for it
def _version() -> str:
    try:
        return version("driftlog")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
