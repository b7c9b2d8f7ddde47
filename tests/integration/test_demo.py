"""The demo leaves nothing behind, however it ends: no process, no private key."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

MARK = "DRIFTLOG_TEST_MARK"


class Demo:
    """A demo with a temporary folder of its own; its processes are known by a mark in their environment."""

    def __init__(self, folder: Path, out: IO[bytes], *arguments: str) -> None:
        self.folder = folder
        self._mark = f"{MARK}={uuid.uuid4()}".encode()
        self._out = Path(out.name)
        name, _, value = self._mark.decode().partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "driftlog", "demo", *arguments],
            env={**os.environ, name: value, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def told(self) -> str:
        return self._out.read_text()

    def commands(self) -> list[str]:
        """What of it runs, the demo itself and its grandchildren included."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and self._mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except (FileNotFoundError, ProcessLookupError, PermissionError):  # just ended, or somebody else's
                continue
        return [command for command in found if command]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may come to: root runs PostgreSQL as another one, who may not enter pytest's own."""
    with tempfile.TemporaryDirectory(prefix="driftlog-demo-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.deep
def test_a_demo_that_is_ended_leaves_nothing(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    with (tmp_path / "out").open("wb") as out:
        demo = Demo(folder, out)
        with demo.process as process:
            until(lambda: "goods arrive" in demo.told().lower(), "the day begins", 90, demo.told)
            for part in ("kafka.Kafka", "quarkus-run", "driftlog_streams.process.worker", "edge run"):
                until(lambda part=part: any(part in command for command in demo.commands()), part, 90, demo.told)
            assert list(folder.rglob("*.identity.json"))
            process.send_signal(number)
            assert process.wait(60) != 0
    until(lambda: not demo.commands(), "nothing of it runs", 90, lambda: str(demo.commands()))
    until(lambda: not list(folder.iterdir()), "its folder is empty", 90, lambda: str(list(folder.rglob("*"))))


def test_a_day_that_is_kept_open_ends_in_sql_shows_its_conflict_and_leaves_nothing_either(
    reachable: Path, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("wb") as out:
        demo = Demo(reachable, out, "--json", "--console", "--sql")
        with demo.process as process:
            until(lambda: "Ctrl-C ends it" in demo.told(), "the console is there", 240, demo.told)
            url, token = (found[1] for found in re.finditer(r"(?:is at|sign in with) (\S+)", demo.told()))
            headers = {"authorization": f"Bearer {token}", "accept": "text/html"}
            inbox = httpx.get(f"{url}inbox", headers=headers, timeout=30)
            assert "Stock tea" in inbox.text
            process.send_signal(signal.SIGINT)
            assert process.wait(90) == 0, demo.told()
    day, _ = json.JSONDecoder().raw_decode(demo.told(), demo.told().index("{\n"))
    assert day["agree"] is True
    stores, _, undecided, _ = day["sql"]
    assert [row[:3] for row in stores["rows"]] == [["store-1", 2, "51"], ["store-2", 1, "24"]]
    assert [row[:2] for row in undecided["rows"]] == [["store-1", "tea"]]
    assert demo.commands() == []
    assert list(reachable.iterdir()) == []


def test_a_demo_that_fails_keeps_its_logs_and_no_key(folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        demo = Demo(folder, out)
        with demo.process as process:
            until(lambda: "goods arrive" in demo.told().lower(), "the day begins", 90, demo.told)
            (agent, *_) = [pid for pid in _pids(process.pid) if b"head-office" in _command(pid)]
            os.kill(agent, signal.SIGKILL)
            assert process.wait(120) == 1
    assert "error: " in demo.told()
    assert demo.commands() == []
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left
    assert [path for path in left if path.suffix != ".log"] == []


def _pids(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
