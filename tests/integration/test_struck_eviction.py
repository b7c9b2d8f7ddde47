"""An agent with little room that is killed while documents make room or are fetched again: at each step, with the next one beginning where the last one left it.

After each of them the folder is looked at by a life that may keep all of it and has no network, so that nothing mends by itself what the kill has left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest

from tests.integration.conftest import LoadRun
from tests.integration.test_budget import PLACE, evicted, label, name, name_items, refused
from tests.load.edges import EdgeProcess
from tests.load.struck import STRIKE_VARIABLE, Step
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ROOMY, SMALL = 1 << 30, 4 << 20
ITEMS = 150
"""Nearly twice what goes into that little room."""
UNSENT = {name(number): number + 1 for number in range(20)}
"""How often each was hit without a network. They came first, so they would go first."""
NEW = {f"new-{number}": 100 + number for number in range(5)}
"""The same of items that the cloud has never heard of."""
WENT = {Step.AFTER_THE_WRITE, Step.BETWEEN_WRITES, Step.GIVING_BACK}
"""By which documents go that had not gone by the kill before."""
GOING, COMING = (Step.AFTER_THE_WRITE, Step.GIVING_BACK), (Step.AFTER_THE_RETURN,)
COMING_FULL = (Step.BEFORE_THE_RETURN, Step.AFTER_THE_RETURN)
GOING_FULL = tuple(step for step in Step if step not in COMING_FULL)
"""At full depth."""


class Struck:
    """An agent that is started again and again, each time to die at a step or to be looked at."""

    def __init__(self, edge: EdgeProcess) -> None:
        self.edge = edge

    def start(self, budget: int) -> None:
        """A life that nothing strikes."""
        self.edge.environment |= {STRIKE_VARIABLE: "", "DRIFTLOG_DISK_BUDGET": str(budget)}
        self.edge.start()

    def die_at(self, step: Step, provoke: Callable[[], object] = lambda: None) -> None:
        """A life with little room that is killed there; `provoke` is done again and again, so that it comes to that step."""
        self.edge.environment |= {STRIKE_VARIABLE: step, "DRIFTLOG_DISK_BUDGET": str(SMALL)}
        self.edge.launch()

        def died() -> bool:
            provoke()
            return not self.edge.running

        until(died, f"it is killed when {step}", 120, self.edge.tail)
        assert self.edge.killed, self.edge.tail()

    def look(self) -> set[str]:
        """The items that are evicted; nothing is lost, nothing is shown that is not so, and the status counts what is there."""
        self.start(ROOMY)
        edge, there = self.edge, listed(self.edge)
        gone = {name(number) for number in range(ITEMS)} - there.keys()
        assert gone.isdisjoint(UNSENT) and there.keys() >= NEW.keys()
        assert {item: value["hits"] for item, value in there.items() if value["hits"]} == UNSENT | NEW
        assert {item: value["label"] for item, value in there.items()} == {
            item: "" if item in NEW else label(item) for item in there
        }
        status = edge.status()
        assert (status["pending"], evicted(edge)) == (len(UNSENT) + len(NEW), len(gone))
        assert status["disk_bytes"] == pytest.approx(edge.disk_usage(), rel=0.1)
        for item in sorted(gone)[:3]:
            assert refused(edge, "GET", f"/v1/documents/Item/{PLACE}/{item}") == "evicted"
            asked = {"place": PLACE, "item": item}
            assert refused(edge, "POST", "/v1/commands/hit", json=asked) == "evicted"
        return gone


def listed(edge: EdgeProcess) -> dict[str, dict[str, object]]:
    """The values of what is here."""
    answer = edge.client().get(f"/v1/documents/Item/{PLACE}", headers={"accept": "application/x-ndjson"})
    lines = map(json.loads, answer.raise_for_status().text.splitlines())
    return {line["id"]: line["value"] for line in lines if "id" in line}


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> Iterator[LoadRun]:
    """With items of which each has a label of its own, and agents that can be struck."""
    run = on_broker()
    run.place = replace(run.place, app="tests.load.struck:app")
    with run.worker("only"), run.edge(0, PLACE) as writer:
        name_items(writer, ITEMS)
        yield run


def test_killed_at_any_step_nothing_unsent_is_gone_and_what_went_is_fetched_again(run: LoadRun, full: bool) -> None:
    struck = Struck(run.edge(1, PLACE))
    try:
        has_everything_and_more(struck)
        assert struck.edge.disk_usage() > SMALL
        gone = killed_while_documents_make_room(struck, GOING_FULL if full else GOING)
        struck.start(SMALL)
        until(lambda: struck.edge.disk_usage() < SMALL, "the disk has its room back", 60, struck.edge.tail)
        killed_while_they_come_back(struck, COMING_FULL if full else COMING, sorted(gone))
        agrees_with_the_cloud(struck.edge, run)
    finally:
        struck.edge.close()


def has_everything_and_more(struck: Struck) -> None:
    """It has read all there is, its network is off, and some of it was changed since."""
    struck.start(ROOMY)
    edge = struck.edge
    until(lambda: len(listed(edge)) == ITEMS, "it has read all", 120, edge.tail)
    edge.go_offline(True)
    for item, times in (UNSENT | NEW).items():
        edge.do("hit", place=PLACE, item=item, times=times, key=f"hit-{item}")
    edge.kill()


def killed_while_documents_make_room(struck: Struck, steps: Sequence[Step]) -> set[str]:
    """What has made room."""
    gone: set[str] = set()
    for step in steps:
        struck.die_at(step)
        before, gone = gone, struck.look()
        assert gone >= before, "nothing comes back by itself"
        assert (gone > before) == (step in WENT), (step, len(before), len(gone))
        struck.edge.kill()
    return gone


def killed_while_they_come_back(struck: Struck, steps: Sequence[Step], gone: Sequence[str]) -> None:
    """Whoever asks again, gets what was evicted."""
    edge = struck.edge
    edge.go_offline(False)
    for step, item in zip(steps, gone, strict=False):
        edge.kill()

        def ask(item: str = item) -> None:
            with suppress(httpx.TransportError):  # not up yet, or struck
                edge.client().get(f"/v1/documents/Item/{PLACE}/{item}")

        struck.die_at(step, ask)
        struck.start(ROOMY)
        there = listed(edge)
        assert (item in there) == (step is Step.AFTER_THE_RETURN)
        assert evicted(edge) == ITEMS + len(NEW) - len(there)
        until(lambda: edge.status()["connection"] == "ONLINE", "it is online", 60, edge.tail)
        value = edge.read(PLACE, item)["value"]
        assert (value["hits"], value["label"]) == (0, label(item))


def agrees_with_the_cloud(edge: EdgeProcess, run: LoadRun) -> None:
    """All was sent once, and both sides have the same."""
    edge.await_quiet()
    until(lambda: not edge.status()["scopes"][PLACE]["differs"], "it agrees with the cloud", 60, edge.tail)
    assert edge.status()["mismatches"] == 0
    rows = run.rows(PLACE)
    assert {item: row["hits"] for item, row in rows.items() if row["hits"]} == UNSENT | NEW
