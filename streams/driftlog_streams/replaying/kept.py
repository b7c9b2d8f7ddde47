"""A folder with what a command builds for long: where the command does not come to its end, the same command goes on in it.

What is in it is worth something only with all that it was made by (`MadeBy`), which is written down beside it. Where anything of that is another thing now, it is
said what, the folder is emptied, and everything begins anew. While a command lives its folder is locked (`scratch`); a second one at the same time keeps nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from driftlog_streams.replaying.scratch import locked, scratch

log = structlog.get_logger()

_MADE_BY = "made-by.json"
MadeBy = Mapping[str, Mapping[str, str]]
"""What it hangs on, in words: name -> value of each part of it. What has come since is no harm, what has changed or is gone is."""


@dataclass(slots=True)
class Kept:
    """The folder, and whether it is to stay although the command comes to its end."""

    folder: Path
    stays: bool = False


@contextmanager
def kept(kind: str, name: str, made_by: MadeBy) -> Iterator[Kept]:
    """The folder of this command, as it was left. It goes at the end, stays where that is an exception. Raises OSError."""
    folder = Path(tempfile.gettempdir()) / f"driftlog-kept-{kind}-{name}".replace("/", "_")  # as in the id of a topic
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        held = locked(folder)
    except OSError as error:
        log.info("nothing is kept for another attempt", folder=str(folder), error=error.strerror or str(error))
        with nothing_kept(kind) as other:
            yield other
        return
    try:
        _require(folder, made_by)
        found = Kept(folder)
        yield found
        if not found.stays:
            shutil.rmtree(folder)
    finally:
        os.close(held)


@contextmanager
def nothing_kept(kind: str) -> Iterator[Kept]:
    """A folder that goes with the command, however that ends. Raises OSError."""
    with scratch(kind) as folder:
        yield Kept(folder)


def _require(folder: Path, made_by: MadeBy) -> None:
    """What is in the folder was made by this; where it was not, the folder is empty now."""
    known = _known(folder)
    changed = None if known is None else _changed(known, made_by)
    if known is None or changed:
        if changed:
            log.warning("what an earlier attempt has left is not gone on with", folder=str(folder), changed=changed)
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
    fresh = folder / f"{_MADE_BY}.new"
    fresh.write_text(json.dumps(made_by))
    fresh.replace(folder / _MADE_BY)


def _known(folder: Path) -> MadeBy | None:
    """By what it was made; None where nothing tells that."""
    try:
        found = json.loads((folder / _MADE_BY).read_text())
    except (OSError, ValueError):  # never written, or not to its end
        return None
    return found if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()) else None


def _changed(known: MadeBy, now: MadeBy) -> list[str]:
    """What of it is another thing now."""
    both = {*known} & {*now}
    return [what for what in {**known, **now} if what not in both or not known[what].items() <= now[what].items()]
