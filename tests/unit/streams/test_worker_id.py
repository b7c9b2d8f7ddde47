"""A worker's name: one per data folder, kept by it, not taken along by a copy."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftlog_streams.errors import SetupProblem
from driftlog_streams.process.worker_id import FILE, worker_id
from driftlog_streams.settings import WorkerSettings


def test_a_folder_keeps_its_workers_name(tmp_path: Path) -> None:
    name = worker_id(tmp_path / "new" / "folder")
    assert worker_id(tmp_path / "new" / "folder") == name
    assert WorkerSettings(app="shop:app", slot=name).slot == name
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE]


def test_two_folders_are_two_workers(tmp_path: Path) -> None:
    assert worker_id(tmp_path / "a") != worker_id(tmp_path / "b")


def test_a_copied_folder_is_another_worker(tmp_path: Path) -> None:
    name = worker_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other = worker_id(tmp_path / "b")
    assert other != name
    assert worker_id(tmp_path / "b") == other
    assert worker_id(tmp_path / "a") == name


def test_a_folder_that_was_moved_is_the_same_worker(tmp_path: Path) -> None:
    name = worker_id(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert worker_id(tmp_path / "b") == name


def test_who_comes_at_once_agrees(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(worker_id, [tmp_path / "a"] * 32))
    assert len(set(names)) == 1


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"id": "a"}), "[1]"])
def test_a_file_that_names_nobody_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(SetupProblem, match="does not name a worker") as refused:
        worker_id(tmp_path)
    assert "delete it" in refused.value.remedy


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupProblem, match="cannot be used"):
        worker_id(tmp_path / "file")
