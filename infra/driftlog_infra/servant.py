"""Whom a server runs as that refuses to run as root, and what that user can reach.

Who is root starts it as `nobody`. The data folder is that user's then; where a folder belongs to another user already, that one goes on. Files of
root's that lie behind a closed folder, as a cache under `/root` does, that user cannot run: they are copied.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from driftlog_infra.errors import FolderUnusable

_NOBODY = "nobody"
_OVERFLOW_ID = 65534
"""What Linux calls nobody where no such user is listed."""


class Servant(NamedTuple):
    """A user without rights of its own."""

    uid: int
    gid: int

    @classmethod
    def for_folder(cls, folder: Path) -> Self | None:
        """Who is to run a server over this folder; None for whoever we are, which is not root."""
        if os.geteuid() != 0:
            return None
        found = folder.stat()
        if found.st_uid != 0:
            return cls(found.st_uid, found.st_gid)
        try:
            listed = pwd.getpwnam(_NOBODY)
        except KeyError:
            return cls(_OVERFLOW_ID, _OVERFLOW_ID)
        return cls(listed.pw_uid, listed.pw_gid)

    def own(self, path: Path) -> None:
        """Give this user a file or a folder, without what is in it."""
        os.chown(path, self.uid, self.gid)

    def own_all(self, folder: Path) -> None:
        """Give this user a folder and all that is in it; what a link of it leads to stays whose it is."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command, run by this user."""
        return [sys.executable, "-m", "driftlog_infra.as_user", str(self.uid), str(self.gid), *command]

    def barred_by(self, path: Path) -> Path | None:
        """The first folder on the way to `path` that this user may not enter; None where all are open."""
        return next((folder for folder in reversed(path.resolve().parents) if not self._may_enter(folder)), None)

    def require_way_to(self, folder: Path, what: str) -> None:
        """Raise `FolderUnusable` unless this user can come to the folder."""
        closed = self.barred_by(folder)
        if closed is not None:
            raise FolderUnusable(
                f"{what} does not run as root, and user {self.uid}, as whom it is started, may not enter {closed}",
                "choose a data folder outside of it, or start it as another user than root",
            )

    def _may_enter(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))
