"""Unpacking an archive so that nothing in it reaches outside its folder, on every Python that we support.

The archives are pinned by checksum, so this is the second lock on that door. `tarfile` has filters for it, but not everywhere: they came
with Python 3.12 and with 3.11.4, and Debian 12's own Python is 3.11.2. There the same is done by a narrower rule: plain
files and folders only, with relative names that lead nowhere else, and with no more rights than the owner needs.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from driftlog_infra.errors import FetchFailed

_OWNER_MAY, _EXECUTABLE = 0o600, 0o100


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive into a folder of its own. Raises OSError, `FetchFailed` for a member that would leave it."""
    with tarfile.open(archive) as tar:
        try:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(target, filter="data")
            else:
                tar.extractall(target, members=_plain_members(tar))
        except tarfile.TarError as error:
            raise FetchFailed(f"cannot unpack {archive.name}: {error}", "delete it and fetch it again") from error


def _plain_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise tarfile.ExtractError(f"{member.name!r} would be written outside its folder")
        if not (member.isreg() or member.isdir()):
            raise tarfile.ExtractError(f"{member.name!r} is neither a file nor a folder")
        member.mode = member.mode & 0o755 | _OWNER_MAY | (_EXECUTABLE if member.isdir() else 0)
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        yield member
