"""The database of what is kept: everything that is put reaches the disk at once with `flush`, and all entries together fit a room.

Keys: `f` + serial -> whose entry that was, in the order in which they came; `!bytes` and `!serials` -> how much there is. All others are for who puts
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rocksdict import Options, Rdict, WriteBatch

from driftlog_streams.errors import StoreFailed

_NUMBER = 8


class Table:
    """One thread writes; any may read what is `stored`."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._db = Rdict(str(folder), options=_options())
        self._most_bytes = most_bytes
        self._pending: dict[bytes, bytes | None] = {}
        self._bytes = self._oldest = 0
        self.serial = 0
        """Of the entry that comes next."""
        self.discard()

    def close(self) -> None:
        """Give the folder free; what was not flushed is forgotten. Raises `StoreFailed`; it is closed all the same."""
        try:
            self._db.close()
        except Exception as error:  # rocksdict raises plain Exception for everything
            raise StoreFailed(
                f"the history was closed as it is: {error}", "look at the disk of the console's folder"
            ) from error

    def get(self, key: bytes) -> bytes | None:
        """As it was put last."""
        return self._pending[key] if key in self._pending else self.stored(key)

    def stored(self, key: bytes) -> bytes | None:
        """As it is on disk."""
        value: bytes | None = self._db.get(key)
        return value

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """What is on disk under keys that begin so, in their order, from `start` on."""
        cursor = self._db.iter()
        cursor.seek(max(prefix, start))
        while cursor.valid() and (key := cursor.key()).startswith(prefix):
            yield key, cursor.value()
            cursor.next()

    def put(self, key: bytes, value: bytes | None) -> None:
        """None deletes."""
        self._pending[key] = value

    def flush(self) -> None:
        """All of it is on disk, or nothing. Raises `StoreFailed`."""
        if not self._pending:
            return
        self._pending[b"!bytes"] = b"%d" % self._bytes
        self._pending[b"!serials"] = b"%d,%d" % (self._oldest, self.serial)
        try:
            batch = WriteBatch(raw_mode=True)
            for key, value in self._pending.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            self._db.write(batch)
        except Exception as error:  # rocksdict raises plain Exception for everything
            raise StoreFailed(
                f"the history cannot be kept: {error}", "look at the disk of the console's folder"
            ) from error
        self._pending.clear()

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._pending.clear()
        self._bytes = int(self._db.get(b"!bytes") or b"0")
        self._oldest, self.serial = map(int, (self._db.get(b"!serials") or b"0,0").split(b","))

    # -- the room

    def enter(self, key: bytes, value: bytes, owner: bytes) -> None:
        """Put an entry that has `serial` in it, and takes room."""
        self.put(key, value)
        self.put(b"f" + eight(self.serial), owner)
        self._bytes += len(value)
        self.serial += 1

    def change(self, key: bytes, before: bytes, value: bytes) -> None:
        """Put another value in place of an entry's."""
        self.put(key, value)
        self._bytes += len(value) - len(before)

    def leave(self, key: bytes, value: bytes, serial: int) -> None:
        """Delete an entry."""
        self.put(key, None)
        self.put(b"f" + eight(serial), None)
        self._bytes -= len(value)

    def overfull(self) -> Iterator[bytes]:
        """Whose oldest entry has to leave, as long as there is too much."""
        while self._bytes > self._most_bytes and self._oldest < self.serial:
            owner = self.get(b"f" + eight(self._oldest))
            self._oldest += 1
            if owner is not None:
                yield owner


def eight(number: int) -> bytes:
    """A number in a key, so that keys sort by it."""
    return number.to_bytes(_NUMBER, "big")


def where(space: str, partition: int) -> bytes:
    """A partition in a key."""
    return space.encode() + b"\x00" + partition.to_bytes(4, "big")


def number_in(key: bytes) -> int:
    """The number with which a key ends."""
    return int.from_bytes(key[-_NUMBER:], "big")


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(8 << 20)
    options.set_max_open_files(100)
    options.set_keep_log_file_num(2)
    return options
