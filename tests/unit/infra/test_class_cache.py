"""The cache of a server's classes: learned by one clean life, read by the next start, good for one Java, its files and its flags."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from driftlog_infra import class_cache
from driftlog_infra.errors import StartFailed
from driftlog_infra.server import EmbeddedServer

# Listens where it is told to; asked to end, it writes what it has learned where its flag says, as Java does.
LIFE = """
import signal, socket, sys
port, flags = int(sys.argv[1]), sys.argv[2:]
def end(*_):
    for flag in flags:
        if flag.startswith("-XX:AOTCacheOutput="):
            open(flag.partition("=")[2] + ".config", "w").close()
            open(flag.partition("=")[2], "w").write("classes")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        listener.accept()[0].close()
"""


class Stub(EmbeddedServer):
    what: ClassVar[str] = "stub"
    port_option: ClassVar[str] = "--port"
    artifact: ClassVar[str] = "kafka"
    log_name: ClassVar[str] = "stub"
    ready_seconds: ClassVar[float] = 60.0
    life = LIFE

    @property
    def address(self) -> str:
        return self.authority

    def fetch(self, *, quiet: bool) -> None:
        """Nothing to fetch."""

    def prepare(self) -> Sequence[str]:
        return [sys.executable, "-c", self.life, str(self.port), *self.class_flags]

    def answers(self) -> bool:
        return True


class StillBorn(Stub):
    life = "raise SystemExit(3)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Kafka's files, with a cache that was good for others."""
    monkeypatch.setenv("DRIFTLOG_CACHE", str(tmp_path))
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "0123456789abcdef.aot").write_text("of another Java")
    return folder


@pytest.fixture
def stub(cache: Path) -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_read_before_it_is_learned(cache: Path, stub: Stub) -> None:
    assert class_cache.reading("kafka") == stub.class_flags == []


def test_what_one_life_learned_the_next_one_reads_and_nothing_else_is_left(cache: Path, stub: Stub) -> None:
    class_cache.learn([stub])
    (kept,) = cache.iterdir()
    assert kept.read_text() == "classes"
    assert not stub.running
    with Stub() as following:
        assert following.class_flags == [f"-XX:AOTCache={kept}"]


def test_what_is_learned_is_not_learned_again(cache: Path, stub: Stub) -> None:
    class_cache.learn([stub])
    class_cache.learn([unneeded := StillBorn()])
    unneeded.close()


def test_other_flags_have_another_cache(cache: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    class_cache.learn([stub])
    monkeypatch.setattr(class_cache, "FLAGS", (*class_cache.FLAGS, "-XX:+UseParallelGC"))
    assert class_cache.reading("kafka") == []


def test_who_does_not_start_leaves_nothing(cache: Path) -> None:
    before = names(cache)
    server = StillBorn()
    with pytest.raises(StartFailed):
        class_cache.learn([server])
    assert names(cache) == before
    assert not server.folder.exists()


def test_who_is_killed_while_learning_leaves_nothing(cache: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(cache)
    monkeypatch.setattr(Stub, "end", lambda self, seconds: self.kill())
    class_cache.learn([stub])
    assert names(cache) == before
