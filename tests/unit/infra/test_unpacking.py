"""Archives stay in their folder, with Python's own filter and on a Python that has none (3.11.2, Debian 12's)."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from driftlog_infra.errors import FetchFailed
from driftlog_infra.unpacking import unpack


@pytest.fixture(params=["with a filter", "without"], autouse=True)
def filters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    elif not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python has no filters")


Add = Callable[[tarfile.TarFile], None]


def archive(folder: Path, *adds: Add) -> Path:
    path = folder / "server.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for add in adds:
            add(tar)
    return path


def file(name: str, content: bytes = b"jar", mode: int = 0o644) -> Add:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.uid = len(content), mode, 12345
        tar.addfile(member, io.BytesIO(content))

    return add


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Add:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)

    return add


def folder(name: str) -> Add:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(member)

    return add


def test_what_a_server_consists_of_comes_out(tmp_path: Path) -> None:
    packed = archive(tmp_path, folder("app"), file("app/run.jar"), file("app/run.sh", b"#!", 0o755))
    unpack(packed, tmp_path / "out")
    assert (tmp_path / "out/app/run.jar").read_bytes() == b"jar"
    assert (tmp_path / "out/app/run.sh").stat().st_mode & 0o777 == 0o755


def test_a_library_keeps_its_names(tmp_path: Path) -> None:
    unpack(archive(tmp_path, file("lib/it.so.1"), link("lib/it.so", "it.so.1")), tmp_path / "out")
    assert (tmp_path / "out/lib/it.so").read_bytes() == b"jar"


def test_a_jar_is_unpacked_to_the_tar_in_it(tmp_path: Path) -> None:
    packed = archive(tmp_path, file("bin/server")).rename(tmp_path / "programs.txz")
    with zipfile.ZipFile(tmp_path / "server.jar", "w") as jar:
        jar.write(packed, packed.name)
    unpack(tmp_path / "server.jar", tmp_path / "out")
    assert (tmp_path / "out/bin/server").read_bytes() == b"jar"


@pytest.mark.parametrize("names", [[], ["one.txz", "two.txz"]])
def test_a_jar_without_its_one_tar_is_refused(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "server.jar", "w") as jar:
        for name in names:
            jar.writestr(name, b"")
    with pytest.raises(FetchFailed, match=r"cannot unpack server\.jar"):
        unpack(tmp_path / "server.jar", tmp_path / "out")


def test_nothing_is_given_more_rights_than_it_needs(tmp_path: Path) -> None:
    unpack(archive(tmp_path, file("run.sh", mode=0o6777)), tmp_path / "out")
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize(
    "bad",
    [
        [file("../outside")],
        [file("app/../../outside")],
        [link("way", ".."), file("way/outside")],
        [link("way", "/etc/passwd")],
        [link("app/way", "../../outside", tarfile.LNKTYPE)],
        [link("device", "", tarfile.CHRTYPE)],
        [link("pipe", "", tarfile.FIFOTYPE)],
    ],
)
def test_what_would_leave_the_folder_is_refused(tmp_path: Path, bad: list[Add]) -> None:
    before = sorted(tmp_path.iterdir())
    packed = archive(tmp_path, file("run.jar"), *bad)
    with pytest.raises(FetchFailed, match=r"cannot unpack server\.tar\.gz"):
        unpack(packed, tmp_path / "out")
    left = {path for path in tmp_path.iterdir() if path not in before}
    assert left == {packed, tmp_path / "out"}


def test_a_name_from_the_root_stays_inside_or_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "outside"
    packed = archive(tmp_path, file(str(target)))
    with suppress(FetchFailed):
        unpack(packed, tmp_path / "out")
    assert not target.exists()
