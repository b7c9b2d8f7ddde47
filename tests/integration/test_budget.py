"""An agent on a device with little room, beside a space with more data than that."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PLACE = "market"
BUDGET = 16 << 20
ITEMS, LABEL_BYTES, AT_ONCE = 500, 48_000, 20
"""Half as much again as the budget, incompressible."""
QUEUED, QUEUED_BYTES = 1_500, 10_000
"""Commands that wait, and about what each takes."""
OVERHEAD = 4 << 20
"""RocksDB's own files, and what it has not put away yet."""


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> Iterator[LoadRun]:
    """With items of which each has a label of its own."""
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as writer:
        name_items(writer, ITEMS)
        yield run


def name_items(writer: EdgeProcess, items: int) -> None:
    """So many get their labels, and the cloud has them."""
    for first in range(0, items, AT_ONCE):
        calls = [
            {"name": "name", "arguments": {"place": PLACE, "item": item, "label": label(item)}}
            for item in map(name, range(first, min(first + AT_ONCE, items)))
        ]
        outcomes = writer.client().post("/v1/commands", json=calls).raise_for_status().json()
        assert {outcome["status"] for outcome in outcomes} == {200}, outcomes
    writer.await_quiet()


def name(number: int) -> str:
    return f"item-{number:04}"


def label(item: str) -> str:
    return random.Random(item).randbytes(LABEL_BYTES // 2).hex()


def evicted(edge: EdgeProcess) -> int:
    return int(edge.status()["scopes"][PLACE]["evicted"])


def here(edge: EdgeProcess) -> set[str]:
    """The items that are not evicted."""
    answer = edge.client().get(f"/v1/documents/Item/{PLACE}", headers={"accept": "application/x-ndjson"})
    lines = answer.raise_for_status().text.splitlines()
    return {line.split('"', 4)[3] for line in lines if line.startswith('{"id"')}


def refused(edge: EdgeProcess, method: str, path: str, **options: object) -> str:
    answer = edge.client().request(method, path, **options)  # type: ignore[arg-type]
    assert answer.status_code == 410, answer.text
    return str(answer.json()["code"])


def test_it_evicts_fetches_again_and_loses_nothing_that_is_not_sent(run: LoadRun) -> None:
    small = run.edge(1, PLACE)
    small.environment["DRIFTLOG_DISK_BUDGET"] = "16 MiB"
    with small:
        until(lambda: small.status()["scopes"][PLACE]["synced_at"], "it has read all", 120, small.tail)
        until(lambda: small.disk_usage() < BUDGET, "the disk has its room back", 60, small.tail)
        assert small.status()["disk_bytes"] < BUDGET
        there = here(small)
        assert evicted(small) == ITEMS - len(there) > ITEMS // 4, small.status()
        gone = [item for item in map(name, range(ITEMS)) if item not in there]
        for item in (gone[0], gone[-1], *sorted(there)[:1]):
            assert small.read(PLACE, item)["value"]["label"] == label(item)

        small.go_offline(True)
        assert refused(small, "GET", f"/v1/documents/Item/{PLACE}/{gone[1]}") == "evicted"
        asked = {"place": PLACE, "item": gone[1]}
        assert refused(small, "POST", "/v1/commands/hit", json=asked) == "evicted"
        small.do("hit", place=PLACE, item=gone[0], times=7, key="unsent")
        small.do("hit", place=PLACE, item="new", times=3)
        small.kill()
        small.start()
        assert small.status()["pending"] == 2
        assert small.read(PLACE, gone[0])["value"]["hits"] == 7
        assert refused(small, "GET", f"/v1/documents/Item/{PLACE}/{gone[1]}") == "evicted"

        small.go_offline(False)
        small.await_quiet()
        assert small.do("hit", **asked, wait="merged")["result"] == 1
        assert small.read(PLACE, gone[1])["value"]["label"] == label(gone[1])
        until(lambda: not small.status()["scopes"][PLACE]["differs"], "it agrees with the cloud", 60, small.tail)
        assert small.status()["mismatches"] == 0
        assert small.stop() == 0, small.tail()
    assert run.row(PLACE, gone[0])["hits"] == 7 and run.row(PLACE, "new")["hits"] == 3


def test_the_disk_has_back_what_a_queue_took_when_it_is_drained(on_broker: Callable[..., LoadRun]) -> None:
    """One document is named again and again. What waits lies there as commands, as what they had asked, as batches, and all of it in the write-ahead log. The
    commands and their answers, which are as long here, stay to be asked for; the rest goes."""
    run = on_broker()
    run.place = replace(run.place, app="tests.load.struck:app")  # it looks after its disk without a pause
    edge = run.edge(0, PLACE)
    with run.worker("only"), edge:
        edge.go_offline(True)
        empty = edge.disk_usage()
        for first in range(0, QUEUED, 100):
            labels = [random.Random(number).randbytes(QUEUED_BYTES // 2).hex() for number in range(first, first + 100)]
            calls = [{"name": "name", "arguments": {"place": PLACE, "item": "tea", "label": one}} for one in labels]
            edge.client().post("/v1/commands", json=calls).raise_for_status()
        stays = empty + 2 * QUEUED * QUEUED_BYTES + OVERHEAD
        queued = edge.disk_usage()
        assert queued > 1.5 * stays, "the logs have it several times more"
        edge.go_offline(False)
        edge.await_quiet()
        assert run.row(PLACE, "tea")["label"] == labels[-1]
        until(lambda: edge.disk_usage() < stays, "the disk has the rest back", 60, edge.tail)
        assert edge.status()["disk_bytes"] == pytest.approx(edge.disk_usage(), rel=0.1)
