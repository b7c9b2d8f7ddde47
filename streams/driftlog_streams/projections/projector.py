"""From the state topic to a sink: claim partitions, follow them from where the sink stands, hand over whole groups. One thread, no state of its own.

Whatever is in the way (a broker, a registry, a sink that is away; somebody else who has moved a partition), everything read is dropped and begins
again from what the sink says, after a pause that grows to half a minute: for ever where it follows, for a while where it has a goal. What cannot get better by itself (`PositionLost`, `SetupProblem`) ends it.

Two processes may run: each partition is written by who has claimed it, the other stands by; for a while only, where it has a goal.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from driftlog_schemas.errors import BrokerUnreachable, RegistryUnreachable
from driftlog_streams.projections.errors import HeldElsewhere, PositionLost, SinkAway, Superseded
from driftlog_streams.projections.following import StateLog
from driftlog_streams.projections.gathering import Gathering
from driftlog_streams.projections.metrics import ProjectorMetrics
from driftlog_streams.projections.records import StateReader
from driftlog_streams.projections.sink import Group, Sink
from driftlog_streams.telling.health import Health

log = structlog.get_logger()

READ_SECONDS = 0.2
CLAIM_SECONDS = 2.0
"""How often partitions are asked for that somebody else holds."""
CONFIRM_SECONDS = 600.0
"""How often a position is confirmed at which nothing happens."""
LOOK_SECONDS = 5.0
"""How often it is asked whether the topic is still the one that is followed. A client that knew the log before may get nothing of the new one, and does not say so."""
LONGEST_PAUSE_SECONDS = 30.0
Goal: TypeAlias = Callable[[], Mapping[int, int]]
"""Tells for each partition up to which offset it is to be read. Raises `BrokerUnreachable`."""
PASSING = (BrokerUnreachable, RegistryUnreachable, SinkAway, Superseded)


@dataclass(slots=True)
class Done:
    """What was done since it began."""

    records: int = 0
    rows: int = 0
    commits: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    """Where the partitions stand that this process writes."""


class Projector:
    """See the module. `partitions`: which of the space."""

    def __init__(
        self,
        state_log: StateLog,
        reader: StateReader,
        sink: Sink,
        partitions: frozenset[int],
        metrics: ProjectorMetrics,
        health: Health,
    ) -> None:
        self._log, self._reader, self._sink = state_log, reader, sink
        self._partitions = partitions
        self._metrics, self._health = metrics, health
        self._stands_by: int | None = None
        """How many partitions somebody else writes; None until that was asked in this session."""
        self.done = Done()

    def run(self, stop: threading.Event, goal: Goal | None = None, patience_seconds: float = math.inf) -> None:
        """Until `stop` is set, or until the partitions were read up to the offsets of the goal, and what of it is whole was handed over.

        Raises `PositionLost`, `SetupProblem`; and what is in the way, or `HeldElsewhere`, when nothing was handed over for longer than the patience.
        """
        pause, since = 0.0, time.monotonic()
        while not stop.is_set():
            commits = self.done.commits
            try:
                self._session(stop, goal, patience_seconds)
                return
            except PASSING as error:
                if self.done.commits > commits:
                    pause, since = 0.0, time.monotonic()
                if time.monotonic() - since > patience_seconds:
                    raise
                pause = min(max(pause * 2, 0.5), LONGEST_PAUSE_SECONDS)
                self._trouble(error, pause)
                self._wait(stop, pause)
        self._health.owned = None

    def _trouble(self, error: Exception, pause: float) -> None:
        self._health.owned = None
        self._metrics.partitions.set(0)
        self._metrics.troubles.inc()
        self._metrics.last_error.set_to_current_time()
        log.warning("the projection begins again", why=str(error), kind=type(error).__name__, pause_seconds=pause)

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not stop.wait(min(0.5, max(0.0, end - time.monotonic()))) and time.monotonic() < end:
            self._health.beat()

    def _session(self, stop: threading.Event, goal: Goal | None, patience_seconds: float) -> None:
        self._sink.open()
        topic_id = self._log.topic_id()
        until = None if goal is None else goal()
        self.done.positions, self._stands_by = {}, None
        gathering = Gathering(self._reader, topic_id, {})
        next_claim = next_confirmation = 0.0
        next_look = time.monotonic() + LOOK_SECONDS
        commits, since = self.done.commits, time.monotonic()
        while not stop.is_set():
            self._health.beat()
            now = time.monotonic()
            if now >= next_claim and len(self.done.positions) < len(self._partitions):
                next_claim = now + CLAIM_SECONDS
                if self._claim(topic_id):
                    gathering = Gathering(self._reader, topic_id, self.done.positions)
            if until is not None and self._log.has_read(until):
                break
            if self.done.commits > commits:
                commits, since = self.done.commits, now
            held = len(self._partitions) - len(self.done.positions)
            if until is not None and held and now - since > patience_seconds:
                raise HeldElsewhere(held, len(self._partitions))
            self._step(topic_id, gathering)
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                self._require_followed(topic_id)
            if now >= next_confirmation:
                next_confirmation = now + CONFIRM_SECONDS
                self._write(topic_id, gathering, gathering.standing())
        self._health.owned = None

    def _claim(self, topic_id: str) -> bool:
        """Ask for what is not held; read on from where all that is held stands, if there is more of it."""
        stands = self.done.positions
        more = self._sink.claim(self._partitions - stands.keys())
        if more:
            self._log.require_leading_on(topic_id, more)
        stands |= {number: at.offset for number, at in more.items()}
        self._health.owned = sorted(stands)
        self._metrics.partitions.set(len(stands))
        if more or self._stands_by is None:
            self._stands_by = len(self._partitions) - len(stands)
            log.info("partitions are projected", partitions=sorted(stands), stands_by=self._stands_by)
            self._log.follow(stands)
        return bool(more)

    def _step(self, topic_id: str, gathering: Gathering) -> None:
        """Read a block and hand over what it makes whole."""
        records = self._log.read(READ_SECONDS)
        if not records:
            return
        self.done.records += len(records)
        self._metrics.records.inc(len(records))
        gathering.take(records, self._log.ops_ends(records))
        self._write(topic_id, gathering, gathering.ripe())
        self._metrics.lag.set(self._log.behind(self.done.positions))

    def _require_followed(self, topic_id: str) -> None:
        if self._log.topic_id() != topic_id:
            raise PositionLost(f"topic {self._log.topic} was made anew")

    def _write(self, topic_id: str, gathering: Gathering, groups: Sequence[Group]) -> None:
        if not groups:
            return
        self._require_followed(topic_id)
        with self._metrics.commit_seconds.time():
            self._sink.rows(groups)
        gathering.done(groups)
        rows = sum(len(group.rows) for group in groups)
        self.done.rows += rows
        self.done.commits += 1
        self.done.positions |= {group.partition: group.end for group in groups}
        self._metrics.rows.inc(rows)
        self._metrics.commits.inc()
