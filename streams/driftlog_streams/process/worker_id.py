"""Which worker this is: a name drawn once and kept in its data folder.

The consumer group knows a worker by that name, and a restarted one is let in again at once. Two workers under one name would take
each other's partitions away for ever, so the name follows from what two workers can never share: their data folder.

A folder may be copied, though, name and all: an image, a backup, a second host. So the file also says which file it is (its
inode); a copy is another one. The copied stores may be torn, for somebody may have written into them meanwhile, and are a cache: whoever finds
a copy draws a new name and begins anew beside them.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import structlog

from driftlog_streams.errors import SetupProblem

log = structlog.get_logger()

FILE = "worker.json"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_LENGTH = 8


def worker_id(data_dir: Path) -> str:
    """The name kept in this folder, drawn if there is none. Raises `SetupProblem` where the folder cannot be used."""
    path = data_dir / FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        found = _kept(path)
        if found is not None and found[1] != path.stat().st_ino:
            log.warning(
                "the data folder is a copy of another worker's; this one gets a name of its own",
                folder=str(data_dir),
                other=found[0],
                remedy=f"folders */{found[0]}* in it are no longer used: delete them",
            )
            path.unlink()
            found = None
        if found is None:
            _draw(path)
            found = _kept(path)
    except OSError as error:
        raise SetupProblem(
            f"data folder {data_dir} cannot be used: {error.strerror}", "give another --data-dir"
        ) from error
    if found is None:
        raise SetupProblem(f"{path} does not name a worker", "delete it: a new name is drawn")
    return found[0]


def _kept(path: Path) -> tuple[str, int] | None:
    try:
        content = json.loads(path.read_text())
        return str(content["id"]), int(content["inode"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SetupProblem(f"{path} does not name a worker", "delete it: a new name is drawn") from error


def _draw(path: Path) -> None:
    """Whole or not at all, and by one of several that come at once: the file is linked to its name when it is written."""
    draft = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
    name = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    try:
        with draft.open("x") as file:
            json.dump({"id": name, "inode": os.fstat(file.fileno()).st_ino}, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:  # another was quicker; its name is the folder's
            return
    finally:
        draft.unlink(missing_ok=True)
