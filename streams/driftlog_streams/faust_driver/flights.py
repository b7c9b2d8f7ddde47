"""Carries flights out: what the flight deck says may happen now is begun, whenever that may have changed.

Nothing is decided here; order is the core's (`flight`). What a stage does where the flight came from, in its stores and with its source records, is
its *ground*'s. A delivery that fails ends the process, and so does a store that takes nothing: nothing of the flight is acknowledged then, and
whoever owns the partitions reads it again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from driftlog_streams.core.flight import Effect, Flight, FlightDeck, PartitionFlight, Stage
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.faust_driver.pulse import Pulse
from driftlog_streams.faust_driver.sudden_end import die
from driftlog_streams.telling.metrics import WorkerMetrics

NOT_TAKEN = "see its log, and whether `driftlog topics plan` finds a topic with other settings"


class Ground(Protocol):
    """Where flights come from."""

    def store(self, part: PartitionFlight, *, alone: bool) -> None:
        """All that it publishes is delivered; `alone`: no other flight is under way."""

    def stored(self, part: PartitionFlight) -> None:
        """All parts of the flight are in their stores."""

    def acknowledge(self, part: PartitionFlight) -> None:
        """Its source records are done."""

    def landed(self) -> None:
        """There is room for another one."""


class Flights:
    """Those under way."""

    def __init__(self, publisher: Publisher, pulse: Pulse, metrics: WorkerMetrics, ground: Ground) -> None:
        self._publisher = publisher
        self._pulse = pulse
        self._metrics = metrics
        self._ground = ground
        self._deck = FlightDeck()
        self._sealed_at: dict[int, float] = {}
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._deck)

    @property
    def full(self) -> bool:
        """Must another one wait?"""
        return self._deck.full

    def revoke(self) -> None:
        """The partitions are taken away. Messages under way may still arrive after a new owner's: let no life outlive its flights."""
        if len(self._deck):
            die(DeliveryFailed(f"{len(self._deck)} flights were under way when the partitions were taken away"))
        self._epoch += 1

    def launch(self, parts: Sequence[PartitionFlight]) -> None:
        """One more, made of these; not while it is full."""
        flight = Flight([*parts])
        self._sealed_at[id(flight)] = time.monotonic()
        self._deck.add(flight)
        self._metrics.states.inc(sum(len(p.writes) for p in parts))
        self._metrics.outcomes.inc(sum(len(p.outcomes) for p in parts))
        self._metrics.quarantined.inc(sum(p.work.quarantined for p in parts))
        self._metrics.cloned.inc(sum(p.work.cloned for p in parts))
        self._metrics.unsupported.inc(sum(p.work.unsupported for p in parts))
        for part in parts:
            self._metrics.rejections.add(part.work.rejected)
        self._metrics.settled.inc(sum(p.work.settled for p in parts))
        self._metrics.reactions.inc(sum(len(p.work.emitted) for p in parts))
        self._metrics.failed_reactions.inc(sum(p.work.failed_reactions for p in parts))
        self._carry_out()

    def _carry_out(self) -> None:
        while effects := self._deck.effects():
            for effect in effects:
                self._begin(effect)

    def _begin(self, effect: Effect) -> None:
        flight, stage = effect
        if stage is Stage.STORE:
            self._store(flight)
        elif stage is Stage.ACK:
            self._acknowledge(flight)
        elif not flight.records(stage):
            self._deck.finished(flight, stage)
        else:
            self._publish(flight, stage)

    def _publish(self, flight: Flight, stage: Stage) -> None:
        epoch, rounds = self._epoch, deque(flight.rounds(stage))

        def delivered(offsets: Mapping[tuple[str, int], int]) -> None:
            if epoch != self._epoch:
                return
            for part in flight.partitions:
                part.delivered(offsets)
            try:
                if rounds:
                    publish()
                else:
                    self._deck.finished(flight, stage)
                    self._carry_out()
            except Exception as error:  # noqa: BLE001  # what a callback raises the loop only logs: a store that took nothing
                die(error)

        def failed(error: str) -> None:
            die(DeliveryFailed(f"the broker did not take a flight: {error}", NOT_TAKEN))

        def publish() -> None:
            self._pulse.check()
            self._publisher.publish(rounds.popleft(), delivered, failed)

        publish()

    def _store(self, flight: Flight) -> None:
        alone = len(self._deck) == 1
        for part in flight.partitions:
            self._ground.store(part, alone=alone)
        self._deck.finished(flight, Stage.STORE)
        for part in flight.partitions:
            self._ground.stored(part)

    def _acknowledge(self, flight: Flight) -> None:
        for part in flight.partitions:
            self._ground.acknowledge(part)
        self._deck.finished(flight, Stage.ACK)
        metrics = self._metrics
        metrics.batches.inc(sum(len(part.sources) for part in flight.partitions))
        metrics.ops.inc(flight.ops)
        metrics.flights.inc()
        metrics.flight_seconds.observe(time.monotonic() - self._sealed_at.pop(id(flight)))
        self._ground.landed()
