"""A projection of one space into PostgreSQL, put together: followed until it is told to stop, brought to the present end, or built anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)

from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.moves import Moved, present
from driftlog_schemas.registry import CachedRegistry
from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.errors import SinkAway
from driftlog_streams.projections.following import StateLog
from driftlog_streams.projections.metrics import ProjectorMetrics
from driftlog_streams.projections.postgres.rebuild import Swap, shadow_of
from driftlog_streams.projections.postgres.sink import PostgresSink
from driftlog_streams.projections.projector import LONGEST_PAUSE_SECONDS, Done, Projector
from driftlog_streams.projections.records import StateReader
from driftlog_streams.projections.settings import ProjectorSettings
from driftlog_streams.telling.health import Health

log = structlog.get_logger()


class Projection:
    """Of one space. One run at a time."""

    def __init__(
        self,
        settings: ProjectorSettings,
        contract: AppContract,
        in_force: Callable[[str], int] = lambda space: 1,
        moved: Callable[[str], Moved | None] = lambda space: None,
    ) -> None:
        """`in_force` says which generation of a space is read, `moved` where a space goes on with another number of partitions.

        Raises `SetupProblem` for a space or a partition that is not there.
        """
        self._in_force, self._moved = in_force, moved
        declared = _chosen(contract, settings.space)
        self.space = present(declared, moved)
        self.schema = settings.into_schema or declared.name
        self.metrics = ProjectorMetrics(self.space.name)
        self.health = Health()
        self._settings = settings
        unknown = [number for number in settings.partitions if not 0 <= number < self.space.partitions]
        if unknown:
            raise SetupProblem(
                f"space {self.space.name} has no partition {unknown[0]}",
                f"name some of 0 to {self.space.partitions - 1}",
            )
        self._all = frozenset(range(self.space.partitions))
        self._partitions = frozenset(settings.partitions) or self._all

    def follow(self, stop: threading.Event) -> Done:
        """Until it is told to stop. Raises `PositionLost`, `SetupProblem`."""
        return self._run(stop, self._partitions, to_end=False)

    def to_end(self, stop: threading.Event) -> Done:
        """Up to where the topic ends now. Raises `PositionLost`, `SetupProblem`, and what is away for longer than it waits."""
        return self._run(stop, self._partitions, to_end=True)

    def rebuild(self, stop: threading.Event) -> Done:
        """All of it anew, beside what readers have, and in its place when it is as far. Raises `SetupProblem`, `SinkAway`."""
        swap = Swap(self._settings.postgres, self.schema)
        self._while_away(stop)(swap.begin)
        with closing(self._log()) as log, closing(self._sink(shadow_of(self.schema))) as sink:
            projector = self._projector(log, sink, self._all)
            projector.run(stop, lambda: log.ends(self._all), self._settings.wait)

            def catch_up(offsets: Mapping[int, int]) -> None:
                projector.run(stop, lambda: offsets, self._settings.wait)
                if stop.is_set():
                    raise SetupProblem("the rebuild was stopped before it was whole", "run it again")

            self._while_away(stop)(lambda: swap.finish(log.topic_id(), catch_up))
            return projector.done

    def _while_away(self, stop: threading.Event) -> Retrying:
        """Tries again while PostgreSQL is away, for as long as the settings say; then its `SinkAway` goes on."""

        def told(state: RetryCallState) -> None:
            why = None if state.outcome is None else state.outcome.exception()
            log.warning("PostgreSQL is waited for", why=str(why))

        return Retrying(
            retry=retry_if_exception_type(SinkAway),
            stop=stop_after_delay(self._settings.wait) | stop_when_event_set(stop),
            wait=wait_exponential_jitter(multiplier=0.5, max=LONGEST_PAUSE_SECONDS),
            sleep=sleep_using_event(stop),
            before_sleep=told,
            reraise=True,
        )

    def _run(self, stop: threading.Event, partitions: frozenset[int], *, to_end: bool) -> Done:
        with closing(self._log()) as log, closing(self._sink(self.schema)) as sink:
            projector = self._projector(log, sink, partitions)
            if to_end:
                projector.run(stop, lambda: log.ends(partitions), self._settings.wait)
            else:
                projector.run(stop)
            return projector.done

    def _log(self) -> StateLog:
        self.health.generation = self._in_force(self.space.name)
        name = self.space.name
        return StateLog(self._settings.kafka, name, lambda: self._in_force(name), lambda: self._moved(name) is not None)

    def _reader(self) -> StateReader:
        ids = CachedRegistry(self._settings.registry, self._settings.schema_cache)
        return StateReader(self.space, ids, self.metrics.skipped.inc)

    def _sink(self, schema: str) -> PostgresSink:
        reader = self._reader()
        return PostgresSink(self._settings.postgres, schema, self.space.name, self.space.partitions, reader.tables)

    def _projector(self, log: StateLog, sink: PostgresSink, partitions: frozenset[int]) -> Projector:
        return Projector(log, self._reader(), sink, partitions, self.metrics, self.health)


def _chosen(contract: AppContract, name: str | None) -> SpaceContract:
    known = ", ".join(contract.spaces) or "none"
    if name is None and len(contract.spaces) == 1:
        return next(iter(contract.spaces.values()))
    if name is None:
        raise SetupProblem(
            f"app {contract.name!r} has several spaces: {known}", "name one with --space, one process each"
        )
    if name not in contract.spaces:
        raise SetupProblem(f"app {contract.name!r} declares no space {name!r}; it has {known}", "mend --space")
    return contract.spaces[name]
