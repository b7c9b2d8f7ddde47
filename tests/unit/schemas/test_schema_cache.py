"""The disk copy of schemas: whole or not there, and never in the way."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from driftlog_schemas.schema_cache import SchemaCache

URL = "http://registry:8081"


@pytest.fixture
def cache(tmp_path: Path) -> SchemaCache:
    return SchemaCache(tmp_path / "schemas", URL)


@pytest.fixture
def nowhere(tmp_path: Path) -> SchemaCache:
    """A cache whose place is taken by a file."""
    (tmp_path / "taken").write_text("mine")
    return SchemaCache(tmp_path / "taken" / "schemas", URL)


def test_what_was_kept_is_loaded_by_the_next_process(cache: SchemaCache, tmp_path: Path) -> None:
    cache.keep(7, "seven")
    cache.keep(8, "eight")
    assert sorted(SchemaCache(tmp_path / "schemas", URL).load()) == [(7, "seven"), (8, "eight")]


def test_keeping_again_changes_nothing(cache: SchemaCache, tmp_path: Path) -> None:
    cache.keep(7, "seven")
    cache.keep(7, "seven")
    assert len(list((tmp_path / "schemas").iterdir())) == 1


def test_the_latest_id_of_a_schema_comes_last(cache: SchemaCache, tmp_path: Path) -> None:
    cache.keep(7, "same")
    cache.keep(3, "same")
    for path in (tmp_path / "schemas").iterdir():
        age = 2_000_000_000 if json.loads(path.read_text())["id"] == 7 else 1_000_000_000
        os.utime(path, (age, age))
    assert list(cache.load()) == [(3, "same"), (7, "same")]


def test_another_registrys_schemas_are_not_ours(cache: SchemaCache, tmp_path: Path) -> None:
    SchemaCache(tmp_path / "schemas", "http://other:8081").keep(7, "theirs")
    cache.keep(7, "ours")
    assert list(cache.load()) == [(7, "ours")]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 100_000, b'{"id": 7}', b'{"id": true, "schema": "", "url": ""}'],
)
def test_a_file_that_cannot_be_read_is_passed_over(cache: SchemaCache, tmp_path: Path, content: bytes) -> None:
    cache.keep(7, "seven")
    (tmp_path / "schemas" / "spoiled.json").write_bytes(content)
    assert list(cache.load()) == [(7, "seven")]


def test_files_of_others_are_left_alone(cache: SchemaCache, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "notes.txt").write_text("mine")
    (tmp_path / "schemas" / "folder.json").mkdir()
    assert list(cache.load()) == []
    assert (tmp_path / "schemas" / "notes.txt").read_text() == "mine"


def test_a_half_written_file_of_a_dead_process_is_not_read(cache: SchemaCache, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / ".tmp1234").write_text('{"id": 7')
    assert list(cache.load()) == []


def test_a_cache_that_cannot_be_written_is_not_in_the_way(nowhere: SchemaCache, tmp_path: Path) -> None:
    nowhere.keep(7, "seven")
    assert list(nowhere.load()) == []
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_vanished_is_made_again(cache: SchemaCache, tmp_path: Path) -> None:
    cache.keep(7, "seven")
    shutil.rmtree(tmp_path / "schemas")
    cache.keep(8, "eight")
    assert list(cache.load()) == [(8, "eight")]


def test_nothing_is_made_before_there_is_something_to_keep(cache: SchemaCache, tmp_path: Path) -> None:
    assert list(cache.load()) == []
    assert list(tmp_path.iterdir()) == []
