"""How far the workers are behind, and whether that grows: asked for by a thread every few seconds, and kept for an hour, by minute also on disk.

What is not known is None all the way, which is neither healthy nor 0.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_console.history.view import Place
from driftlog_console.lag_memory import KEPT_MS, LagMemory, Sample, longest
from driftlog_streams.errors import WorkerError
from driftlog_streams.reading.merge_lag import Lag
from driftlog_streams.reading.workers import Worker

log = structlog.get_logger()

LOOK_SECONDS = 5.0
SAMPLES = 720
"""Of each partition: an hour."""
COMPARED_MS = 5 * 60_000
"""A trend is against what was so long ago, or as long as is known,"""
LEAST_MS = 30_000
"""but not shorter than this."""
STEADY_SECONDS = 5.0


class LagLook(Protocol):
    """Who asks; `LagReader` does."""

    def look(self, space: str, partitions: Iterable[int]) -> Mapping[int, Lag]: ...


class WorkerLook(Protocol):
    """Who asks who they are; `WorkerReader` does."""

    def look(self, space: str) -> Sequence[Worker]: ...


class FlowView:
    """`places` are those to look at; `now_ms` a clock, as epoch milliseconds. It goes on from what `memory` has."""

    def __init__(
        self,
        reader: LagLook,
        places: Callable[[], Iterable[Place]],
        now_ms: Callable[[], int],
        changed: Callable[[], None],
        memory: LagMemory,
        workers: WorkerLook,
    ) -> None:
        self._reader, self._places, self._now_ms, self._changed = reader, places, now_ms, changed
        self._memory = memory
        self._samples = {place: deque(kept, maxlen=SAMPLES) for place, kept in memory.load(now_ms()).items()}
        self._workers = workers
        self.workers: Mapping[str, Sequence[Worker]] = MappingProxyType({})
        """Space -> its workers; a space that was not asked for yet is not there."""
        self.workers_problem = ""
        """Why they could not be asked for last; empty if they could."""
        self.problem = ""
        """Why the last look failed; empty if it did not."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftlog-flow", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and keep what was found; a look that does not end in time keeps what it finds to itself."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if not self._thread.is_alive():
            self._memory.close()

    def try_look(self) -> None:
        """Ask once; what hinders it is in `problem`."""
        spaces: dict[str, set[int]] = {}
        for place in self._places():
            spaces.setdefault(place.space, set()).add(place.partition)
        try:
            for space, partitions in sorted(spaces.items()):
                for partition, lag in self._reader.look(space, sorted(partitions)).items():
                    self._take(Place(space, partition), lag)
            self.problem = ""
        except (KafkaException, WorkerError) as error:
            if str(error) != self.problem:
                log.warning("the lag of the workers cannot be asked for", problem=str(error))
            self.problem = str(error)
        self._look_at_workers(sorted(spaces))
        self._changed()

    def _look_at_workers(self, spaces: Iterable[str]) -> None:
        try:
            self.workers = {space: self._workers.look(space) for space in spaces}
            self.workers_problem = ""
        except KafkaException as error:
            self.workers_problem = str(error)

    def _take(self, place: Place, lag: Lag) -> None:
        now_ms = self._now_ms()
        samples = self._samples.setdefault(place, deque(maxlen=SAMPLES))
        while samples and samples[-1].at_ms > now_ms:
            samples.pop()  # the clock was set back: nothing can be compared with what is yet to come
        while samples and samples[0].at_ms <= now_ms - KEPT_MS:
            samples.popleft()
        samples.append(Sample(now_ms, lag, lag.seconds(now_ms)))
        self._memory.take(place, samples[-1])

    def _run(self) -> None:
        while not self._closed.is_set():
            self.try_look()
            self._closed.wait(LOOK_SECONDS)

    def samples(self, place: Place) -> Sequence[Sample]:
        """The last hour of a partition, the oldest first; empty where it was never looked at."""
        return tuple(self._samples.get(place, ()))


def by_minute(samples: Sequence[Sample]) -> list[Sample | None]:
    """The longest lag of each minute up to the last sample, the oldest first; None for one in which nobody asked."""
    if not samples:
        return []
    found: dict[int, Sample] = {}
    for sample in samples:
        before = found.get(sample.minute)
        found[sample.minute] = sample if before is None else longest((before, sample))
    return [found.get(minute) for minute in range(samples[0].minute, samples[-1].minute + 1)]


def trend(samples: Sequence[Sample]) -> str:
    """`grows`, `shrinks`, `steady`; empty where there is not enough to tell."""
    known = [sample for sample in samples if sample.seconds is not None]
    if not known or known[-1] is not samples[-1]:
        return ""
    last = known[-1]
    before = _compared(known)
    if before is None:
        return ""
    assert last.seconds is not None and before.seconds is not None, "only what is known is compared"
    change = last.seconds - before.seconds
    if abs(change) <= max(STEADY_SECONDS, before.seconds / 10):
        return "steady"
    return "grows" if change > 0 else "shrinks"


def _compared(known: Sequence[Sample]) -> Sample | None:
    """What the last one is compared with: what was up to so long ago, or where nobody asked for longer than that, what was found last before."""
    last_ms = known[-1].at_ms
    within = [sample for sample in known if last_ms - COMPARED_MS <= sample.at_ms <= last_ms - LEAST_MS]
    earlier = [sample for sample in known if sample.at_ms < last_ms - COMPARED_MS]
    return within[0] if within else earlier[-1] if earlier else None
