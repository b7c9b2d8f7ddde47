"""The states of one partition on disk: a copy of `<space>.state`, and how far it goes.

Every write is one RocksDB batch: states, the changelog position up to which they are in, and the highest group number seen. So
the store is some prefix of the changelog at every moment, whatever kills the process. It is a cache: deleting the
folder costs a recovery, nothing else. Writes are not synced, for the same reason; after a power cut RocksDB's own log still gives a prefix.

What a crash leaves half published (see `faust_driver.recovery`) must be known until it has been merged again, and by the next life
too if this one dies first: `StoreMark.tail` says from where the changelog has to be looked at again, although its states are in.

Must never happen: a state here that the topic does not have; a position beyond the states; a tail forgotten too early.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch, WriteOptions

from driftlog_streams.errors import StoreLocked

OPEN_SECONDS = 15.0
CACHE_BYTES = 64 << 20
_META = b"\x00driftlog"
"""No document key begins with a zero byte."""


class StoreMark(NamedTuple):
    """How far a partition's store is; kept in it, in the same write as its states."""

    position: int = -1
    """offset of the last state record that is in; -1 for none"""
    group: int = -1
    """the highest group number"""
    tail: int = -1
    """offset of the first state record of a torn tail; -1 for none"""
    until: int = -1
    """the highest group number of that tail"""

    @classmethod
    def decode(cls, data: bytes | None) -> StoreMark:
        return cls() if data is None else cls(*(int(part) for part in data.split(b",")))

    def encode(self) -> bytes:
        return b"%d,%d,%d,%d" % self

    @property
    def reread(self) -> int:
        """From where a recovery reads the changelog."""
        return self.position + 1 if self.tail < 0 else min(self.tail, self.position + 1)

    def after_flight(self, position: int, group: int) -> StoreMark:
        """With a flight's states in. All that was torn is whole again when as much has been merged, and published, as then."""
        assert position >= self.position, f"a store never goes back: {self.position} -> {position}"
        tail, until = (-1, -1) if group >= self.until else (self.tail, self.until)
        return StoreMark(position, max(group, self.group), tail, until)

    def after_recovery(self, position: int, group: int, tail: int, until: int) -> StoreMark:
        """With the changelog's records in up to `position`."""
        assert position >= self.position, f"a store never goes back: {self.position} -> {position}"
        return StoreMark(position, max(group, self.group), tail, until)


class PartitionStore:
    """One RocksDB of one partition. Not shared between processes."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._db = _open(folder)
        self._write = WriteOptions()
        self.mark = StoreMark.decode(self._db.get(_META))

    def get(self, key: bytes) -> bytes | None:
        """The value of a document's last stored state record."""
        value: bytes | None = self._db.get(key)
        return value

    def write(self, states: Iterable[tuple[bytes, bytes | None]], mark: StoreMark) -> None:
        """Take states (None deletes) and where the changelog stands after them."""
        batch = WriteBatch(raw_mode=True)
        for key, value in states:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_META, mark.encode())
        self._db.write(batch, self._write)
        self.mark = mark

    def close(self) -> None:
        """Give the folder free."""
        self._db.close()


def _open(folder: Path) -> Rdict:
    end = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return Rdict(str(folder), options=_options())
        except Exception as error:  # rocksdict raises plain Exception for everything
            if "lock" not in str(error).lower():
                raise
            if time.monotonic() > end:
                raise StoreLocked(
                    f"data folder {folder} is held by another process", "give every worker its own --slot or --data-dir"
                ) from error
            time.sleep(0.2)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 << 20)
    options.set_max_open_files(200)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(CACHE_BYTES))
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options
