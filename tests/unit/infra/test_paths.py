"""Folders with any name: what a server is told of them is read as it stands, or the folder is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driftlog_infra import EmbeddedBroker, EmbeddedPostgres
from driftlog_infra.errors import FolderUnusable
from driftlog_infra.java import class_path, java
from driftlog_infra.properties import in_ascii, path_value
from driftlog_infra.registry import EmbeddedRegistry
from driftlog_infra.server import EmbeddedServer


def read_by_java(line: str) -> str:
    """The value of one line, by the rules of `java.util.Properties.load`."""
    value = line.partition("=")[2]
    escape = re.compile(r"\\(?:u([0-9a-f]{4})|(.))")
    plain = escape.sub(lambda found: chr(int(found[1], 16)) if found[1] else {"n": "\n"}.get(found[2], found[2]), value)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16")


@pytest.mark.parametrize("name", ["müller", "a b", "a\\b", "a\\u0041", "дом", "😀", "a\nb", "it's #1! = 2: 3"])
def test_a_path_in_a_properties_file_is_read_as_it_stands(name: str) -> None:
    line = in_ascii(f"log.dirs={path_value(Path('/home') / name)}")
    assert line.isascii() and "\n" not in line
    assert read_by_java(line) == f"/home/{name}"


@pytest.mark.parametrize(
    ("server", "name"),
    [(EmbeddedBroker, "a,b"), (EmbeddedRegistry, "a;b"), (EmbeddedRegistry, "a\\b"), (EmbeddedPostgres, "a$b")],
)
def test_a_folder_that_a_server_would_misread_is_refused_before_anything_is_made(
    server: type[EmbeddedServer], name: str, tmp_path: Path
) -> None:
    with pytest.raises(FolderUnusable, match=re.escape(f"misreads the character {name[1]} in {tmp_path}")) as refused:
        server(tmp_path / name).start()
    assert refused.value.remedy == f"choose a data folder without {name[1]}"
    assert not (tmp_path / name).exists()


def test_a_cache_whose_name_would_divide_the_class_path_is_refused() -> None:
    assert class_path([Path("/a/x.jar"), Path("/a/y.jar")]) == "/a/x.jar:/a/y.jar"
    with pytest.raises(FolderUnusable, match=r"takes ':' in '/a:b/x\.jar'") as refused:
        class_path([Path("/a:b/x.jar")])
    assert "DRIFTLOG_CACHE" in refused.value.remedy


@pytest.mark.parametrize(("insisted", "told"), [("C", True), ("POSIX", True), ("de_DE.UTF-8", False), (None, False)])
def test_java_is_told_of_unicode_where_the_locale_is_plain(
    insisted: str | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LC_ALL", raising=False)
    if insisted is not None:
        monkeypatch.setenv("LC_ALL", insisted)
    assert (java("-version")[:2] == ["env", "LC_ALL=C.UTF-8"]) is told
