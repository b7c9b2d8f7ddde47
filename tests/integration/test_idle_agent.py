"""What an agent that is online and has nothing to do carries with it: `tests/unit/edge/test_light.py`, beside a broker."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.conftest import LoadRun
from tests.load.waiting import until
from tests.unit.edge.test_light import UNUSED_BY_COMMAND

pytestmark = pytest.mark.broker

PLACE = "market"
ASKED = "httpx"
"""The registry was, for the ids of schemas."""

TELLS_WHEN_ASKED = """
import json, os, signal, sys

def tell(*_):
    with open(os.environ["IMPORTED"] + ".new", "w") as file:
        json.dump(sorted(sys.modules), file)
    os.replace(os.environ["IMPORTED"] + ".new", os.environ["IMPORTED"])

signal.signal(signal.SIGUSR2, tell)
"""


def test_an_agent_that_is_online_and_idle_has_not_imported_what_it_never_needed(
    on_broker: Callable[..., LoadRun], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(TELLS_WHEN_ASKED)
    told = tmp_path / "imported.json"
    run = on_broker()
    run.place = replace(run.place, anew=True)
    edge = run.edge(0, PLACE)
    path = [str(tmp_path), *filter(None, [edge.environment.get("PYTHONPATH")])]
    edge.environment |= {"PYTHONPATH": os.pathsep.join(path), "IMPORTED": str(told)}
    with edge:
        until(lambda: edge.status()["connection"] == "ONLINE", "it is online", 90, edge.tail)
        edge.do("hit", place=PLACE, item="tea")
        os.kill(edge.pid, signal.SIGUSR2)
        until(told.exists, "it has told what it has imported", 60, edge.tail)
    imported = set(json.loads(told.read_text()))
    assert {"driftlog_edge.agent", "confluent_kafka"} <= imported
    assert imported & (UNUSED_BY_COMMAND.keys() - {ASKED}) == set()
