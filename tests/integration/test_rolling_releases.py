"""Two releases of one app at once, under load: workers and edges are upgraded and taken back in mixed order, and nothing is lost.

Each edge is asked for `hit` all the time, and for the new release's `miss` whenever it runs that release. Every command that was answered counts exactly
once in the end, and everything can be read by the new release; what an old edge cannot read it says so.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest

from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.state_codec import StateCodec
from tests.integration.conftest import LoadRun
from tests.load import next_release
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.timeout(400)]

PLACE = "market"
ITEMS = ("tea", "oat", "rye")
OLD, NEW = "tests.load.app:app", "tests.load.next_release:app"
SAID = 10
"""Commands that each stage of the change waits for, of each edge."""


class Till:
    """One edge, its release, and somebody who never stops asking it. What was answered is counted."""

    def __init__(self, run: LoadRun, number: int) -> None:
        self._run = run
        self._number = number
        self.edge = self._made(OLD)
        self.release = OLD
        self.answered: Counter[tuple[str, str]] = Counter()
        self._asked = 0
        self._stop = threading.Event()
        self._paused = threading.Lock()
        self._thread = threading.Thread(target=self._ask, name=f"till-{number}", daemon=True)
        self.failure = ""

    def _made(self, release: str) -> EdgeProcess:
        return EdgeProcess(replace(self._run.place, app=release), self._run.edges[self._number], [PLACE])

    def start(self) -> None:
        self.edge.start()
        self._thread.start()

    def change(self, release: str) -> None:
        """Another release over the same folder."""
        with self._paused:
            assert self.edge.stop() == 0
            self.edge.close()
            self.edge, self.release = self._made(release), release
            self.edge.start()

    def _ask(self) -> None:
        while not self._stop.is_set() and not self.failure:
            with self._paused:
                item = ITEMS[self._asked % len(ITEMS)]
                command = "miss" if self.release == NEW and self._asked % 2 else "hit"
                try:
                    self.edge.do(command, place=PLACE, item=item, key=f"till-{self._number}-{self._asked}")
                except (AssertionError, httpx.HTTPError) as error:
                    self.failure = f"{command}: {error}"
                    return
                self.answered[command, item] += 1
                self._asked += 1
            self._stop.wait(0.01)

    def goes_on(self) -> None:
        """Wait until it was answered some more."""
        before = self._asked
        until(
            lambda: bool(self.failure) or self._asked >= before + SAID,
            f"till {self._number} goes on",
            60,
            self.edge.tail,
        )
        assert not self.failure, f"{self.failure}{self.edge.tail()}"

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(60)

    def close(self) -> None:
        self.stop()
        self.edge.close()


def test_two_releases_at_once_lose_nothing(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()

    def worker(slot: str, release: str) -> WorkerProcess:
        return WorkerProcess(replace(run.place, app=release), slot)

    with ExitStack() as ends:
        workers = {slot: ends.enter_context(worker(slot, OLD)) for slot in ("a", "b")}
        tills = [Till(run, 0), Till(run, 1)]
        for till in tills:
            ends.callback(till.close)
            till.start()

        def goes_on() -> None:
            for till in tills:
                till.goes_on()

        def change_worker(slot: str, release: str) -> None:
            workers[slot].stop()
            workers[slot] = ends.enter_context(worker(slot, release))
            goes_on()

        def change_till(number: int, release: str) -> None:
            tills[number].change(release)
            goes_on()

        goes_on()
        change_till(0, NEW)  # an edge before any worker: what it makes anew waits until one knows it
        change_worker("a", NEW)
        change_till(1, NEW)
        change_till(0, OLD)
        change_worker("a", OLD)  # and back: what the new one had merged is carried along unread
        change_worker("b", NEW)
        change_till(0, NEW)
        change_worker("a", NEW)
        for till in tills:
            till.stop()

        asked = tills[0].answered + tills[1].answered
        for till in tills:
            till.edge.await_quiet(120)
        run.group.await_drained(60)
        assert asked["miss", "tea"] and asked["hit", "tea"]
        for till in tills:
            for item in ITEMS:
                wanted = (asked["hit", item], asked["miss", item])
                until(
                    lambda: counted(till.edge, item) == wanted,  # noqa: B023
                    f"{item} counts {wanted}",
                    60,
                    lambda: f"{counted(till.edge, item)}{till.edge.tail()}",  # noqa: B023
                )
            misses = sum(count for (command, _), count in asked.items() if command == "miss")
            tally = till.edge.client().get(f"/v1/documents/Tally/{PLACE}/today").raise_for_status().json()["value"]
            assert tally["count"] == misses
            status = till.edge.status()
            assert (status["problem"], status["scopes"][PLACE]["not_readable"]) == ("", 0)
        assert in_the_read_model(run, "Tally", "today")["count"] == misses


def counted(edge: EdgeProcess, item: str) -> tuple[int, int]:
    value = edge.find(PLACE, item) or {}
    return int(value.get("hits", 0)), int(value.get("misses", 0))


def in_the_read_model(run: LoadRun, collection: str, id: str) -> dict[str, object]:
    """A document as any Kafka tool sees it, by the new release's schema."""
    contract = next_release.declare(run.space.name).contract.spaces[run.space.name].collections[collection]
    found = latest_by_key(run.history().state)[document_key(DocumentId(collection, PLACE, id))]
    assert found.value is not None
    return StateCodec(contract, run.ids).decode_row(found.value)
