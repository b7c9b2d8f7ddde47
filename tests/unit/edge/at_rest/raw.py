"""What lies in a folder that nobody holds, as it lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rocksdict import Options, Rdict

from driftlog_edge.errors import Damaged
from driftlog_edge.ports import Family
from driftlog_edge.store.cipher import Cipher


def _database(folder: Path) -> Rdict:
    options = Options(raw_mode=True)
    return Rdict(str(folder), options, {family.value: options for family in Family})


def raw(folder: Path) -> dict[tuple[Family, bytes], bytes]:
    """All values."""
    database = _database(folder)
    found = {(f, key): value for f in Family for key, value in database.get_column_family(f.value).items()}
    database.close()
    return found  # type: ignore[return-value]  # the library types raw values as any


def changed(folder: Path, change: Callable[[Rdict], None], family: Family = Family.META) -> None:
    """Change a family behind the agent's back."""
    database = _database(folder)
    change(database.get_column_family(family.value))
    database.close()


def opened_by(cipher: Cipher, folder: Path) -> int:
    """How many of the values there."""
    count = 0
    for (family, key), sealed in raw(folder).items():
        try:
            cipher.open(family, key, sealed)
            count += 1
        except Damaged:
            pass
    return count
