"""Opening a folder: its store, carried to where its spaces are now, and made ready for what the app declares and what this device holds.

What fails here has closed the store again, so that a start that did not succeed leaves the folder free.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import structlog

from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import UNWRITABLE
from driftlog_edge.incoming import unread
from driftlog_edge.ports import Clock, Store
from driftlog_edge.store import gathering
from driftlog_edge.store.carrying import carry
from driftlog_edge.store.changes import ANEW, ChangeLog
from driftlog_edge.store.counts import settle
from driftlog_edge.store.holdings import Holdings
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives, ensure_life
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.sizes import sizes_of
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import StateCodec, codecs_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OpenedFolder:
    """What lies in the folder, and what reads it."""

    contract: AppContract
    """Of the app, with its spaces as the folder has them."""
    releases: Mapping[str, str]
    """What runs here, of which release."""
    store: RocksStore
    journal: Journal
    lives: Lives
    holdings: Holdings
    changes: ChangeLog
    codecs: Mapping[str, StateCodec]
    records: RecordCodecs
    versions: Versions
    emptied: bool
    """Went something out of the store when it was opened, so that there is room to give back?"""


def carried(contract: AppContract, config: EdgeConfig, clock: Clock, wrapping: Sequence[WrappingKey]) -> None:
    """Carry what the folder has of spaces that have moved, before it is opened for more. Blocking. Raises as `open_folder` does."""
    store = _store(config, wrapping)
    try:
        carry(store, contract, clock.wall_ms())
    finally:
        store.close()


def open_folder(
    declared: AppContract,
    config: EdgeConfig,
    device: str,
    ids: SchemaIds,
    clock: Clock,
    wrapping: Sequence[WrappingKey],
) -> OpenedFolder:
    """Raises `StoreBusy`, `StoreFailed`, `KeyUnusable`, `OtherPartitions`; `DiskFull`, `StoreDamaged` where the folder lies half here and half
    there (`store/carrying`)."""
    store = _store(config, wrapping)
    try:
        return _opened(store, declared, config, device, ids, clock)
    except BaseException:  # the folder must be free again, whatever it was
        store.close()
        raise


def _store(config: EdgeConfig, wrapping: Sequence[WrappingKey]) -> RocksStore:
    sizes = sizes_of(config.disk_budget, config.memory.write_buffers, config.memory.block_cache)
    return RocksStore(config.data_dir, wrapping, sizes)


def _opened(
    store: RocksStore, declared: AppContract, config: EdgeConfig, device: str, ids: SchemaIds, clock: Clock
) -> OpenedFolder:
    contract = carry(store, declared, clock.wall_ms())
    codecs = codecs_of({n: c for s in contract.spaces.values() for n, c in s.collections.items()}, ids)
    records, versions = RecordCodecs(ids), Versions(ids)
    settle(store, contract)
    ensure_life(store, device, clock.wall_ms())
    journal = Journal(store)
    holdings = Holdings(contract, config.scopes, journal, records)
    releases = _releases(declared)
    changes = _changes(store, json.dumps(releases).encode(), holdings)
    removed = holdings.open(store)
    _gather(store, contract, config.gathers, clock.wall_ms())
    lives = Lives(journal)
    _read_again(store, codecs, versions, changes)
    return OpenedFolder(
        contract, releases, store, journal, lives, holdings, changes, codecs, records, versions, emptied=removed
    )


def _releases(declared: AppContract) -> dict[str, str]:
    spaces = {f"space {name}": space.release for name, space in declared.spaces.items()}
    return {"agent": _version(), "app": declared.name, **spaces}


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
