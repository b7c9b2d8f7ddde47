"""What a worker tells Prometheus. One registry per process; `health` serves it."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_WORDS = 50
OTHERS = "others"


class GaugeBy:
    """A gauge with a value for each of a few words; whoever sets it sees to it that there are few."""

    def __init__(self, name: str, text: str, space: str, label: str, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(name, text, ["space", label], registry=registry)
        self._space = space
        self._told: frozenset[str] = frozenset()

    def set(self, values: Mapping[str, float]) -> None:
        """These and no others from now on. Who asks meanwhile misses none that stays."""
        for word, value in values.items():
            self._gauge.labels(self._space, word).set(value)
        for word in self._told - values.keys():
            self._gauge.remove(self._space, word)
        self._told = frozenset(values)


class CounterBy:
    """A counter for each of the words that are met; those beyond `MOST_WORDS` are counted as `others`."""

    def __init__(self, name: str, text: str, space: str, label: str, registry: CollectorRegistry) -> None:
        self._counter = Counter(name, text, ["space", label], registry=registry)
        self._space = space
        self._met: set[str] = set()

    def add(self, counts: Mapping[str, int]) -> None:
        """So many more of each."""
        for word, count in counts.items():
            if len(self._met) < MOST_WORDS:
                self._met.add(word)
            self._counter.labels(self._space, word if word in self._met else OTHERS).inc(count)


class WorkerMetrics:
    """Counters of one worker process."""

    def __init__(self, space: str) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            made = Counter(f"driftlog_worker_{name}", text, ["space"], registry=self.registry)
            return made.labels(space)

        self.ops = counter("ops", "Ops of merged batches, duplicates included")
        self.batches = counter("batches", "Op records merged and acknowledged")
        self.states = counter("states", "State records published")
        self.outcomes = counter("outcomes", "Rejections, parked commands and conflicts published")
        self.again = counter("states_again", "States published again over what somebody else had written")
        self.quarantined = counter("quarantined", "Commands and records that could not be decided and were set aside")
        self.cloned = counter("cloned", "New lives that were too many for their device within an hour: a copied key")
        self.unsupported = counter(
            "unsupported_batches", "Batches of a version of the app that is not supported any more: put off"
        )
        self.rejections = CounterBy(
            "driftlog_worker_rejections", "Commands that were rejected, by code", space, "code", self.registry
        )
        self.settled = counter("settled_conflicts", "Conflicts that nobody had decided before their deadline")
        self.reactions = counter("reaction_calls", "Commands that reactions have called for, repetitions included")
        self.failed_reactions = counter(
            "failed_reactions", "Reactions that failed, and commands they called for that were refused: set aside"
        )
        self.idle_spins = counter("idle_spins", "Half minutes in which the worker was busy and merged nothing")
        self.flights = counter("flights", "Flights acknowledged")
        self.recovered = counter(
            "recovered_records", "State records read into stores of partitions that were taken over"
        )
        self.kept_up = counter("standby_records", "State records read into stores of partitions that others own")
        self.recoveries = counter("recoveries", "Assignments recovered")

        def gauge(name: str, text: str) -> Gauge:
            made = Gauge(f"driftlog_worker_{name}", text, ["space"], registry=self.registry)
            return made.labels(space)

        self.parked = gauge("parked", "Commands parked now")
        self.partitions = gauge("partitions", "Partitions owned")
        self.generation = gauge("generation", "Which generation of the read model is merged here")
        self.removed_lives = gauge(
            "removed_lives",
            "Lives that are over and have no chain row any more, in the owned partition that has most; beyond 10,000 rows stay",
        )
        self.lag = gauge("lag_records", "Op records of the owned partitions that are not merged and acknowledged yet")
        self.open_conflicts = gauge("open_conflicts", "Conflicts in the owned partitions that nobody has decided")
        self.overdue_conflicts = gauge(
            "overdue_conflicts", "Documents of the owned partitions with a conflict whose deadline is over for a minute"
        )
        self.store_bytes = gauge(
            "store_bytes", "What the states of this worker take on its disk and in its write buffers"
        )
        self.devices = GaugeBy(
            "driftlog_worker_devices",
            "Active devices by the version of the app that they have last said; told by the owner of partition 0",
            space,
            "version",
            self.registry,
        )
        self.heard = GaugeBy(
            "driftlog_worker_devices_heard",
            "Active devices by within which time they were heard last, each counted once; told by the owner of partition 0",
            space,
            "within",
            self.registry,
        )
        self.support_ends = GaugeBy(
            "driftlog_worker_support_ends_timestamp_seconds",
            "When a version that devices run loses support, or has lost it",
            space,
            "version",
            self.registry,
        )
        self.flight_seconds = Histogram(
            "driftlog_worker_flight_seconds",
            "From sealed to acknowledged",
            ["space"],
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        ).labels(space)
