"""How far the workers are behind, and whether that grows: asked for by a thread every few seconds, and kept for an hour.

What is not known is None all the way, which is neither healthy nor 0.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_console.history.view import Place
from driftlog_streams.errors import WorkerError
from driftlog_streams.reading.merge_lag import Lag

log = structlog.get_logger()

LOOK_SECONDS = 5.0
SAMPLES = 720
"""Of each partition: an hour."""
COMPARED_MS = 5 * 60_000
"""A trend is against what was so long ago, or as long as is known,"""
LEAST_MS = 30_000
"""but not shorter than this."""
STEADY_SECONDS = 5.0


class Sample(NamedTuple):
    """What was found at a time."""

    at_ms: int
    lag: Lag
    seconds: float | None


class LagLook(Protocol):
    """Who asks; `LagReader` does."""

    def look(self, space: str, partitions: Iterable[int]) -> Mapping[int, Lag]: ...


class FlowView:
    """`places` are those to look at; `now_ms` a clock, as epoch milliseconds."""

    def __init__(
        self,
        reader: LagLook,
        places: Callable[[], Iterable[Place]],
        now_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._reader, self._places, self._now_ms, self._changed = reader, places, now_ms, changed
        self._samples: dict[Place, deque[Sample]] = {}
        self.problem = ""
        """Why the last look failed; empty if it did not."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftlog-flow", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a look that is under way ends by itself."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def try_look(self) -> None:
        """Ask once; what hinders it is in `problem`."""
        spaces: dict[str, set[int]] = {}
        for place in self._places():
            spaces.setdefault(place.space, set()).add(place.partition)
        try:
            for space, partitions in sorted(spaces.items()):
                for partition, lag in self._reader.look(space, sorted(partitions)).items():
                    now_ms = self._now_ms()
                    samples = self._samples.setdefault(Place(space, partition), deque(maxlen=SAMPLES))
                    samples.append(Sample(now_ms, lag, lag.seconds(now_ms)))
            self.problem = ""
        except (KafkaException, WorkerError) as error:
            if str(error) != self.problem:
                log.warning("the lag of the workers cannot be asked for", problem=str(error))
            self.problem = str(error)
        self._changed()

    def _run(self) -> None:
        while not self._closed.is_set():
            self.try_look()
            self._closed.wait(LOOK_SECONDS)

    def samples(self, place: Place) -> Sequence[Sample]:
        """The last hour of a partition, the oldest first; empty where it was never looked at."""
        return tuple(self._samples.get(place, ()))


def trend(samples: Sequence[Sample]) -> str:
    """`grows`, `shrinks`, `steady`; empty where there is not enough to tell."""
    known = [sample for sample in samples if sample.seconds is not None]
    if not known or known[-1] is not samples[-1]:
        return ""
    last = known[-1]
    before = next((s for s in known if s.at_ms >= last.at_ms - COMPARED_MS), last)
    if last.at_ms - before.at_ms < LEAST_MS:
        return ""
    assert last.seconds is not None and before.seconds is not None, "only what is known is compared"
    change = last.seconds - before.seconds
    if abs(change) <= max(STEADY_SECONDS, before.seconds / 10):
        return "steady"
    return "grows" if change > 0 else "shrinks"
