"""The broker is away under load: edges go on selling, nobody gives up or spins, all come back by themselves, and everything drains."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.conftest import LoadRun
from tests.listener import DeadPort
from tests.load.edges import EdgeProcess
from tests.load.resources import Taken, taken
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OUTAGE_SECONDS = 8.0
"""Longer than a session."""
FULL_SECONDS = 60.0
QUARTER_SECONDS = 10.0
"""Five minutes to programs whose time-outs are a thirtieth; at full depth the quarter of an hour."""
QUARTER_FULL_SECONDS = 30.0
PLACES = ("place-north", "place-south")
SALES = 40
FALLS, FALLS_FULL = 2, 10
SUPERVISOR = "supervisor"
WAIT = "2s"
"""What a worker waits for the broker at its start, 30 s else."""
LIVES = 3
"""Of a worker process that is killed while nobody answers: that one, and two that waited in vain."""

SHARE = 0.5
"""Of a core, at most, for a process that has nothing to do: one that reconnects without a pause takes more."""
START_SECONDS = 8.0
"""Of processor time, at most, for a worker process to start."""
MORE_MIB, MORE_THREADS = 48.0, 8
ATTEMPTS = 30
"""Connections a second and process, at most: a client tries each broker that it was told and each that named itself up to three times a second, and a worker has
six clients at the start of an outage (15 a second were seen, 25 in four seconds of a busy machine). A worker whose own client makes no pauses came to 40."""


class Shop:
    """A pool of workers and two edges that sell in two places while devices send besides."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run
        self.pool = run.worker("pool", workers=3)
        self.edges = tuple(run.edge(number, *PLACES) for number in range(2))
        self._sold = dict.fromkeys(PLACES, 0)

    def sell(self, times: int = 1) -> None:
        """Each edge in its place."""
        for edge, place in zip(self.edges, PLACES, strict=True):
            for _ in range(times):
                edge.do("hit", place=place, item="tea")
                self._sold[place] += 1

    def await_progress(self, records: int) -> None:
        self._run.group.await_progress(records, 180, explain=self.tail)

    def take(self) -> dict[str, Taken]:
        """What each program takes up to now; the supervisor's are those of its children, too, that have ended."""
        found = {edge.device.device_id: taken(edge.pid) for edge in self.edges}
        return {**found, SUPERVISOR: taken(self.pool.pid)}

    def require_running(self) -> None:
        assert self.pool.running and all(edge.running for edge in self.edges), self.tail()

    def tail(self) -> str:
        return "".join(program.tail() for program in (self.pool, *self.edges))

    def close_up(self) -> None:
        """Nothing more is sent: wait until all is merged, known everywhere, and the pool has ended as it was told."""
        self._run.workload.stop()
        for edge in self.edges:
            edge.await_quiet()
        self._run.group.await_drained(explain=self.tail)
        for edge in self.edges:
            until(lambda: self._read(edge) == self._sold, f"{edge.device.device_id} has it all", 90, edge.tail)  # noqa: B023
        assert self.pool.stop() == 0

    def judge(self) -> None:
        found = self._run.judge(others=sum(self._sold.values()))
        assert found.good, found

    @staticmethod
    def _read(edge: EdgeProcess) -> dict[str, int]:
        return {place: edge.read(place, "tea")["value"]["hits"] for place in PLACES}

    def __enter__(self) -> Self:
        with ExitStack() as running:
            for program in (self.pool, *self.edges):
                running.enter_context(program)
            running.enter_context(self._run.feeder(10_000_000, records_per_second=100))
            self._running = running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)  # a feeder is not waited for where something has failed


def ended(pool: WorkerProcess, offset: int) -> list[dict[str, Any]]:
    """What the supervisor has said about worker processes that ended, since its log was so long."""
    with pool.log.open(errors="replace") as log:
        log.seek(offset)
        lines = [json.loads(line) for line in log if line.startswith("{") and line.endswith("}\n")]
    return [line for line in lines if line["event"] == "worker process ended"]


def pass_the_time(shop: Shop, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shop.require_running()
        time.sleep(0.2)


def require_little(before: Mapping[str, Taken], after: Mapping[str, Taken], starts: int) -> None:
    """Nobody was busy with nothing to do, or has grown by it. So many worker processes were started meanwhile."""
    for name, end in after.items():
        begin = before[name]
        allowed = SHARE * (end.at - begin.at) + (starts * START_SECONDS if name == SUPERVISOR else 0.0)
        assert end.cpu - begin.cpu <= allowed, f"{name} took {end.cpu - begin.cpu:.1f} s of the processor"
        assert end.mib - begin.mib <= MORE_MIB, f"{name} has grown by {end.mib - begin.mib:.0f} MiB"
        assert end.threads - begin.threads <= MORE_THREADS, f"{name} has {end.threads - begin.threads} threads more"


def nobody_minds(run: LoadRun, broker: EmbeddedBroker, seconds: float, lives: int = 0) -> None:
    """The broker is away for so long, and until so many lives of a worker process that is killed meanwhile have ended."""
    anew = replace(run, place=replace(run.place, anew=True))  # a pool whose children are its own: it pays for them
    with Shop(anew) as shop:
        shop.await_progress(300)
        shop.sell()
        broker.stop()
        said = shop.pool.log.stat().st_size
        shop.sell(SALES)
        assert all(edge.status()["pending"] > 0 for edge in shop.edges)
        before = shop.take()
        if lives:
            shop.pool.kill()
        pass_the_time(shop, seconds / 2)
        with DeadPort(broker.port) as port:
            begun = time.monotonic()
            pass_the_time(shop, seconds / 2)
            until(lambda: len(ended(shop.pool, said)) >= lives, f"{lives} ends of a worker process", 120, shop.tail)
            tried, took = port.connections, time.monotonic() - begun
        ends = ended(shop.pool, said)
        require_little(before, shop.take(), shop.pool.count + len(ends))
        assert {end["failures"] for end in ends} <= {0}, "what fails while nobody answers counts for nothing"
        assert tried <= ATTEMPTS * took * (len(shop.edges) + shop.pool.count + 1)
        broker.start()
        shop.sell()
        shop.await_progress(300)
        shop.close_up()
    shop.judge()


def test_the_broker_is_away_for_a_while(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun], full: bool
) -> None:
    run = load_run(restartable_broker.bootstrap, ops_per_batch=10, repeated=0.01)
    nobody_minds(run, restartable_broker, FULL_SECONDS if full else OUTAGE_SECONDS)


@pytest.mark.deep
def test_the_broker_is_away_for_a_quarter_of_an_hour_as_time_outs_tell_it(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun], full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLOG_WAIT", WAIT)
    run = load_run(restartable_broker.bootstrap, ops_per_batch=10, repeated=0.01)
    hasty = replace(run, place=replace(run.place, app="tests.load.hasty:app"))
    nobody_minds(hasty, restartable_broker, QUARTER_FULL_SECONDS if full else QUARTER_SECONDS, LIVES)


def test_the_broker_falls_again_and_again(
    restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun], full: bool
) -> None:
    with Shop(load_run(restartable_broker.bootstrap, ops_per_batch=10, repeated=0.01)) as shop:
        for _ in range(FALLS_FULL if full else FALLS):
            shop.await_progress(100)
            shop.sell()
            restartable_broker.kill()
            shop.sell()
            restartable_broker.start()
        shop.await_progress(100)
        shop.close_up()
    shop.judge()
