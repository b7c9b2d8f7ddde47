"""The notes that running agents leave in the user's cache folder.

Each says on which port an agent listens, and where its token file is. So the commands that talk to an agent on this machine need no
option for what its owner may read anyway; a note holds no secret, and the file's mode decides. An agent's own process imports this,
so no HTTP client belongs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftlog_schemas.home import home


@contextmanager
def noted(port: int, token_file: Path) -> Iterator[None]:
    """While this lasts, who runs a command on this machine finds the agent's token. Without a place for it, nobody does."""
    note = notes() / str(port)
    try:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(str(token_file.absolute()))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def notes() -> Path:
    """Where they are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "driftlog" / "agents"
