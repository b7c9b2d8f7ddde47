"""The file with a folder's data keys, and which of them seals.

There is always one: a value in a store is never in the clear. Without a wrapping key the file holds its keys as they are, mode 0600, so that a wipe needs
to destroy but this file; with one, who has the folder has nothing. Values are written under a key only when the file that names it is on the disk
with its folder, and a key leaves the file only when no value is under it any more; so there are two while values are rewritten.

The file is replaced whole. What it held before is overwritten where it lay, as far as the disk lets anybody do that; the same is done when it is
destroyed, and from then on no other is written (`close`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from driftlog_edge.errors import DiskFull, KeyUnusable
from driftlog_edge.store.cipher import ID_BYTES, KEY_BYTES, Cipher, DataKey
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_schemas import private_file
from driftlog_schemas.errors import IdentityProblem

NAME = "DATA_KEY"
"""In a data folder. RocksDB passes over files that are not its own."""
_WHAT = "key file"
_DAY_MS = 24 * 3600 * 1000


class Kept(NamedTuple):
    """One data key, and how the file holds it."""

    key: DataKey
    made_ms: int
    by: str
    """The fingerprint of the key that wraps it; empty if none does."""
    held: str

    @classmethod
    def new(cls, now_ms: int, wrapping: Sequence[WrappingKey]) -> Kept:
        key = DataKey.draw()
        held, by = (wrapping[0].wrap(key), wrapping[0].fingerprint) if wrapping else (key.secret, "")
        return cls(key, now_ms, by, base64.b64encode(held).decode())

    def facts(self) -> dict[str, Any]:
        return {"id": self.key.id.hex(), "made_ms": self.made_ms, "wrapped_by": self.by, "key": self.held}


class KeyFile:
    """The data keys of an open folder."""

    def __init__(self, folder: Path, kept: Sequence[Kept], wrapping: Sequence[WrappingKey]) -> None:
        self._folder = folder
        self._kept = list(kept)
        self._wrapping = tuple(wrapping)
        self._turn = Lock()
        self._closed = False
        self.cipher = Cipher([one.key for one in kept])
        """Keys that have left the file open what an earlier look at the store still reads; they go with the process."""

    @classmethod
    def of(cls, folder: Path, wrapping: Sequence[WrappingKey], now_ms: int, is_empty: Callable[[], bool]) -> KeyFile:
        """Those of a folder that this process holds; one with an empty store gets its first. Raises `KeyUnusable`, `DiskFull`."""
        if (folder / NAME).exists():
            return cls(folder, load(folder, wrapping), wrapping)
        if not is_empty():
            raise KeyUnusable(
                f"the data key of {folder} is gone: nobody can read what is there",
                f"put {NAME} back from a copy of the folder, or give an empty data_dir",
            )
        keys = cls(folder, [Kept.new(now_ms, wrapping)], wrapping)
        keys._save(keys._kept)
        return keys

    @property
    def newest(self) -> Kept:
        return self._kept[0]

    @property
    def rotating(self) -> bool:
        """May values be under another than the newest?"""
        return len(self._kept) > 1

    def due(self, now_ms: int, days: float) -> bool:
        """Is it time for another key: is this one old, or not wrapped by the key that wraps now? 0 days: it does not get old."""
        wraps = self._wrapping[0].fingerprint if self._wrapping else ""
        return self.newest.by != wraps or 0 < days * _DAY_MS <= now_ms - self.newest.made_ms

    def begin(self, now_ms: int, wrapping: Sequence[WrappingKey]) -> None:
        """A new key seals from now on, durably. Blocking. Raises `KeyUnusable`, `DiskFull`; then all is as before."""
        with self._turn:
            if self.newest.by and not wrapping:
                raise KeyUnusable("no wrapping key is set, and the data key is wrapped", "set encryption_key_file")
            kept = [Kept.new(now_ms, wrapping), *self._kept]
            self._save(kept)
            self._wrapping = tuple(wrapping)
            self._use(kept)

    def finish(self) -> None:
        """No value is under an older key: they leave the disk. Blocking. Raises as `begin`; then they may be there still."""
        with self._turn:
            self._save(self._kept[:1])
            self._clear()
            del self._kept[1:]

    def close(self) -> None:
        """No other file is written from now on: what was there is to be destroyed."""
        with self._turn:
            self._closed = True

    def _use(self, kept: list[Kept]) -> None:
        self._kept = kept
        self.cipher = Cipher([one.key for one in kept])

    def _save(self, kept: Sequence[Kept]) -> None:
        if self._closed:
            raise KeyUnusable("the folder is being erased", "nothing is to be done")
        path = self._folder / NAME
        facts = {"format": 1, "keys": [one.facts() for one in kept]}
        try:
            before = path.open("r+b", buffering=0) if path.exists() else None
            with nullcontext() if before is None else before:
                private_file.save(path, _WHAT, facts)
                if before is not None:
                    private_file.overwrite(before.fileno())
        except (IdentityProblem, OSError) as error:
            raise DiskFull(f"the key file cannot be written: {error}", "free space, or see to the disk") from error

    def _clear(self) -> None:
        """What writes of the key file have left that were cut off."""
        try:
            for path in files_in(self._folder):
                if path.name != NAME:
                    with path.open("r+b", buffering=0) as file:
                        private_file.overwrite(file.fileno())
                    path.unlink()
        except OSError as error:
            raise DiskFull(f"{path} cannot be erased: {error.strerror}", "erase it by hand: it holds keys") from error


def files_in(folder: Path) -> list[Path]:
    """Every file of a folder that may hold its data keys: a cut-off write leaves a second, a cut-off wipe one under another name."""
    return sorted(folder.glob(f"*{NAME}*"))


def load(folder: Path, wrapping: Sequence[WrappingKey]) -> list[Kept]:
    """The newest first. Raises `KeyUnusable`, whatever is in the file."""
    path = folder / NAME
    remedy = f"put {NAME} back from a copy of the folder"
    try:
        facts = private_file.load(path, _WHAT, remedy)
        if facts["format"] != 1:
            raise ValueError(f"its format is {facts['format']!r}")
        kept = [_kept(one, wrapping, path) for one in facts["keys"]]
        if not kept:
            raise ValueError("it holds no key")
    except IdentityProblem as error:
        raise KeyUnusable(str(error), error.remedy) from error
    except (KeyError, TypeError, ValueError) as error:
        raise KeyUnusable(f"{path} cannot be read: {error}", remedy) from error
    return kept


def _kept(facts: dict[str, Any], wrapping: Sequence[WrappingKey], path: Path) -> Kept:
    id, held, by = bytes.fromhex(facts["id"]), base64.b64decode(facts["key"], validate=True), str(facts["wrapped_by"])
    key: DataKey | None = DataKey(id, held)
    if by:
        key = _unwrapped(id, held, by, wrapping, path)
    if key is None or (len(key.id), len(key.secret)) != (ID_BYTES, KEY_BYTES):
        raise ValueError(f"data key {facts['id']} is damaged")
    if type(facts["made_ms"]) is not int:
        raise ValueError(f"made_ms of data key {facts['id']} is no number")
    return Kept(key, facts["made_ms"], by, facts["key"])


def _unwrapped(id: bytes, held: bytes, by: str, wrapping: Sequence[WrappingKey], path: Path) -> DataKey | None:
    """None if what is held is damaged. Raises `KeyUnusable` without the key that wrapped it."""
    if not wrapping:
        raise KeyUnusable(
            f"{path} is wrapped by key {by}, and no wrapping key is set",
            "set encryption_key_file, encryption_key or encryption_key_command",
        )
    for one in wrapping:
        if one.fingerprint == by:
            return one.unwrap(id, held)
    given = ", ".join(one.fingerprint for one in wrapping)
    raise KeyUnusable(
        f"{path} is wrapped by key {by}, and the wrapping key that is set is another: {given}",
        "give the key that it was wrapped with; below a new one, in a line of its own, where that is to take its place",
    )
