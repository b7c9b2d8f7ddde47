"""The app under load in an agent that looks after a small disk without a pause, and is killed at a step of its own: nobody outside meets a moment so exactly.

`DRIFTLOG_TEST_STRIKE` names the step; where it is empty the agent lives on, and where there is none this is the plain app, as for the process of the test.
SIGKILL is what a kill from outside would be: nothing is closed, flushed or told.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable
from enum import StrEnum
from threading import Timer

from driftlog_edge import config
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store import budget, housekeeping, keys
from driftlog_edge.store.eviction import Chosen, Eviction
from driftlog_edge.store.rocks import RocksStore
from tests.load.app import declare, of_this_run

STRIKE_VARIABLE = "DRIFTLOG_TEST_STRIKE"
AT_ONCE = 20
"""Documents that go in one write: so few that there are several writes."""
IN_ITS_MIDDLE_SECONDS = 0.02
"""After which the disk is at work on giving room back."""


class Step(StrEnum):
    """Of making room, and of fetching again what had to go."""

    CHOSEN = "it is known what goes, and nothing has gone"
    BEFORE_THE_WRITE = "the first are on their way out"
    AFTER_THE_WRITE = "the first have gone, and nobody was told"
    BETWEEN_WRITES = "the first have gone, and the next are on their way out"
    GIVING_BACK = "all have gone, and the disk gives their room back"
    BEFORE_THE_RETURN = "one was fetched, and is not written"
    AFTER_THE_RETURN = "one was fetched and written, and nobody was told"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Strike:
    """Passes on what the store is told, up to the step."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._choose, self._write, self._reclaim = Eviction.choose, RocksStore.write, RocksStore.reclaim
        self._gone = 0
        """Writes by which documents went."""

    def choose(self, eviction: Eviction, need: int) -> Generator[None, None, list[Chosen]]:
        chosen = yield from self._choose(eviction, need)
        self._at(Step.CHOSEN, when=bool(chosen))
        return chosen

    def write(self, store: RocksStore, writes: Writes, *, sync: bool) -> None:
        goes, comes = _goes(writes), _comes(writes)
        self._at(Step.BEFORE_THE_WRITE, when=goes)
        self._at(Step.BETWEEN_WRITES, when=goes and self._gone > 0)
        self._at(Step.BEFORE_THE_RETURN, when=comes)
        self._write(store, writes, sync=sync)
        self._gone += goes
        self._at(Step.AFTER_THE_WRITE, when=goes)
        self._at(Step.AFTER_THE_RETURN, when=comes)

    def reclaim(self, store: RocksStore, families: Iterable[Family]) -> None:
        if self._gone and self._step is Step.GIVING_BACK:
            Timer(IN_ITS_MIDDLE_SECONDS, die).start()
        self._reclaim(store, families)
        self._at(Step.GIVING_BACK, when=self._gone > 0)

    def _at(self, step: Step, *, when: bool) -> None:
        if when and step is self._step:
            die()


def _marks(writes: Writes) -> list[bytes | None]:
    """What becomes of the places of evicted rows."""
    return [value for (family, key), value in writes.items() if family is Family.META and key.startswith(keys.EVICTED)]


def _goes(writes: Writes) -> bool:
    return any(value is not None for value in _marks(writes))


def _comes(writes: Writes) -> bool:
    return any(value is None for value in _marks(writes))


def strike_at(step: Step) -> None:
    """Have this process killed when it comes to that step."""
    strike = Strike(step)
    patches = ((Eviction, "choose", strike.choose), (RocksStore, "write", strike.write))
    for kind, name, instead in (*patches, (RocksStore, "reclaim", strike.reclaim)):
        setattr(kind, name, lambda self, *given, _instead=instead, **named: _instead(self, *given, **named))


def look_after_a_small_disk() -> None:
    """Have this process's agent make room at once, in several writes."""
    config.LEAST_BUDGET = 1 << 20
    budget.LOOK_SECONDS = 0.2
    budget.AT_ONCE = AT_ONCE
    housekeeping.PASS_SECONDS = 0.5


if (step := os.environ.get(STRIKE_VARIABLE)) is not None:
    look_after_a_small_disk()
    if step:
        strike_at(Step(step))

app = of_this_run(declare)
