"""An agent that is killed at random points while many callers use it, or loses its power: what was answered is there, and nothing is there twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import LoadRun
from tests.load.callers import Callers, hits
from tests.load.edges import EdgeProcess
from tests.load.fleet import Fleet
from tests.load.power import Power
from tests.load.waiting import until
from tests.load.workers import WorkerPlace

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(14_400)]

COMMANDS, FAULTS = 300, 3
FULL = 10_000, 200
"""The same at full depth."""
ITEMS = 40
PLACE = "place-of-kills"
FAULT_SECONDS = 60.0
"""A fault and its restart take less, on a busy machine, too."""
CUTS = 2, 100
"""Of the power of an agent without a network, and at full depth."""


@pytest.mark.parametrize("fault", ["kill", pytest.param("power", marks=pytest.mark.deep)])
def test_struck_while_many_call(on_broker: Callable[..., LoadRun], full: bool, fault: str) -> None:
    run = on_broker()
    chance = random.Random(3)
    count, faults = FULL if full else (COMMANDS, FAULTS)
    edge, other = run.edge(0, PLACE), run.edge(1, PLACE)
    strike = edge.kill if fault == "kill" else Power(edge, chance).cut
    with run.worker("only") as worker, other, edge:
        callers = Callers(edge, PLACE, hits(count, ITEMS, chance), chance)
        strike_at = sorted(chance.sample(range(50, count - 50), faults))
        asyncio.run(callers.run(strike, strike_at, 300 + faults * FAULT_SECONDS))
        edge.await_quiet()
        run.group.await_drained(explain=worker.tail)
        wanted = callers.expected()
        until(lambda: _seen(other) == wanted, "the other agent sees the same", 60, other.tail)
        assert _seen(edge) == wanted
        assert worker.stop() == 0
    assert callers.unanswered > 0, "no call was ever cut off: the faults tested nothing"
    assert {item: run.row(PLACE, item)["hits"] for item in wanted} == wanted
    found = run.judge(others=count)
    assert found.good, found


def _seen(edge: EdgeProcess) -> dict[str, object]:
    found = ((f"item-{number}", edge.find(PLACE, f"item-{number}")) for number in range(ITEMS))
    return {item: value["hits"] for item, value in found if value is not None}


def test_power_cut_without_a_network(dark: EdgeProcess, full: bool) -> None:
    chance = random.Random(5)
    power = Power(dark, chance)
    with dark:
        for _ in range(CUTS[full]):
            answered = _hit(dark, chance.randint(1, 40))
            power.cut()
            dark.start()
            assert dark.read(PLACE, "tea")["value"]["hits"] == answered


def test_a_power_cut_takes_what_was_answered_before_it_was_synced(dark: EdgeProcess) -> None:
    """So the cuts of the other tests do cut."""
    power = Power(dark, random.Random(5))
    dark.environment["DRIFTLOG_DURABILITY"] = "os"
    with dark:
        answered = _hit(dark, 40)
        assert power.cut() > 0
        dark.start()
        left = dark.find(PLACE, "tea")
        assert left is None or left["hits"] < answered


@pytest.fixture
def dark(tmp_path: Path) -> EdgeProcess:
    """An agent without a network, not yet started."""
    place = WorkerPlace("127.0.0.1:1", "http://127.0.0.1:1", tmp_path, "load")
    return EdgeProcess(place, Fleet.of("dark", 1, seed=3).members[0], [PLACE])


def _hit(edge: EdgeProcess, times: int) -> int:
    """What the last answer says."""
    return [int(edge.do("hit", place=PLACE, item="tea")["result"]) for _ in range(times)][-1]
