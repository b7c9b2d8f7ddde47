"""The agent as a process: it ends when told, with all that it answered on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from driftlog.cli.agents import TokenAuth
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
