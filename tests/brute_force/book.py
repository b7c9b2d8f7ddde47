"""Which histories have been played to the end, so that a run that was cut off goes on where it stopped.

A history says the same whenever it is played, so what was played on this code need not be played on it again. A book is a file of lines: a
digest of the code that took part, and the name of what was played. Lines of other code say nothing, and stay.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PARTS = ("crdt/driftlog_crdt", "tests/brute_force", "tests/reference_model", "tests/properties")


class Book:
    """What was played on the code as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._code = code_digest()
        lines = path.read_text().splitlines() if path.exists() else []
        self._played = {name for code, _, name in (line.partition(" ") for line in lines) if code == self._code}

    def __contains__(self, name: str) -> bool:
        return name in self._played

    def add(self, name: str) -> None:
        """Write down, at once, that this was played."""
        self._played.add(name)
        with self._path.open("a") as file:
            file.write(f"{self._code} {name}\n")


def code_digest() -> str:
    """Of everything that has a say in what a history shows."""
    digest = hashlib.sha256()
    for part in _PARTS:
        for path in sorted((_ROOT / part).glob("*.py")):
            digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
