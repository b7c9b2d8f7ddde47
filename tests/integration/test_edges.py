"""Edges together: one goes offline, goes on working, comes back by itself; all agree, and a dispute is published once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_schemas.record_codecs import RecordCodecs
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"


def await_equal(*edges: EdgeProcess, item: str, **wanted: object) -> None:
    """Wait until all edges read the same of an item, and that it is as wanted."""

    def agree() -> bool:
        values = [edge.find(PLACE, item) for edge in edges]
        return all(value is not None and {name: value[name] for name in wanted} == wanted for value in values)

    until(agree, f"{item} is {wanted} everywhere", 60, lambda: str([edge.find(PLACE, item) for edge in edges]))


def test_offline_edge_sells_comes_back_and_a_dispute_is_published_once(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only") as worker, run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        store.do("hit", place=PLACE, item="tea", times=10, wait="merged")
        office.do("name", place=PLACE, item="tea", label="black", wait="merged")
        await_equal(store, office, item="tea", hits=10, label="black")

        store.go_offline(True)
        for _ in range(5):
            answer = store.do("hit", place=PLACE, item="tea")
            assert answer["status"] == "pending"
        store.do("name", place=PLACE, item="tea", label="green")
        office.do("hit", place=PLACE, item="tea", times=2, wait="merged")
        office.do("name", place=PLACE, item="tea", label="white", wait="merged")
        assert store.read(PLACE, "tea")["value"]["hits"] == 15
        assert store.status()["connection"] == "OFFLINE"
        assert store.status()["pending"] == 6

        store.go_offline(False)
        store.await_quiet()
        winner = office.read(PLACE, "tea")["value"]["label"]
        await_equal(store, office, item="tea", hits=17, label=winner)
        until(lambda: len(store.conflicts()) == len(office.conflicts()) == 1, "both know of the dispute", 90)
        (dispute,) = office.conflicts()
        assert sorted(version["value"] for version in dispute["versions"]) == ["green", "white"]
        assert dispute["versions"][0]["value"] == winner
        assert store.conflicts() == [dispute]
        run.group.await_drained(60)

        store.do("name", place=PLACE, item="tea", label="oolong", wait="merged")
        await_equal(store, office, item="tea", label="oolong")
        until(lambda: not store.conflicts() and not office.conflicts(), "the dispute is over", 90)
        run.group.await_drained(60)
        assert worker.stop() == 0
    codecs = RecordCodecs(run.ids)
    published = [codecs.decode_conflict(r.value) for r in run.history().conflicts if r.value is not None]
    assert [(c.id, c.status.value) for c in published] == [(dispute["id"], "recorded"), (dispute["id"], "resolved")]
    found = run.judge(others=11)
    assert found.good, found


def test_an_edge_that_starts_late_has_it_all(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as first:
        for number in range(30):
            first.do("hit", place=PLACE, item=f"item-{number}", times=number + 1)
        first.await_quiet()
        with run.edge(1, PLACE) as late:
            until(lambda: late.status()["scopes"][PLACE]["synced_at"], "the late one is in step", 60, late.tail)
            for number in (0, 13, 29):
                await_equal(first, late, item=f"item-{number}", hits=number + 1)
