"""Reading a damaged folder as far as anything in it can be read. The folder itself stays as it is: all of it is done on a copy.

RocksDB opens the copy to be read, without the tables that it cannot open and without looking at checksums, for each value is authenticated when it is
opened. Where its manifest does not say which files count, RocksDB makes another from the tables, and the logs are read here (`log_entries`). Where the
next key cannot be read, the one behind the damage is looked for: seeking any key within it fails, seeking one behind it does not. Where all fail, as a table is
missing that any key may be in, the other tables tell the rest, under a manifest of their own.

What is read was once written so. It may have been written over or removed since, in a file that cannot be read: who uses it must reckon with that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Self, TypeAlias, cast

from rocksdict import Options, Rdict, RdictIter, ReadOptions

from driftlog_edge.errors import Damaged, EdgeError, KeyUnusable, NotFound, StoreBusy, StoreFailed
from driftlog_edge.ports import Family
from driftlog_edge.salvage.log_entries import entries, newest
from driftlog_edge.store import key_file, opening
from driftlog_edge.store.cipher import Cipher
from driftlog_edge.store.wrapping import WrappingKey

KEY_WIDTH = 96
"""Bytes of a key that are looked at to find what lies behind damage; longer keys differ before that, or are passed over with it."""
TOLD = 20
"""Troubles that are kept in words."""
Sealed: TypeAlias = dict[tuple[Family, bytes], bytes | None]
"""Values as they lie on the disk; None for what was removed."""


class Remains:
    """A damaged folder, open to be read. Use as a context; `scratch` is a folder for the copy, which is removed."""

    def __init__(self, folder: Path, scratch: Path, wrapping: Sequence[WrappingKey]) -> None:
        """Raises `NotFound`, `StoreBusy`; `KeyUnusable` where the data key is gone or cannot be had: then nobody can read anything."""
        self.troubles: list[str] = []
        """What could not be read, in words."""
        self.unreadable: list[tuple[Family, bytes]] = []
        """Values that do not open, whose keys can be read."""
        self._folder, self._scratch = folder, scratch
        self._cipher = _cipher(folder, wrapping)
        _require_free(folder)
        self._copy()
        self._over: Sealed = {}
        self._rows = self._opened()
        self._others: tuple[dict[Family, Rdict], Sealed] | None = None
        """The tables that can be opened, under a manifest of their own, and what the logs have; None until they are asked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.clear()
        self._others = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    # -- read

    def get(self, family: Family, key: bytes) -> bytes | None:
        """None where it is not there or cannot be read: nobody can tell which. Where a table cannot be read, what the others have."""
        if (family, key) in self._over:
            sealed = self._over[family, key]
        else:
            rows = self._rows.get(family)
            try:
                sealed = None if rows is None else cast("bytes | None", rows.get(key, read_opt=_unchecked()))
            except Exception as error:  # noqa: BLE001  # rocksdict raises plain Exception for all of RocksDB's errors
                self._trouble(error)
                sealed = self._older(family, key)
        return None if sealed is None else self._value(family, key, sealed)

    def scan(self, family: Family, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All that can be read of a family."""
        over = sorted(key for place, key in self._over if place is family and key.startswith(prefix))
        below = (pair for pair in self._entries(family, prefix) if (family, pair[0]) not in self._over)
        above = ((key, sealed) for key in over if (sealed := self._over[family, key]) is not None)
        for key, sealed in chain(below, above):
            value = self._value(family, key, sealed)
            if value is not None:
                yield key, value

    @property
    def estimate(self) -> int:
        """About how many entries there are."""
        counts = (rows.property_int_value("rocksdb.estimate-num-keys") or 0 for rows in self._rows.values())
        return sum(counts) + len(self._over)

    def _value(self, family: Family, key: bytes, sealed: bytes) -> bytes | None:
        try:
            return self._cipher.open(family, key, sealed)
        except Damaged:
            self.unreadable.append((family, key))
            return None

    def _entries(self, family: Family, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows.get(family)
        if rows is None:
            return
        stuck = yield from readable(rows, prefix, self._trouble)
        if stuck is None:
            return
        for key, older in self._elsewhere(family, prefix):
            value = _newest(rows, key, older) if key > stuck else None
            if value is not None:
                yield key, value

    def _older(self, family: Family, key: bytes) -> bytes | None:
        """What the logs have of a key, or the tables that can be opened."""
        tables, logged = self._apart()
        if (family, key) in logged or family not in tables:
            return logged.get((family, key))
        try:
            return cast("bytes | None", tables[family].get(key, read_opt=_unchecked()))
        except Exception as error:  # noqa: BLE001  # as above
            self._trouble(error)
            return None

    def _elsewhere(self, family: Family, prefix: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """What the logs have of a family, and the tables that can be opened."""
        tables, logged = self._apart()
        yield from ((key, sealed) for (of, key), sealed in logged.items() if of is family and key.startswith(prefix))
        if family in tables:
            found = readable(tables[family], prefix, self._trouble)
            yield from ((key, sealed) for key, sealed in found if (family, key) not in logged)

    def _apart(self) -> tuple[dict[Family, Rdict], Sealed]:
        if self._others is None:
            self._others = self._without_the_lost(self._scratch / "others"), self._logged()
        return self._others

    def _without_the_lost(self, folder: Path) -> dict[Family, Rdict]:
        folder.mkdir(mode=0o700)
        try:
            for path in self._scratch.glob("*.sst"):
                _linked(path, folder / path.name)
            Rdict.repair(str(folder), Options(raw_mode=True))
            return opening.to_salvage(folder, whole=False)
        except Exception as error:  # noqa: BLE001  # rocksdict's, and ours
            self._trouble(error)
            return {}

    def _trouble(self, error: Exception) -> None:
        told = " ".join(str(error).replace(str(self._scratch), "").split())
        if told not in self.troubles and len(self.troubles) < TOLD:
            self.troubles.append(told)

    # -- opened

    def _copy(self) -> None:
        """Tables never change, so the copy may share them; what cannot be read at all is told and left out."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700, parents=True)
        for path in sorted(self._folder.iterdir()):
            if not path.is_file() or path.name in ("LOCK", key_file.NAME) or path.name.startswith("LOG"):
                continue
            to = self._scratch / path.name
            try:
                _linked(path, to)
            except OSError as error:
                to.unlink(missing_ok=True)
                self.troubles.append(f"{path.name} cannot be read: {error.strerror}")
        for path in sorted(self._scratch.glob("*.log")):
            found = opening.framing(path.read_bytes())
            if found.foreign:
                self.troubles.append(f"{path.name} has at byte {found.end} what is no entry")
                os.truncate(path, found.end)

    def _opened(self) -> dict[Family, Rdict]:
        manifests = sorted(path.name for path in self._scratch.glob("MANIFEST-*"))
        current = self._scratch / "CURRENT"
        if manifests and (not current.is_file() or current.read_text(errors="replace").strip() not in manifests):
            self.troubles.append("CURRENT is missing or is no name of a manifest")
            current.write_text(f"{manifests[-1]}\n")
        try:
            return opening.to_salvage(self._scratch)
        except EdgeError as error:
            self._trouble(error)
        logged = self._logged()
        try:
            Rdict.repair(str(self._scratch), Options(raw_mode=True))
            self.troubles += [f"{path.name} cannot be read" for path in sorted(self._scratch.glob("lost/*.sst"))]
            rows = opening.to_salvage(self._scratch, whole=False)
        except Exception as error:  # noqa: BLE001  # rocksdict's, and ours
            self._trouble(error)
            rows = {}
        self._over = logged
        return rows

    def _logged(self) -> Sealed:
        logs = [path.read_bytes() for path in sorted(self._scratch.glob("*.log"))]
        return newest(chain.from_iterable(map(entries, logs)), self._opens)

    def _opens(self, family: Family, key: bytes, sealed: bytes) -> bool:
        try:
            self._cipher.open(family, key, sealed)
        except Damaged:
            return False
        return True


def _cipher(folder: Path, wrapping: Sequence[WrappingKey]) -> Cipher:
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", "give the data_dir of the agent")
    if not (folder / key_file.NAME).exists():
        raise KeyUnusable(
            f"the data key of {folder} is gone: nobody can read what is there, nor salvage it",
            f"put {key_file.NAME} back from a copy of the folder; without one begin with an empty data_dir",
        )
    return Cipher([kept.key for kept in key_file.load(folder, wrapping)])


def _require_free(folder: Path) -> None:
    """Raise `StoreBusy` where an agent holds it."""
    path = folder / "LOCK"
    if not path.exists():
        return
    try:
        with path.open("r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreBusy(f"data folder {folder} is held by another process", "stop that agent") from error
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be opened: {error.strerror}", "see to the disk, or copy the folder"
        ) from error


def _linked(path: Path, to: Path) -> None:
    """Another name of a table, which never changes; else, or on another disk, a copy."""
    if path.suffix == ".sst":
        try:
            os.link(path, to)
            return
        except OSError:
            pass
    shutil.copyfile(path, to)


def _newest(rows: Rdict, key: bytes, older: bytes | None) -> bytes | None:
    """What stands under a key; what a table has of it where a lost one might say more. None for what was removed."""
    try:
        return cast("bytes | None", rows.get(key, read_opt=_unchecked()))
    except Exception:  # noqa: BLE001  # rocksdict raises plain Exception for all of RocksDB's errors; it is told already
        return older


def _unchecked() -> ReadOptions:
    options = ReadOptions()
    options.set_verify_checksums(False)
    return options


def _status(entry: RdictIter) -> Exception | None:
    try:
        entry.status()
    except Exception as error:  # noqa: BLE001  # rocksdict raises plain Exception for all of RocksDB's errors
        return error
    return None


def readable(
    rows: Rdict, prefix: bytes, trouble: Callable[[Exception], None]
) -> Generator[tuple[bytes, bytes], None, bytes | None]:
    """What can be read of the entries whose keys begin with `prefix`, in order; `trouble` is told of each damage that was passed.

    Returns the key behind which nothing can be read, however far; None where it came to the end.
    """
    start = prefix
    while True:
        entry, last = rows.iter(_unchecked()), start
        entry.seek(start)
        while entry.valid():
            last = cast("bytes", entry.key())
            if not last.startswith(prefix):
                return None
            yield last, cast("bytes", entry.value())
            entry.next()
        met = _status(entry)
        if met is None:
            return None
        trouble(met)
        behind = _behind(rows, last)
        if behind is None:
            return last
        start = behind


def _behind(rows: Rdict, last: bytes) -> bytes | None:
    """A key behind the damage that follows on `last`, from which can be read on; None where there is none."""
    low = int.from_bytes(last[:KEY_WIDTH].ljust(KEY_WIDTH, b"\0"))
    most = (1 << 8 * KEY_WIDTH) - 1

    def reads(number: int) -> bool:
        entry = rows.iter(_unchecked())
        entry.seek(number.to_bytes(KEY_WIDTH))
        return _status(entry) is None

    high = next(
        (low + (1 << bit) for bit in range(8 * KEY_WIDTH) if low + (1 << bit) <= most and reads(low + (1 << bit))), None
    )
    if high is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if reads(middle):
            high = middle
        else:
            low = middle
    return high.to_bytes(KEY_WIDTH)
