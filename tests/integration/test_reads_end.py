"""Reads that ask the cloud end in the time given: on a broker where nothing happens, and on one that is frozen; so does the agent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"
MANY = 24
"""More than a default executor has threads."""
GIVEN = "2s"
PATIENCE = 60.0
"""Far more than a read was given; one that hangs never comes."""


@contextmanager
def frozen(broker: EmbeddedBroker) -> Iterator[None]:
    """The broker's process stands still: connections stay open and nobody answers."""
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ask(edge: EdgeProcess, **how: str) -> httpx.Response:
    with edge.client(timeout=PATIENCE) as client:
        return client.get(f"/v1/documents/Item/{PLACE}/tea", params={"timeout": GIVEN, **how})


def hit_now(edge: EdgeProcess) -> httpx.Response:
    """A command that runs on fresh data only."""
    with edge.client(timeout=PATIENCE) as client:
        return client.post("/v1/commands/hit_now", params={"timeout": GIVEN}, json={"place": PLACE, "item": "tea"})


def ask_often(edge: EdgeProcess, callers: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    kinds = ({"consistency": "strong"}, {"max_age": "0s"})
    return [callers.submit(ask, edge, **kinds[number % 2]) for number in range(MANY)]


def ask_until_it_is_gone(edge: EdgeProcess, answered: list[int]) -> None:
    """One strong read after another, until nobody listens any more."""
    with suppress(httpx.TransportError):
        while True:
            answered.append(ask(edge, consistency="strong").status_code)


def test_reads_that_ask_the_cloud_end(restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]) -> None:
    run = load_run(restartable_broker.bootstrap)
    with ThreadPoolExecutor(MANY) as callers, run.edge(0, PLACE) as edge:
        with run.worker("only") as worker:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            assert hit_now(edge).json()["result"] == 2
            edge.await_quiet()
            run.group.await_drained(60)
            assert worker.stop() == 0
        until(lambda: edge.status()["connection"] == "ONLINE", "an idle agent is online", 90, edge.tail)

        answers = [future.result(PATIENCE) for future in ask_often(edge, callers)]
        assert [a.status_code for a in answers] == [200] * MANY
        assert {a.json()["value"]["hits"] for a in answers} == {2}

        with frozen(restartable_broker):
            answers = [future.result(PATIENCE) for future in ask_often(edge, callers)]
            assert {a.status_code for a in answers} <= {503, 504}, [a.text for a in answers]
            assert edge.read(PLACE, "tea")["value"]["hits"] == 2, "what needs no cloud is answered"
            refused = hit_now(edge)
            assert (refused.status_code, refused.json()["code"]) == (409, "stale"), refused.text
            assert refused.json()["age_seconds"] > 1
            hanging = ask_often(edge, callers)
            until(lambda: any(future.running() for future in hanging), "reads are under way", 90)
            assert edge.stop() == 0, edge.tail()
            assert all(future.exception(PATIENCE) or future.result() for future in hanging)

        edge.start()
        until(lambda: edge.status()["connection"] == "ONLINE", "the agent is back", 60, edge.tail)
        assert ask(edge, consistency="strong").status_code == 200

        restartable_broker.stop()
        until(lambda: edge.status()["connection"] == "OFFLINE", "the agent notices", 60, edge.tail)
        assert edge.status()["problem"]
        restartable_broker.start()
        until(lambda: edge.status()["connection"] == "ONLINE", "the agent is back with the broker", 90, edge.tail)
        assert ask(edge, consistency="strong").status_code == 200
        answered: list[int] = []
        asking = [callers.submit(ask_until_it_is_gone, edge, answered) for _ in range(MANY)]
        until(lambda: len(answered) > 2 * MANY, "reads are under way all the time", 90, edge.tail)
        assert not any(future.done() for future in asking)
        assert edge.stop() == 0, edge.tail()
        for future in asking:
            future.result(PATIENCE)
        assert set(answered) <= {200, 503, 504}
