"""The store on disk: RocksDB with one column family per `Family`. There is no in-memory fallback.

A synced write is in the write-ahead log on the disk when it returns. RocksDB's own log files and write-ahead logs are capped, so
that an agent which runs for months does not fill a small disk with them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from rocksdict import ColumnFamily, Options, Rdict, WriteBatch, WriteOptions

from driftlog_edge.errors import DiskFull, EdgeError, StoreBusy, StoreFailed
from driftlog_edge.ports import Family, Writes

_MIB = 1 << 20


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

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)  # an older one, or a loose umask
        except OSError as error:
            raise StoreFailed(
                f"data folder {folder} cannot be made: {error.strerror}", "give another data_dir"
            ) from error
        self._folder = folder
        try:
            self._db = Rdict(str(folder), _options(create=True), column_families={f.value: _options() for f in Family})
        except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
            raise _translated(error, folder) from error
        self._families = {f: self._db.get_column_family(f.value) for f in Family}
        self._handles: dict[Family, ColumnFamily] = {f: self._db.get_column_family_handle(f.value) for f in Family}
        self._synced, self._unsynced = WriteOptions(), WriteOptions()
        self._synced.sync = True

    def get(self, family: Family, key: bytes) -> bytes | None:
        return cast("bytes | None", self._families[family].get(key))

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        start = after + b"\x00" if after >= prefix and after else prefix
        entries = cast("Iterator[tuple[bytes, bytes]]", self._families[family].items(from_key=start))
        for key, value in entries:
            if not key.startswith(prefix):
                return
            yield key, value

    def write(self, writes: Writes, *, sync: bool) -> None:
        batch = WriteBatch(raw_mode=True)
        handles = self._handles
        for (family, key), value in writes.items():
            if value is None:
                batch.delete(key, handles[family])
            else:
                batch.put(key, value, handles[family])
        try:
            self._db.write(batch, self._synced if sync else self._unsynced)
        except Exception as error:  # as above
            raise _translated(error, self._folder) from error

    def disk_bytes(self) -> int:
        """What the folder takes. Files may go while they are counted: compaction does not ask."""
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat().st_size if entry.is_file() else 0
        return total

    def close(self) -> None:
        self._families.clear()
        self._handles.clear()
        self._db.close()


def _translated(error: Exception, folder: Path) -> EdgeError:
    text = str(error)
    if "lock" in text.lower() and ("hold" in text.lower() or "LOCK" in text):
        return StoreBusy(
            f"data folder {folder} is held by another process", "stop that agent, or give this one another data_dir"
        )
    if "No space left" in text or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return DiskFull(f"no space left for {folder}", "free space; nothing that was answered is lost")
    return StoreFailed(f"RocksDB in {folder}: {text}", "see the folder's LOG file")
