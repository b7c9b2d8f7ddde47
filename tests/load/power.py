"""The power of an agent, cut: its process is gone, and so is what its disk had not promised to keep.

A library preloaded into the agent (`synced.c`) keeps book of every sync that succeeded. After a SIGKILL the agent's files are cut back to that: a file ends
where it was synced last, or anywhere between there and where it ended, for some of the rest may have reached the disk; and a file whose folder was not synced
since it got its name is gone. More than a disk may do: what was deleted or renamed without a sync of the folder does not come back.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.load.edges import EdgeProcess
from tests.load.preloaded import preload

SOURCE = Path(__file__).with_name("synced.c")


class Power:
    """Feeds one agent, which must not have been started yet. Skips the test where nothing compiles C."""

    def __init__(self, edge: EdgeProcess, chance: random.Random) -> None:
        self._edge = edge
        self._book = edge.replica.parent / "synced.book"
        self._chance = chance
        preload(edge, SOURCE, {"DRIFTLOG_TEST_SYNCED": str(self._book)})

    def cut(self) -> int:
        """Kill the agent and drop what was not synced; how many bytes that were."""
        self._edge.kill()
        sizes, folders = _read(self._book)
        dropped = 0
        for path in sorted(path for path in self._edge.replica.rglob("*") if path.is_file()):
            found = path.stat()
            if path.name not in folders.get(path.parent.stat().st_ino, ()):
                dropped += found.st_size
                path.unlink()
                continue
            kept = min(found.st_size, sizes.get(found.st_ino, 0))
            if self._chance.random() < 0.5:
                kept = self._chance.randint(kept, found.st_size)
            dropped += found.st_size - kept
            with path.open("r+b") as file:
                file.truncate(kept)
        return dropped


def _read(book: Path) -> tuple[dict[int, int], dict[int, set[str]]]:
    """Inode -> bytes of it that are on the disk; inode of a folder -> the names that are."""
    sizes: dict[int, int] = {}
    folders: dict[int, set[str]] = {}
    for line in book.read_text().splitlines():
        kind, inode, *rest = line.split(" ", 2)
        match kind:
            case "F":
                sizes[int(inode)] = max(int(rest[0]), sizes.get(int(inode), 0))
            case "D":
                folders[int(inode)] = set(rest[0].split("/")[1::2])
            case "U":
                sizes.pop(int(inode), None)
    return sizes, folders
