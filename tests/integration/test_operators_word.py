"""What an operator says reaches a device on a real broker: its permit ends and is renewed, its key is rotated, it is wiped and killed at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog.client.place import TokenAuth
from driftlog.testing.servers import RunningBroker
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.copies import Copy
from tests.integration.cli.shell import Shell
from tests.load.waiting import until

pytestmark = pytest.mark.broker


class Stand:
    """A cluster, a worker, and the agent of one device in a folder."""

    def __init__(self, shell: Shell, app: str, device: str) -> None:
        self.shell = shell
        self.app = app
        self.device = device
        self.identity = shell.folder / "id.json"
        self.data = shell.folder / "replica"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.running: list[Copy] = []

    def start(self, *words: str) -> Copy:
        log = self.shell.folder / f"{words[0]}-{len(self.running)}.log"
        self.running.append(self.shell.start(*words, "--app", self.app, log=log))
        return self.running[-1]

    def agent(self) -> Copy:
        """Returns at once."""
        where = ("--identity", "id.json", "--data-dir", "replica", "--scope", "s1", "--http-port", str(self.port))
        return self.start("edge", "run", *where)

    def ask(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"{self.url}{path}", auth=TokenAuth(self.data / "token"), timeout=5, trust_env=False)
        except httpx.TransportError:  # not listening
            return None

    def key(self, *words: str) -> dict[str, Any]:
        return dict(self.shell.run("edge", "key", *words, "--url", self.url, "--json").data)

    def status(self) -> dict[str, Any]:
        answer = self.ask("/v1/status")
        return dict(answer.json()) if answer is not None and answer.is_success else {}

    def do(self, key: str) -> dict[str, Any]:
        told = self.shell.run(
            "edge", "do", "receive", "store=s1", "sku=tea", "qty=1", "--key", key, "--url", self.url, "--json"
        )
        return dict(told.data)

    def became(self, key: str) -> str:
        answer = self.ask(f"/v1/commands/{key}")
        return str(answer.json().get("status")) if answer is not None else ""

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in self.shell.folder.glob("*.log"))

    def until(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        until(lambda: bool(condition()), what, seconds, self.logs)


@pytest.fixture
def stand(
    tmp_path: Path, broker: RunningBroker, registry_url: str, fresh_name: Callable[[str], str]
) -> Iterator[Stand]:
    shell = Shell(
        tmp_path,
        bootstrap=broker.bootstrap,
        registry=registry_url,
        schema_cache=str(tmp_path / "schema-cache"),
        encryption_key_file="edge.key",
    )
    shell.run("edge", "key", "new", "--out", "edge.key").assert_done()
    app = shell.declare(fresh_name("word").replace("-", "_"))
    shell.run("topics", "apply", "--app", app).assert_done()
    stand = Stand(shell, app, fresh_name("store"))
    try:
        yield stand
    finally:
        for process in stand.running:
            process.kill()
            process.wait()


def test_a_permit_ends_and_is_renewed_without_anybody_at_the_device(stand: Stand) -> None:
    stand.shell.run("devices", "enrol", stand.device, "--out", "id.json", "--valid", "1s").assert_done()
    stand.start("worker")
    stand.agent()
    stand.until(lambda: "the permit ended" in stand.status().get("problem", ""), "the agent knows that it ended")
    stand.do("late")
    stand.until(lambda: stand.ask("/v1/commands/late").json()["code"] == "expired", "the cloud puts it off")  # type: ignore[union-attr]
    stand.shell.run("devices", "renew", stand.device, "--valid", "3d").assert_done()
    stand.until(lambda: stand.became("late") == "merged", "it is merged as soon as the new permit counts", 90)
    assert "the permit ends in" in stand.status()["problem"]
    assert stand.status()["registered"]["version"] == 2


def test_a_rotated_key_goes_the_whole_way(stand: Stand) -> None:
    stand.shell.run("devices", "enrol", stand.device, "--out", "id.json").assert_done()
    stand.start("worker")
    agent = stand.agent()
    stand.until(lambda: stand.status().get("connection") == "ONLINE", "the agent is online")
    stand.do("under-the-old")
    stand.until(lambda: stand.became("under-the-old") == "merged", "the old key counts")
    stand.shell.run("devices", "rotate-key", stand.device, "--out", "new.json").assert_done()
    stand.until(lambda: "newest identity file" in stand.status()["problem"], "the agent knows that its key is over")
    stand.do("between")
    (stand.shell.folder / "new.json").replace(stand.identity)
    stand.until(lambda: stand.became("between") == "merged", "the running agent takes it up, and signs anew")
    assert agent.poll() is None
    assert stand.status()["problem"] == ""


def test_a_wipe_that_is_killed_in_the_middle_is_finished_by_the_next_start_and_confirmed(stand: Stand) -> None:
    stand.shell.run("devices", "enrol", stand.device, "--out", "id.json").assert_done()
    agent = stand.agent()
    stand.until(lambda: stand.status().get("registered"), "the agent knows its line")
    stand.do("lost")
    assert stand.status()["encryption"]["wrapped_by"]
    stand.key("rotate")
    stand.until(lambda: not stand.key("show")["rotating"], "all is under another data key")
    assert not [path for path in stand.data.iterdir() if path.is_file() and b"receive" in path.read_bytes()]
    big = stand.data / "big"  # so many files that the killing comes in between
    big.mkdir()
    for number in range(20_000):
        (big / str(number)).touch()
    stand.shell.run("devices", "wipe", stand.device).assert_done()
    stand.until((stand.data / "WIPED").exists, "the wipe has begun")
    agent.kill()
    agent.wait()
    again = stand.agent()
    assert again.wait(60) == 77, stand.logs()
    assert list(stand.data.iterdir()) == [stand.data / "WIPED"]
    assert not stand.identity.exists()
    (line,) = (d for d in stand.shell.run("devices", "list", "--json").data if d["device_id"] == stand.device)
    assert line["status"] == "wiped"
    (farewell,) = line["wiped"]
    assert farewell["unconfirmed_commands_lost"] == 1
    assert stand.agent().wait(60) == 77, "and it stays wiped"
    stand.shell.run("devices", "enrol", stand.device, "--out", "id.json").assert_done()
    assert Identity.load(stand.identity).device_id == stand.device
    stand.agent()
    stand.until(lambda: stand.status().get("pending") == 0, "a new enrolment begins a new replica in the same folder")
    stand.until(lambda: stand.status()["problem"] == "", "its line counts from a little later on")
