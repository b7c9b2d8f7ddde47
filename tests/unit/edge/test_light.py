"""An agent that has nothing to do does not carry what it does not use: its memory is most of what a small device has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

UNUSED = {
    "httpx": "the registry is asked for ids that are not known; theirs are",
    "prometheus_client": "nobody has asked for metrics",
    "typer": "a command line is no agent",
    "driftlog_streams": "a worker's",
    "driftlog_infra": "an operator's",
    "faust": "a worker's",
    "aiokafka": "a worker's",
    "confluent_kafka.schema_registry": "we have a client of our own, of a tenth of its size",
}
"""Module -> why an agent that serves its API offline does without."""

AGENT = """
import asyncio, json, sys
from pathlib import Path
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import build, server
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.load.app import declare

async def main(folder):
    Identity.create("store-1").save(folder / "identity.json")
    config = EdgeConfig(data_dir=folder / "replica", identity=folder / "identity.json", scopes=["s1"])
    async with EdgeAgent(declare("light"), config, ids=FixedIds()) as agent:
        await agent.offline()
        build(agent).openapi()
        await agent.run("hit", place="s1", item="tea")
        print(json.dumps(sorted(sys.modules)))

asyncio.run(main(Path(sys.argv[1])))
"""


def test_an_idle_agent_has_not_imported_what_it_never_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGENT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    imported = set(json.loads(done.stdout.splitlines()[-2 if "agent ends" in done.stdout.splitlines()[-1] else -1]))
    assert {"driftlog_edge.agent", "rocksdict"} <= imported
    assert imported & UNUSED.keys() == set()
