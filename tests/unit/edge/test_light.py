"""An agent that has nothing to do does not carry what it does not use: its memory is most of what a small device has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from driftlog_schemas.signing import Identity

UNUSED = {
    "httpx": "the registry is asked for ids that are not known; theirs are",
    "prometheus_client": "nobody has asked for metrics",
    "driftlog.client": "an agent asks no agent",
    "pycrdt": "the app declares no text and no list",
    "driftlog_streams": "a worker's",
    "driftlog_infra": "an operator's",
    "faust": "a worker's",
    "aiokafka": "a worker's",
    "confluent_kafka.schema_registry": "we have a client of our own, of a tenth of its size",
    "pydantic.v1": "nobody declares a model of pydantic's first version",
}
"""Module -> why an agent that serves its API offline does without."""

UNUSED_BY_COMMAND = {
    **UNUSED,
    "rich": "nothing is drawn, and the log's tracebacks are text",
    "pygments": "rich's",
    "attr": "rich's",
    "typer": "its options are read with click, which the HTTP server brings along",
    "driftlog.cli.root": "all other commands",
}
"""The same of an agent in a process of its own; in an application's, it is the application that says which of them are there."""

WITHIN_AN_APPLICATION = """
import asyncio, json, sys
from pathlib import Path
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import build, server
from driftlog_schemas.registry import FixedIds
from tests.load.app import declare

async def main(folder):
    config = EdgeConfig(data_dir=folder / "replica", identity=folder / "identity.json", scopes=["s1"])
    async with EdgeAgent(declare("light"), config, ids=FixedIds()) as agent:
        await agent.offline()
        build(agent).openapi()
        await agent.run("hit", place="s1", item="tea")
        print(json.dumps(sorted(sys.modules)))

asyncio.run(main(Path(sys.argv[1])))
"""

BY_COMMAND = """
import json, os, signal, sys, threading, time
from pathlib import Path
from driftlog.cli import main

folder = Path(sys.argv[1])
os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
notes = folder / "cache" / "driftlog" / "agents"

def tell():
    while not (notes.is_dir() and any(notes.iterdir())):  # it is there while the agent serves
        time.sleep(0.01)
    print(json.dumps(sorted(sys.modules)), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=tell, daemon=True).start()
where = ["--data-dir", str(folder / "replica"), "--identity", str(folder / "identity.json"), "--scope", "s1"]
sys.argv = ["driftlog", "edge", "run", "--app", "tests.load.app:app", *where, "--bootstrap", "127.0.0.1:1", "--http-port", "0"]
main()
"""


@pytest.mark.parametrize(
    ("program", "unused"),
    [(WITHIN_AN_APPLICATION, {*UNUSED, "typer"}), (BY_COMMAND, {*UNUSED_BY_COMMAND})],
    ids=["within an application", "by the command"],
)
@pytest.mark.slow
def test_an_idle_agent_has_not_imported_what_it_never_needed(program: str, unused: set[str], tmp_path: Path) -> None:
    Identity.create("store-1").save(tmp_path / "identity.json")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    told = next(line for line in done.stdout.splitlines() if line.startswith("["))
    imported = set(json.loads(told))
    assert {"driftlog_edge.agent", "rocksdict"} <= imported
    assert imported & unused == set()
