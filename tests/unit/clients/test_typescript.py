"""The TypeScript client: its types are those of the agent's API, it compiles strictly, and it does what it says against an agent that is killed under it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from driftlog_infra.artifacts import cache_dir
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load.waiting import until

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "clients/typescript"
AWAY = ("ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "ECONNREFUSED", "ENETUNREACH")
"""What npm says without a network."""
SECONDS = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("node", "npm"))),
        reason="the TypeScript client needs node and npm, which are not here",
    ),
]


def done(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command said, also one that does not end: then what it had said until it was stopped is what is needed to know why."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # npm's children would hold the pipes open
            out, err = process.communicate()
            raise AssertionError(f"{command} did not end in {SECONDS} s:\n{out[-6000:]}{err[-3000:]}") from None
    return subprocess.CompletedProcess(command, process.returncode, *said)


def driftlog(*arguments: str) -> None:
    path = os.pathsep.join([str(ROOT / "examples/retail"), *sys.path])
    found = done(sys.executable, "-m", "driftlog", *arguments, cwd=ROOT, PYTHONPATH=path)
    assert found.returncode == 0, found.stderr


@pytest.fixture(scope="module")
def modules() -> Path:
    """What the client is built with, as its lock says: fetched once for all runs."""
    lock = (CLIENT / "package-lock.json").read_bytes()
    kept = cache_dir() / "typescript" / hashlib.sha256(lock).hexdigest()[:16]
    if not kept.exists():
        made = kept.with_name(f"{kept.name}.{os.getpid()}")
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(CLIENT / name, made)
        found = done("npm", "ci", cwd=made)
        if any(word in found.stderr for word in AWAY):
            shutil.rmtree(made)
            pytest.skip("what the TypeScript client is built with was never fetched here, and npm has no network")
        assert found.returncode == 0, found.stderr
        try:
            made.rename(kept)
        except OSError:  # another run was faster
            shutil.rmtree(made)
    return kept / "node_modules"


@pytest.fixture(scope="module")
def built(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client with types that are generated now, compiled with its tests."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "generated"))
    (folder / "node_modules").symlink_to(modules)
    driftlog("edge", "openapi", "--out", str(folder / "openapi.json"))
    driftlog("edge", "openapi", "--app", "shop:app", "--out", str(folder / "test/shop.json"))
    for script in ("generate", "generate:test", "build"):
        found = done("npm", "run", script, cwd=folder)
        assert found.returncode == 0, found.stdout + found.stderr
    return folder


class Kept:
    """An agent that is started again whenever it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._over = folder, free_port(), Event()
        Identity.create("store-1").save(folder / "id.json")
        self._thread = Thread(target=self._keep)
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Kept]:
        self._thread.start()
        try:
            until((self.folder / "replica/token").exists, "the agent has a token", 60)
            yield self
        finally:
            self._over.set()
            while self._thread.is_alive():
                if self._process is not None:
                    self._process.kill()
                self._thread.join(1)

    def _keep(self) -> None:
        command = [
            *(sys.executable, "-m", "driftlog", "edge", "run", "--app", "shop:app", "--scope", "s1"),
            *("--data-dir", str(self.folder / "replica"), "--identity", str(self.folder / "id.json")),
            *("--http-port", str(self.port), "--bootstrap", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "examples/retail"), *sys.path])}
        while not self._over.is_set():
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
            (self.folder / "pid").write_text(str(self._process.pid))
            self._process.wait()


def test_its_types_are_those_of_the_agents_api(built: Path) -> None:
    now = (built / "src/generated/agent.ts").read_text()
    assert now == (CLIENT / "src/generated/agent.ts").read_text(), "they are out of date: make typescript"


def test_its_lock_names_no_place_to_fetch_from() -> None:
    assert '"resolved"' not in (CLIENT / "package-lock.json").read_text()


def test_it_does_what_it_says_against_an_agent_that_is_killed_under_it(built: Path, tmp_path: Path) -> None:
    with Kept(tmp_path).running() as agent:
        found = done(
            *("npm", "test"),
            cwd=built,
            EDGE_URL=f"http://127.0.0.1:{agent.port}",
            EDGE_TOKEN_FILE=str(tmp_path / "replica/token"),
            EDGE_PID_FILE=str(tmp_path / "pid"),
        )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr
    assert "# fail 0" in found.stdout and "# skipped 0" in found.stdout
