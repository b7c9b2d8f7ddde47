"""The store on disk: RocksDB with one column family per `Family`. There is no in-memory fallback.

A synced write is in the write-ahead log on the disk when it returns, and nobody reads it before. Both take care: the library holds Python's
one lock while RocksDB writes, and would hold it while the disk syncs, so that nothing else could run; so the log is synced by a call of its own that
lets others run, and what they read meanwhile is what was there before. If the disk fails to sync, that stays so, and nothing more is
written: what reached the disk only the next start can tell.

Values lie on it encrypted (`cipher`), its write-ahead log included; keys do not, for RocksDB orders by them. Below this file nobody sees a value as
it is, above it nobody sees it otherwise.

A disk that is full when the agent starts is no reason not to
start: then the database is opened to be read, writes are refused with the reason, and it is opened anew once there is room. One that is damaged is read as
far as that goes (`opening`), and so is one in which damage is met while it is used: from then on nothing is written to it. RocksDB's own log files and
write-ahead logs are capped, so that an agent which runs for months does not fill a small disk with them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import cast

import structlog
from rocksdict import Rdict, WriteBatch

from driftlog_edge.errors import Damaged, DiskFull, EdgeError, StoreDamaged, StoreFailed
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import opening
from driftlog_edge.store.before import Before
from driftlog_edge.store.key_file import KeyFile
from driftlog_edge.store.overlay import laid_over
from driftlog_edge.store.sizes import DEFAULT, Sizes
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_edge.system_clock import SystemClock

log = structlog.get_logger()

_TABLES, _LIVE = "rocksdb.total-sst-files-size", "rocksdb.estimate-live-data-size"
ROOM_BYTES = 16 << 20
"""How much must be free before a database that could not be opened to be written is tried again."""
AT_ONCE, AT_ONCE_BYTES = 64, 256 << 10
"""Values that `renew` looks at in one step, at most: nobody writes meanwhile."""


class RocksStore:
    """`ports.Store` over RocksDB."""

    def __init__(self, folder: Path, wrapping: Sequence[WrappingKey] = (), sizes: Sizes = DEFAULT) -> None:
        """Raises `StoreBusy`, `StoreFailed`, `StoreDamaged`, `DiskFull`; `KeyUnusable` where `wrapping` does not open the folder's data keys."""
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
        self._closed: EdgeError | None = None
        """What who reads on is told, if it was closed for a reason that he may hear."""
        self._unsynced: StoreFailed | None = None
        """Why the disk did not sync the last write."""
        self._sizes = sizes
        self._opened = opening.opened(folder, self._sizes)
        self._refusal = self._opened.refusal
        try:
            self.keys = KeyFile.of(folder, wrapping, SystemClock().wall_ms(), self._is_empty)
        except EdgeError:
            self.close()
            raise

    def _is_empty(self) -> bool:
        return self.damage is None and not any(True for family in Family for _ in self._entries(family, b""))

    def get(self, family: Family, key: bytes) -> bytes | None:
        try:
            sealed = cast("bytes | None", self._opened.families[family].get(key))
        except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
            raise self._failed(error) from error
        before = self._before  # looked at after the value: if there is none by now, that is synced
        if before is not None and (family, key) in before.writes:
            return before.get(family, key)
        return None if sealed is None else self.keys.cipher.open(family, key, sealed)

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self._synced(self._values(family, prefix, after), family, prefix, after)

    def scan_keys(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[bytes]:
        return (key for key, _ in self._synced(self._sealed(family, prefix, after), family, prefix, after))

    def _synced(
        self, entries: Iterator[tuple[bytes, bytes]], family: Family, prefix: bytes, after: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        """Of these entries what is synced, and what was there before what is not."""
        first = next(entries, None)  # from here on they are those of one moment
        before = self._before
        found = chain(() if first is None else (first,), entries)
        if before is None:
            yield from found
        else:
            keys = before.changed.keys(family, prefix, after)
            yield from laid_over(keys, found, lambda key: before.get(family, key))

    def _values(self, family: Family, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, sealed in self._sealed(family, prefix, after):
            yield key, self.keys.cipher.open(family, key, sealed)

    def _sealed(self, family: Family, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        for entry in self._entries(family, after + b"\x00" if after >= prefix and after else prefix):
            if not entry[0].startswith(prefix):
                return
            yield entry

    def _entries(self, family: Family, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As they lie there, to the end of the family. The library ends where the next cannot be read, without a word, so that is asked."""
        rows, last = self._opened.families[family], start
        for last, sealed in cast("Iterator[tuple[bytes, bytes]]", rows.items(from_key=start)):
            yield last, sealed
        self._require_end(rows, last)

    def _require_end(self, rows: Rdict, last: bytes) -> None:
        """Raise `StoreDamaged` if what follows on a key cannot be read."""
        entry = rows.iter()
        try:
            entry.seek(last)
            if entry.valid():
                entry.next()
            entry.status()
        except Exception as error:  # rocksdict's, as above
            raise self._failed(error) from error

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
        if self.damage is not None:
            raise self.damage
        if isinstance(self._refusal, DiskFull):
            self._open_to_write(self._refusal)
        if self._unsynced is not None:
            raise self._unsynced

    def _put(self, batch: WriteBatch) -> None:
        try:
            self._opened.db.write(batch)
        except Exception as error:  # rocksdict's, as above
            self._before = None
            raise self._failed(error) from error

    def _sync(self) -> None:
        try:
            self._opened.db.flush_wal(True)
        except Exception as error:  # rocksdict's, as above
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
            except Exception as error:  # rocksdict's, as above
                raise self._failed(error) from error

    def held_back(self, families: Iterable[Family]) -> int:
        """See `ports.Store`."""
        opened = self._opened.families
        tables = (opened[family].property_int_value(_TABLES) or 0 for family in set(families) & opened.keys())
        return sum(tables) + self._file_bytes(".log")

    def superseded(self, family: Family) -> tuple[int, int]:
        """See `ports.Store`."""
        rows = self._opened.families.get(family)
        if rows is None:
            return 0, 0
        total = rows.property_int_value(_TABLES) or 0
        return max(0, total - (rows.property_int_value(_LIVE) or 0)), total

    def _failed(self, error: Exception) -> Exception:
        """What RocksDB said, as one of ours. Where that is damage, nothing is written from now on."""
        if isinstance(error, KeyError):  # it was closed: a defect of who reads on, unless he was told to expect it
            return self._closed or error
        told = opening.translated(error, self._folder)
        if isinstance(told, StoreDamaged) and self.damage is None:
            log.error("the store is damaged", reason=str(told), remedy=told.remedy)
            self._refusal = told
        return told

    @property
    def damage(self) -> StoreDamaged | None:
        """Why nothing is written any more and reads go as far as they go; None while the store is whole, as far as anybody knows."""
        return self._refusal if isinstance(self._refusal, StoreDamaged) else None

    @property
    def refusal(self) -> str:
        """Why nothing can be written; empty when it can."""
        return "" if self._refusal is None else str(self._refusal)

    def _open_to_write(self, refusal: DiskFull) -> None:
        """There may be room by now. Who reads meanwhile goes on with what it has."""
        if shutil.disk_usage(self._folder).free < ROOM_BYTES:
            raise DiskFull(str(refusal), refusal.remedy)
        self._opened = opening.to_write(self._folder, self._sizes)
        self._refusal = None

    def disk_bytes(self) -> int:
        """What the folder takes."""
        return self._file_bytes()

    def _file_bytes(self, ending: str = "") -> int:
        """What files whose names end so take. They may go while they are counted: compaction does not ask."""
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(ending):
                    with suppress(FileNotFoundError):
                        total += entry.stat().st_size if entry.is_file() else 0
        return total

    def close(self, why: EdgeError | None = None) -> None:
        """Waits for a `reclaim` or a `renew` in another thread: as long as that holds a family, the folder is held. Who reads on is told `why`."""
        self._closed = why
        with self._reclaiming, self._writing:
            opened, self._opened = self._opened, self._opened._replace(families={}, handles={})
            opened.families.clear()
            opened.handles.clear()
            try:
                opening.close(opened.db, self._folder)
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
