"""Agents that sell without a pause while a test does something to everybody, and the count of what was sold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

PLACE = "here"
PAUSE_SECONDS = 0.1


class Sales:
    """One agent sells an item until it is told to stop."""

    def __init__(self, edge: EdgeProcess, item: str) -> None:
        self.edge, self.item, self.count = edge, item, 0
        self._over = threading.Event()
        self._failed: list[AssertionError] = []
        self._thread = threading.Thread(target=self._sell, name=f"sales of {item}")
        self._thread.start()

    def _sell(self) -> None:
        try:
            while not self._over.wait(PAUSE_SECONDS):
                self.edge.do("hit", place=PLACE, item=self.item)
                self.count += 1
        except AssertionError as error:  # told where it is waited for
            self._failed.append(error)

    def more(self, count: int = 5) -> None:
        """Wait until so many more are sold."""
        goal = self.count + count
        until(lambda: self.count >= goal or bool(self._failed), f"{self.item} is sold", 120, self.edge.tail)
        assert not self._failed, self._failed

    def stop(self) -> None:
        """Returns when nothing more is asked for. Raises AssertionError where a sale was refused."""
        self._over.set()
        self._thread.join()
        assert not self._failed, self._failed


@contextmanager
def selling(run: LoadRun) -> Iterator[list[Sales]]:
    """Two agents that hold the place, each with an item of its own."""
    with ExitStack() as running:
        sales = []
        for number, item in enumerate(("tea", "oat")):
            sales.append(Sales(running.enter_context(run.edge(number, PLACE)), item))
            running.callback(sales[-1].stop)
        yield sales


def sold(sales: Sequence[Sales], seconds: float = 90.0) -> dict[str, int]:
    """Nobody sells any more; what each has sold, when nothing of it is pending."""
    for one in sales:
        one.stop()
    for one in sales:
        one.edge.await_quiet(seconds)
    return {one.item: one.count for one in sales}


def require_known_everywhere(sales: Sequence[Sales], counts: dict[str, int]) -> None:
    """Each agent shows it all, once, and has left nothing to a person."""
    for one in sales:
        _require_known(one.edge, counts)


def _require_known(edge: EdgeProcess, counts: dict[str, int]) -> None:
    def shown() -> dict[str, int]:
        return {item: edge.read(PLACE, item)["value"]["hits"] for item in counts}

    until(lambda: shown() == counts, f"it shows {counts}", 120, lambda: f"{shown()}{edge.tail()}")
    assert edge._json("GET", "/v1/review")["commands"] == []
