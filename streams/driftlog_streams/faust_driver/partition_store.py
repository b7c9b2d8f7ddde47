"""The states and chain rows of a worker's partitions on disk: copies of `<space>.state` and `<space>.receipts`, and how far they go.

All partitions of a worker share one RocksDB, each under the prefix of its number: a database costs half a dozen file handles, memory
and threads, and a worker may own hundreds of partitions.

Every write is one RocksDB batch: states, rows, the positions up to which they are in, and the highest group number seen. So
a partition's store is some prefix of the changelog at every moment, whatever kills the process. It is a cache: deleting the
folder costs a recovery, nothing else. Writes are not synced, for the same reason; after a power cut RocksDB's own log still gives a prefix.

Must never happen: a state here that the topic does not have; a position beyond the states; a failure of the disk that
looks like a bad record: whatever the database raises leaves here as `StoreFailed`, and ends the worker.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch, WriteOptions

from driftlog_schemas.digests import DIGEST_BYTES
from driftlog_schemas.identity import CLOUD_REPLICA
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.record_codecs import CONFLICT_NAME
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.store_mark import StoreMark
from driftlog_streams.errors import StoreFailed, StoreLocked

OPEN_SECONDS = 15.0
CACHE_BYTES = 64 << 20
_FILTERED = 0.05
"""The part of a write buffer that tells which keys are not in it: most documents that are met for the first time are nowhere yet."""
_META = b"\x00driftlog"
_ROWS = b"\x00row/"
_DEAD = b"\x00dead/"
"""+ group number + document key: what may be purged, lowest first"""
_GROUP = b"\x00group/"
"""+ document key: under which number it stands there; what stands under another is over"""
_GONE = b"\x00gone/"
"""+ document key: offset of the op record that purged it"""
_DUE = b"\x00due/"
"""+ deadline (ms) + document key: where a conflict may wait for it, first ones first"""
_DISPUTES = b"\x00disputes/"
"""+ document key: the names of its conflicts' records, one after the other"""
_DISPUTE = b"\x00dispute/"
"""+ name of a conflict's record: key of the document that has it"""
_END = b"\x00end/"
"""+ name of a conflict's record: group number + that record, as the conflict ended"""
_ENDED = b"\x00ended/"
"""+ group number + that name: what may be forgotten, lowest first"""
_DIGEST = b"\x00digest/"
"""+ scope: the digest of its documents; empty where it is unknown"""
_TOPICS = b"\x00topics"
"""The ids of the topics that it was filled from"""
_LOG = b"\x00log"
"""The id of the op topic by which all is numbered"""
"""No document key begins with a zero byte."""
_SIZES = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")


class WorkerStore:
    """The one RocksDB of a worker. Not shared between processes."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._db = _open(folder)

    def partition(self, number: int) -> PartitionStore:
        """The store of one partition, as it was left."""
        return PartitionStore(self._db, number)

    @property
    def size(self) -> int:
        """Bytes on the disk and in write buffers, as RocksDB keeps account of them. Raises `StoreFailed`."""
        with _told("cannot be read"):
            return sum(self._db.property_int_value(name) or 0 for name in _SIZES)

    def close(self) -> None:
        """Give the folder free. Raises `StoreFailed` where not all could be put away; it is closed all the same, and the log on the disk has the rest."""
        with _told("was closed as it is"):
            self._db.close()


class PartitionStore:
    """The keys of one partition."""

    def __init__(self, db: Rdict, number: int) -> None:
        self._db = db
        self._write = WriteOptions()
        self._prefix = number.to_bytes(4, "big")
        self.mark = StoreMark.decode(self._value(_META))
        self.topics = (self._value(_TOPICS) or b"").decode()
        """The ids of the topics that it is filled from, as one text; empty for a new store, and for one of a release that did not ask."""
        self.log = (self._value(_LOG) or b"").decode()
        """The id of the op topic by whose offsets all is numbered; empty likewise."""

    def follow(self, topics: str, mark: StoreMark) -> None:
        """From now on it is filled from these topics, from there on."""
        batch = WriteBatch(raw_mode=True)
        batch.put(self._prefix + _TOPICS, topics.encode())
        batch.put(self._prefix + _META, mark.encode())
        with _told("takes nothing"):
            self._db.write(batch, self._write)
        self.topics, self.mark = topics, mark

    def count_by(self, log: str) -> None:
        """All in it is numbered by this op topic."""
        batch = WriteBatch(raw_mode=True)
        batch.put(self._prefix + _LOG, log.encode())
        with _told("takes nothing"):
            self._db.write(batch, self._write)
        self.log = log

    def get(self, key: bytes) -> bytes | None:
        """The value of a document's last stored state record."""
        return self._value(key)

    def row(self, replica: str) -> bytes | None:
        """The value of a replica's last stored chain row."""
        return self._value(_row_key(replica))

    def purged(self, key: bytes) -> int:
        """Offset of the op record that purged a document; 0 for none that is remembered."""
        return int.from_bytes(self._value(_GONE + key) or b"", "big")

    def dead(self, below: int) -> Iterator[tuple[bytes, bytes]]:
        """Documents that were deleted in a group below this number and have not changed since, with their state; oldest first.

        What has changed since leaves the list on the way.
        """
        start = self._prefix + _DEAD
        for place, _ in self._scan(start):
            number, key = place[:8], place[8:]
            if int.from_bytes(number, "big") >= below:
                return
            value = self.get(key) if self._value(_GROUP + key) == number else None
            if value is None:
                self._drop([start + place])
            else:
                yield key, value

    def due(self, until_ms: int) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Deadlines up to this time with the documents that had a conflict under them, and their state as it is now; the first ones first."""
        for place, _ in self._scan(self._prefix + _DUE):
            at_ms, key = int.from_bytes(place[:8], "big"), place[8:]
            if at_ms > until_ms:
                return
            yield at_ms, key, self.get(key)

    def first_due(self) -> int | None:
        """The first deadline; None for none."""
        return next((int.from_bytes(place[:8], "big") for place, _ in self._scan(self._prefix + _DUE)), None)

    def moved_due(self, over: Iterable[tuple[int, bytes]], later: Iterable[tuple[int, bytes]]) -> None:
        """Of these deadlines some are over, and some are to be looked at."""
        batch = WriteBatch(raw_mode=True)
        for at_ms, key in over:
            batch.delete(self._prefix + _due_key(at_ms, key))
        for at_ms, key in later:
            batch.put(self._prefix + _due_key(at_ms, key), b"")
        with _told("takes nothing"):
            self._db.write(batch, self._write)

    def dispute(self, name: bytes) -> bytes | None:
        """The key of the document that has the conflict of this name; None where no open one is called so."""
        return self._value(_DISPUTE + name)

    def disputes(self) -> Iterator[bytes]:
        """The names of all open conflicts."""
        return (name for name, _ in self._scan(self._prefix + _DISPUTE))

    def disputes_of(self, key: bytes) -> set[bytes]:
        """Those of one document."""
        names = self._value(_DISPUTES + key) or b""
        return {names[at : at + CONFLICT_NAME] for at in range(0, len(names), CONFLICT_NAME)}

    def ended(self, name: bytes) -> bytes | None:
        """The record by which the conflict of this name ended last; None where that is not known."""
        value = self._value(_END + name)
        return None if value is None else value[8:]

    def forget_ended(self, below: int) -> None:
        """Nobody's late word can come any more on what ended below this group."""
        start, gone = self._prefix + _ENDED, []
        for place, _ in self._scan(start):
            number, name = place[:8], place[8:]
            if int.from_bytes(number, "big") >= below:
                break
            gone.append(start + place)
            if (self._value(_END + name) or b"")[:8] == number:
                gone.append(self._prefix + _END + name)
        self._drop(gone)

    def _put_disputes(self, batch: WriteBatch, key: bytes, names: Collection[bytes]) -> None:
        """A document has these conflicts, and no other any more."""
        prefix, place = self._prefix, self._prefix + _DISPUTES + key
        known = self.disputes_of(key)
        for name in known.difference(names):
            batch.delete(prefix + _DISPUTE + name)
        for name in {*names} - known:
            batch.put(prefix + _DISPUTE + name, key)
        if names:
            batch.put(place, b"".join(sorted(names)))
        elif known:
            batch.delete(place)

    def digest(self, scope: str) -> int | None:
        """The digest of a scope's documents; None where it is unknown."""
        value = self._value(_digest_key(scope))
        return None if value == b"" else int.from_bytes(value or b"", "big")

    def unknown_digests(self) -> list[str]:
        """The scopes whose digest is unknown."""
        return [scope.decode() for scope, value in self._scan(self._prefix + _DIGEST) if not value]

    def documents(self, beginning: bytes = b"\x01") -> Iterator[tuple[bytes, bytes]]:
        """Every document whose key begins so, or all, with its state, as they are now."""
        whole = beginning == b"\x01"
        for key, value in self._scan(self._prefix if whole else self._prefix + beginning, self._prefix + beginning):
            yield (key if whole else beginning + key), value

    def keys(self, beginning: bytes) -> Iterator[bytes]:
        """The keys of those."""
        return (key for key, _ in self.documents(beginning))

    def rows(self, beginning: str = "") -> Iterator[bytes]:
        """Every chain row, or those of the replicas whose names begin so."""
        return (value for _, value in self._scan(self._prefix + _row_key(beginning)))

    def replicas(self) -> Iterator[str]:
        """Whose rows these are."""
        return (name.decode() for name, _ in self._scan(self._prefix + _ROWS))

    def forget_gone(self, below: int) -> None:
        """Nobody's late word can come any more on what was purged below this offset."""
        start = self._prefix + _GONE
        self._drop([start + key for key, at in self._scan(start) if int.from_bytes(at, "big") < below])

    def _drop(self, keys: Iterable[bytes]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(key)
        with _told("takes nothing"):
            self._db.write(batch, self._write)

    def _scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """What follows the prefix in each key, from `start` on, and its value, in order, as it is now."""
        with _told("cannot be read"):
            cursor = self._db.iter()
            cursor.seek(max(start, prefix))
        while cursor.valid():
            key = cursor.key()
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :], cursor.value()
            with _told("cannot be read"):
                cursor.next()

    def _value(self, key: bytes) -> bytes | None:
        try:  # not `_told`: to enter a context costs as much as to look a key up
            value: bytes | None = self._db.get(self._prefix + key)
        except Exception as error:  # rocksdict raises plain Exception for everything
            raise _failed("cannot be read", error) from error
        return value

    def write(
        self,
        states: Iterable[tuple[bytes, bytes | None]],
        mark: StoreMark,
        rows: Iterable[tuple[str, bytes | None]] = (),
        passed: Passed | None = None,
        digests: Mapping[str, int | None] | None = None,
    ) -> None:
        """Take states and chain rows (None deletes), what has passed, the digests of scopes, and where the topics stand after them."""
        batch, prefix = WriteBatch(raw_mode=True), self._prefix
        for key, value in states:
            if value is None:
                batch.delete(prefix + key)
            else:
                batch.put(prefix + key, value)
        for replica, row in rows:
            if row is None:
                batch.delete(prefix + _row_key(replica))
            else:
                batch.put(prefix + _row_key(replica), row)
        for key, group in (passed or Passed()).dead.items():
            number = group.to_bytes(8, "big")
            batch.put(prefix + _DEAD + number + key, b"")
            batch.put(prefix + _GROUP + key, number)
        for key, offset in (passed or Passed()).gone.items():
            batch.delete(prefix + _GROUP + key)
            batch.put(prefix + _GONE + key, offset.to_bytes(8, "big"))
        for key, at_ms in (passed or Passed()).due.items():
            batch.put(prefix + _due_key(at_ms, key), b"")
        for key, names in (passed or Passed()).disputes.items():
            self._put_disputes(batch, key, names)
        number = max(mark.group, 0).to_bytes(8, "big")
        for name, record in (passed or Passed()).ends.items():
            batch.put(prefix + _END + name, number + record)
            batch.put(prefix + _ENDED + number + name, b"")
        for scope, digest in (digests or {}).items():
            batch.put(prefix + _digest_key(scope), b"" if digest is None else digest.to_bytes(DIGEST_BYTES, "big"))
        batch.put(prefix + _META, mark.encode())
        with _told("takes nothing"):
            self._db.write(batch, self._write)
        self.mark = mark


@contextmanager
def _told(fact: str) -> Iterator[None]:
    """Name what fails. Raises `StoreFailed`."""
    try:
        yield
    except Exception as error:  # rocksdict raises plain Exception for everything
        raise _failed(fact, error) from error


def _failed(fact: str, error: Exception) -> StoreFailed:
    return StoreFailed(
        f"the store of states {fact}: {error}",
        "look at the disk of --data-dir; a folder that is damaged may be deleted, it is filled again",
    )


def _row_key(replica: str) -> bytes:
    return _ROWS + replica.encode()


def _due_key(at_ms: int, key: bytes) -> bytes:
    return _DUE + at_ms.to_bytes(8, "big") + key


def _digest_key(scope: str) -> bytes:
    return _DIGEST + scope.encode()


def _open(folder: Path) -> Rdict:
    end = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return Rdict(str(folder), options=store_options())
        except Exception as error:  # rocksdict raises plain Exception for everything
            if "lock" not in str(error).lower():
                raise
            if time.monotonic() > end:
                raise StoreLocked(
                    f"data folder {folder} is held by another process", "give every worker its own --slot or --data-dir"
                ) from error
            time.sleep(0.2)


def store_options() -> Options:
    """How RocksDB is set up for a worker's store."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 << 20)
    options.set_memtable_prefix_bloom_ratio(_FILTERED)
    options.set_memtable_whole_key_filtering(True)
    options.set_max_open_files(200)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(CACHE_BYTES))
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options


def unread(known: ChainRow | None, store: PartitionStore) -> bool:
    """Does the store know more of the cloud's own chain than who has merged nothing yet, as while the partition is taken over? What were written then would
    take a number that is taken.
    """
    return known is None and store.row(CLOUD_REPLICA) is not None
