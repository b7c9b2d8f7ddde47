"""The store on disk: RocksDB with one column family per `Family`. There is no in-memory fallback.

A synced write is in the write-ahead log on the disk when it returns, and nobody reads it before. Both take care: the library holds Python's
one lock while RocksDB writes, and would hold it while the disk syncs, so that nothing else could run; so the log is synced by a call of its own that
lets others run, and what they read meanwhile is what was there before. If the disk fails to sync, that stays so, and nothing more is
written: what reached the disk only the next start can tell.

Values lie on it encrypted (`cipher`), its write-ahead log included; keys do not, for RocksDB orders by them. Below this file nobody sees a value as
it is, above it nobody sees it otherwise.

A disk that is full when the agent starts is no reason not to
start: then the database is opened to be read, writes are refused with the reason, and it is opened anew once there is room. RocksDB's own log files and write-ahead logs are capped, so
that an agent which runs for months does not fill a small disk with them.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import NamedTuple, cast

import structlog
from rocksdict import AccessType, ColumnFamily, Options, Rdict, WriteBatch

from driftlog_edge.errors import Damaged, DiskFull, EdgeError, StoreBusy, StoreFailed
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.before import Before
from driftlog_edge.store.key_file import KeyFile
from driftlog_edge.store.overlay import laid_over
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_edge.system_clock import SystemClock

log = structlog.get_logger()

_MIB = 1 << 20
ROOM_BYTES = 16 * _MIB
"""How much must be free before a database that could not be opened to be written is tried again."""
AT_ONCE, AT_ONCE_BYTES = 64, 256 << 10
"""Values that `renew` looks at in one step, at most: nobody writes meanwhile."""


def _options(*, create: bool = False) -> Options:
    options = Options(raw_mode=True)
    if create:
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_max_total_wal_size(64 * _MIB)
        options.set_keep_log_file_num(3)
        options.set_max_log_file_size(4 * _MIB)
        options.set_recycle_log_file_num(0)
    options.set_write_buffer_size(16 * _MIB)
    return options


class RocksStore:
    """`ports.Store` over RocksDB."""

    def __init__(self, folder: Path, wrapping: Sequence[WrappingKey] = ()) -> None:
        """Raises `StoreBusy`, `StoreFailed`, `DiskFull`; `KeyUnusable` where `wrapping` does not open the folder's data keys."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)  # an older one, or a loose umask
        except OSError as error:
            raise StoreFailed(
                f"data folder {folder} cannot be made: {error.strerror}", "give another data_dir"
            ) from error
        self._folder = folder
        self._reclaiming = Lock()
        self._writing = Lock()
        self._before: Before | None = None
        """What was there before a write that is not synced yet."""
        self._unsynced: StoreFailed | None = None
        """Why the disk did not sync the last write."""
        self._refusal: DiskFull | None = None
        try:
            self._opened = _open(folder)
        except DiskFull as error:
            self._opened = _open(folder, AccessType.read_only())
            self._refusal = error
        try:
            self.keys = KeyFile.of(folder, wrapping, SystemClock().wall_ms(), self._is_empty)
        except EdgeError:
            self.close()
            raise

    def _is_empty(self) -> bool:
        return not any(True for family in Family for _ in self._entries(family, b""))

    def get(self, family: Family, key: bytes) -> bytes | None:
        sealed = cast("bytes | None", self._opened.families[family].get(key))
        before = self._before  # looked at after the value: if there is none by now, that is synced
        if before is not None and (family, key) in before.writes:
            return before.get(family, key)
        return None if sealed is None else self.keys.cipher.open(family, key, sealed)

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        entries = self._values(family, prefix, after)
        first = next(entries, None)  # from here on they are those of one moment
        before = self._before
        found = chain(() if first is None else (first,), entries)
        if before is None:
            yield from found
        else:
            keys = before.changed.keys(family, prefix, after)
            yield from laid_over(keys, found, lambda key: before.get(family, key))

    def _values(self, family: Family, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, sealed in self._entries(family, after + b"\x00" if after >= prefix and after else prefix):
            if not key.startswith(prefix):
                return
            yield key, self.keys.cipher.open(family, key, sealed)

    def _entries(self, family: Family, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As they lie there."""
        return cast("Iterator[tuple[bytes, bytes]]", self._opened.families[family].items(from_key=start))

    def write(self, writes: Writes, *, sync: bool) -> None:
        with self._writing:
            self._require_writable()
            batch, handles = WriteBatch(raw_mode=True), self._opened.handles
            seal = self.keys.cipher.seal
            for (family, key), value in writes.items():
                if value is None:
                    batch.delete(key, handles[family])
                else:
                    batch.put(key, seal(family, key, value), handles[family])
            if sync:
                self._before = self._as_it_is(writes)
            self._put(batch)
            if sync:
                self._sync()

    def _as_it_is(self, writes: Writes) -> Before:
        """Nothing but what it returns may hold the snapshots: in the traceback of an error they would hold the folder."""
        changed = {family for family, _ in writes}
        snapshots = {family: self._opened.families[family].snapshot() for family in changed}
        return Before(writes, snapshots, self.keys.cipher.open)

    def renew(self, family: Family, start: bytes) -> bytes | None:
        """Put some values from key `start` on under the newest data key, where they are under another; where to go on, None at the end.

        Blocking, for a millisecond or so. Raises as `write`. What does not open stays as it is and is told.
        """
        with self._writing:  # what it writes back is what is there: nobody has written it anew meanwhile
            if not self._opened.families:
                return None
            self._require_writable()
            batch, handles, cipher = WriteBatch(raw_mode=True), self._opened.handles, self.keys.cipher
            following, size = None, 0
            for looked, (key, sealed) in enumerate(self._entries(family, start)):
                if looked == AT_ONCE or size > AT_ONCE_BYTES:
                    following = key
                    break
                if not cipher.current(sealed):
                    size += len(sealed)
                    with _told_if_damaged():
                        batch.put(key, cipher.seal(family, key, cipher.open(family, key, sealed)), handles[family])
            if size:
                self._put(batch)
            return following

    def _require_writable(self) -> None:
        if self._refusal is not None:
            self._open_to_write(self._refusal)
        if self._unsynced is not None:
            raise self._unsynced

    def _put(self, batch: WriteBatch) -> None:
        try:
            self._opened.db.write(batch)
        except Exception as error:  # rocksdict's, as below
            self._before = None
            raise _translated(error, self._folder) from error

    def _sync(self) -> None:
        try:
            self._opened.db.flush_wal(True)
        except Exception as error:  # rocksdict's, as below
            self._unsynced = StoreFailed(
                f"the disk of {self._folder} did not sync what was written: {error}",
                "see to the disk, then restart the agent",
            )
            raise self._unsynced from error
        self._before = None

    def reclaim(self, families: Iterable[Family]) -> None:
        """Compact the rows now. RocksDB would do it in its own time, and a small disk may not have that."""
        with self._reclaiming:
            opened = self._opened.families  # empty when it was closed meanwhile
            try:
                for family in set(families) & opened.keys():
                    opened[family].compact_range(None, None)
                for family in opened:  # the write-ahead log stays as long as one of them needs it
                    opened[family].flush(True)
            except Exception as error:  # rocksdict's, as below
                raise _translated(error, self._folder) from error

    @property
    def refusal(self) -> str:
        """Why nothing can be written since the start; empty when it can."""
        return "" if self._refusal is None else str(self._refusal)

    def _open_to_write(self, refusal: DiskFull) -> None:
        """There may be room by now. Who reads meanwhile goes on with what it has."""
        if shutil.disk_usage(self._folder).free < ROOM_BYTES:
            raise DiskFull(str(refusal), refusal.remedy)
        self._opened = _open(self._folder)
        self._refusal = None

    def disk_bytes(self) -> int:
        """What the folder takes. Files may go while they are counted: compaction does not ask."""
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat().st_size if entry.is_file() else 0
        return total

    def close(self) -> None:
        """Waits for a `reclaim` or a `renew` in another thread: as long as that holds a family, the folder is held."""
        with self._reclaiming, self._writing:
            opened, self._opened = self._opened, _Opened(self._opened.db, {}, {})
            opened.families.clear()
            opened.handles.clear()
            try:
                _close(opened.db, self._folder)
            except (
                EdgeError
            ) as error:  # it is closed all the same, and its log on the disk has what it could not put away
                log.warning("the store was closed as it is", reason=str(error))


@contextmanager
def _told_if_damaged() -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        log.error("a value cannot be put under another data key", reason=str(error))


class _Opened(NamedTuple):
    """One opening of the database."""

    db: Rdict
    families: dict[Family, Rdict]
    handles: dict[Family, ColumnFamily]


def _open(folder: Path, access: AccessType | None = None) -> _Opened:
    """To read and write if `access` does not say otherwise. Raises `DiskFull`, `StoreBusy`, `StoreFailed`."""
    families = {f.value: _options() for f in Family}
    try:
        db = Rdict(str(folder), _options(create=access is None), families, access or AccessType.read_write())
    except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
        raise _translated(error, folder) from error
    return _Opened(
        db,
        {f: db.get_column_family(f.value) for f in Family},
        {f: db.get_column_family_handle(f.value) for f in Family},
    )


def _close(db: Rdict, folder: Path) -> None:
    try:
        db.close()
    except Exception as error:  # rocksdict's, as above
        raise _translated(error, folder) from error


def _translated(error: Exception, folder: Path) -> EdgeError:
    text = str(error)
    if "lock" in text.lower() and ("hold" in text.lower() or "LOCK" in text):
        return StoreBusy(
            f"data folder {folder} is held by another process", "stop that agent, or give this one another data_dir"
        )
    if "No space left" in text or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return DiskFull(f"no space left for {folder}", "free space; nothing that was answered is lost")
    return StoreFailed(f"RocksDB in {folder}: {text}", "see the folder's LOG file")
