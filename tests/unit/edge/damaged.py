"""Ways in which the files of a folder get damaged. Each is done to a copy of a folder as a kill leaves it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Damage: TypeAlias = Callable[[Path], None]


def copied(live: Path, to: Path, damage: Damage) -> Path:
    """The folder as it lies on the disk, whoever holds it, damaged."""
    shutil.copytree(live, to)
    damage(to)
    return to


def write_ahead_log(folder: Path) -> Path:
    return max(folder.glob("*.log"))


def largest_table(folder: Path) -> Path:
    return max(folder.glob("*.sst"), key=lambda path: path.stat().st_size)


def table(number: int) -> Callable[[Path], Path]:
    """One of them, in the order of their names."""
    return lambda folder: sorted(folder.glob("*.sst"))[number]


def manifest(folder: Path) -> Path:
    return max(folder.glob("MANIFEST-*"))


def current(folder: Path) -> Path:
    return folder / "CURRENT"


def cut(which: Callable[[Path], Path], part: float) -> Damage:
    """Only this part of it is left."""

    def damage(folder: Path) -> None:
        data = which(folder).read_bytes()
        which(folder).write_bytes(data[: int(len(data) * part)])

    return damage


def flipped(which: Callable[[Path], Path], *parts: float) -> Damage:
    """A byte is another, at each of these parts of its length."""

    def damage(folder: Path) -> None:
        data = bytearray(which(folder).read_bytes())
        for part in parts:
            data[int(len(data) * part)] ^= 0x55
        which(folder).write_bytes(data)

    return damage


def missing(which: Callable[[Path], Path]) -> Damage:
    return lambda folder: which(folder).unlink()


def empty(which: Callable[[Path], Path]) -> Damage:
    return cut(which, 0)


def nonsense(which: Callable[[Path], Path]) -> Damage:
    def damage(folder: Path) -> None:
        which(folder).write_bytes(b"no such thing\n" * 9)

    return damage


def followed_by(which: Callable[[Path], Path], more: bytes) -> Damage:
    """With bytes behind its end."""

    def damage(folder: Path) -> None:
        which(folder).write_bytes(which(folder).read_bytes() + more)

    return damage


KNOWN: dict[str, Damage] = {
    "log, a byte in the middle": flipped(write_ahead_log, 0.5),
    "log, a stranger's end": followed_by(write_ahead_log, bytes.fromhex("c1bca085abe9066a604983ce") * 100),
    "log, missing": missing(write_ahead_log),
    "table, cut": cut(largest_table, 0.5),
    "table, missing": missing(largest_table),
    "table, empty": empty(largest_table),
    "table, its end": flipped(largest_table, 0.9999),
    "manifest, a byte": flipped(manifest, 0.5),
    "manifest, cut": cut(manifest, 0.5),
    "manifest, cut late": cut(manifest, 0.96),
    "manifest, missing": missing(manifest),
    "manifest, empty": empty(manifest),
    "CURRENT, missing": missing(current),
    "CURRENT, empty": empty(current),
    "CURRENT, nonsense": nonsense(current),
}
"""What the next start finds out."""
LATER: dict[str, Damage] = {"table, bytes in the middle": flipped(largest_table, 0.3, 0.6)}
"""What is found out when it is read."""
