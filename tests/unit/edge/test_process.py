"""The agent as a process: it ends when told, with all that it answered on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from driftlog.client import Client
from driftlog.client.place import TokenAuth
from driftlog_edge.asking.watch import Change
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load.waiting import until

ROOT = Path(__file__).parents[3]


def agent(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "driftlog", "edge", "run", "--app", "shop:app", "--scope", "s1"),
        *("--data-dir", str(folder / "replica"), "--identity", str(folder / "id.json"), "--http-port", str(port)),
        *("--bootstrap", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "examples/retail"), *sys.path])}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stderr=log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_told_to_stop_it_ends_well_and_has_everything(tmp_path: Path, number: signal.Signals) -> None:
    Identity.create("store-1").save(tmp_path / "id.json")
    port = free_port()
    on_hand = []
    for _ in range(2):
        with (
            agent(tmp_path, port) as process,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", auth=TokenAuth(tmp_path / "replica/token"), trust_env=False
            ) as api,
        ):

            def answers(api: httpx.Client = api) -> bool:
                try:
                    return api.get("/healthz").is_success
                except httpx.TransportError:
                    return False

            until(answers, "the agent answers", 30)
            done = api.post("/v1/commands/receive", json={"store": "s1", "sku": "tea", "qty": 5})
            on_hand.append(done.json()["result"])
            process.send_signal(number)
            assert process.wait(60) == 0
    assert on_hand == [5, 10]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines), "nobody looks: it is for who collects"
    told = [line["event"] for line in lines if line.get("device") == "store-1"]
    assert told == ["agent runs", "agent ends"] * 2


KILLS, PER_LIFE = 3, 20


@pytest.mark.slow
def test_a_client_goes_on_over_kills_of_its_agent_and_each_command_counts_once(tmp_path: Path) -> None:
    """What got no answer it gives again under the same id; a watch goes on after what it was told last."""
    Identity.create("store-1").save(tmp_path / "id.json")
    port = free_port()
    token = tmp_path / "replica/token"
    watched: list[Change] = []

    def some(before: int) -> bool:
        return len(watched) > before

    def listen() -> None:
        with Client(f"http://127.0.0.1:{port}", token_file=token) as listener:
            for change in listener.watch("Stock", "s1"):
                watched.append(change)
                if change.document is not None and change.document.id == "end":
                    return

    def sell() -> list[int]:
        with Client(f"http://127.0.0.1:{port}", token_file=token) as till:
            tea = {"store": "s1", "sku": "tea", "qty": 1}
            return [till.run_with("receive", tea, seconds=120.0).result for _ in range((KILLS + 1) * PER_LIFE)]

    with ThreadPoolExecutor(2) as callers:
        process = agent(tmp_path, port)
        try:
            until(token.exists, "the agent has a token", 60)
            listening, selling = callers.submit(listen), callers.submit(sell)
            for kill in range(KILLS):
                until(partial(some, kill * PER_LIFE // 4), "some were sold", 60)
                process.kill()
                process.wait(60)
                process = agent(tmp_path, port)
            assert selling.result(120) == sorted(set(selling.result())), "none twice"
            with Client(f"http://127.0.0.1:{port}", token_file=token) as till:
                assert till.read("Stock", "s1", "tea").value["on_hand"] == (KILLS + 1) * PER_LIFE
                till.run_with("receive", {"store": "s1", "sku": "end", "qty": 1}, seconds=60.0)
            listening.result(120)
            assert all(change.document is not None for change in watched), "it was told what it had missed"
        finally:
            process.kill()
            process.wait(60)
