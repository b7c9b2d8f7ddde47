"""What Kafka wrote into one folder is laid into the next, with a number and an id of its own; what is damaged or of another Kafka is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftlog_infra import formatted
from driftlog_infra.formatted import BOOTSTRAP, META

WRITTEN = "#\n#Sat Nov 28 08:45:43 UTC 2026\ncluster.id=c\ndirectory.id=dVL1Yr3j64TKet5cg6IFDA\nnode.id=1\nversion=1\n"
FEATURES = bytes(range(256))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTLOG_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "kafka"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def by_kafka(tmp_path: Path) -> Path:
    folder = tmp_path / "by-kafka"
    folder.mkdir()
    (folder / META).write_text(WRITTEN)
    (folder / BOOTSTRAP).write_bytes(FEATURES)
    return folder


def meta(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / META).read_text().splitlines())


@pytest.mark.usefixtures("cache")
def test_what_kafka_wrote_is_laid_with_a_number_and_an_id_of_the_folders_own(by_kafka: Path, tmp_path: Path) -> None:
    formatted.keep("kafka", by_kafka)
    for node in (1, 3):
        assert formatted.lay("kafka", tmp_path / f"node-{node}", node)
    first, third = meta(tmp_path / "node-1"), meta(tmp_path / "node-3")
    assert len({first.pop("directory.id"), third.pop("directory.id"), "dVL1Yr3j64TKet5cg6IFDA"}) == 3
    assert first == {"cluster.id": "c", "version": "1", "node.id": "1"}
    assert third == {**first, "node.id": "3"}
    assert (tmp_path / "node-3" / BOOTSTRAP).read_bytes() == FEATURES


def test_nothing_is_laid_before_something_is_kept(cache: Path, tmp_path: Path) -> None:
    assert not formatted.lay("kafka", tmp_path / "new", 1)
    assert not (tmp_path / "new").exists() and not list(cache.iterdir())


@pytest.mark.parametrize("left", [b"", b"\0" * 300, b'{"properties": {"version": "1"}'], ids=["empty", "zeros", "torn"])
def test_what_is_damaged_is_not_laid_and_is_kept_anew(cache: Path, by_kafka: Path, tmp_path: Path, left: bytes) -> None:
    formatted.keep("kafka", by_kafka)
    (kept,) = cache.iterdir()
    kept.write_bytes(left)
    assert not formatted.lay("kafka", tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()
    formatted.keep("kafka", by_kafka)
    assert formatted.lay("kafka", tmp_path / "new", 1)


@pytest.mark.usefixtures("cache")
def test_another_kafka_formats_for_itself(by_kafka: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formatted.keep("kafka", by_kafka)
    monkeypatch.setattr(formatted, "pinned", lambda server: [])
    assert not formatted.lay("kafka", tmp_path / "new", 1)


def test_a_folder_with_more_than_is_known_here_is_not_kept(cache: Path, by_kafka: Path) -> None:
    (by_kafka / "__cluster_metadata-0").mkdir()
    formatted.keep("kafka", by_kafka)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_hurts_nobody(by_kafka: Path, cache: Path, tmp_path: Path) -> None:
    cache.rmdir()
    formatted.keep("kafka", by_kafka)
    assert not formatted.lay("kafka", tmp_path / "new", 1)
