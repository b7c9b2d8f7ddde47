"""The topics of an app: their names, their settings, and what would have to change.

`plan` is a pure function of what is wanted and what is there. It creates and alters; it never deletes, and it refuses what
would lose data or order: the partition count of a topic never changes, because a scope's history lives in one partition, and agents keep what
they hold by it. A space that is given another one goes on in other topics (`moves`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from driftlog_schemas.contract import AppContract
from driftlog_schemas.moves import MARK, number_of

DEVICES = "driftlog.devices"
HEARTBEATS = "driftlog.heartbeats"
DESK = "driftlog.desk"
"""Who looks after which conflict; consoles write and read it."""
SHARED_PARTITIONS = 1
_RECEIPTS = re.compile(r"(.+)\.receipts(?:\.g[0-9]+)?")

DAY_MS = 24 * 60 * 60 * 1000
OPS_RETENTION_MS = 5 * 365 * DAY_MS
QUARANTINE_RETENTION_MS = 365 * DAY_MS
RECENT_MS = 10 * 60 * 1000
"""How long compaction leaves recent states and rows alone: so that a torn group can be told from a whole one, and so that whoever owns a
partition next finds the newest row of a chain although a worker that was cut off has written an older one over it. What no state tells, such
as that a change had no effect, would be gone with that row."""

LAG = "min.compaction.lag.ms"
RETENTION = "delete.retention.ms"
"""For how long whoever is away finds the tombstones of what went. That of a state topic is for how long a partition remembers."""
RETENTION_MS = 30 * DAY_MS

REPLICATION = 3
"""What is acknowledged must outlive any one broker; the cluster of one broker is the exception, and is told so."""
MIN_INSYNC = "min.insync.replicas"
WRITTEN_OVER_MS = 7 * DAY_MS
"""How long compaction leaves the device registry alone."""
HEARTBEAT_SEGMENT_BYTES = 16 << 20
"""Compaction leaves the newest segment as it is, and workers read all of the topic when they start."""
TIMES = "message.timestamp.type"
APPEND_TIME = "LogAppendTime"
"""The broker's own time in every record, whatever its writer says. Nothing else is believed; and a broker takes nothing, where it keeps its writers' times, of who is an hour ahead."""


def ops_topic(space: str) -> str:
    return f"{space}.ops"


def judged_by_time(topic: str) -> bool:
    """Do readers of this topic go by when a record came? Then none of them begins where it keeps its writers' times."""
    return topic in (DEVICES, HEARTBEATS, DESK) or topic.endswith(".ops")


def space_of_receipts(topic: str) -> str:
    """The space whose receipts a topic holds, of any generation; empty for any other topic."""
    found = _RECEIPTS.fullmatch(topic)
    return "" if found is None else found[1]


def state_topic(space: str) -> str:
    """That of the first generation; `SpaceTopics` knows the others."""
    return f"{space}.state"


def receipts_topic(space: str) -> str:
    """That of the first generation; `SpaceTopics` knows the others."""
    return f"{space}.receipts"


def of_generation(name: str, generation: int) -> str:
    """What a later generation has in the place of this topic or group of the first one."""
    return name if generation == 1 else f"{name}.g{generation}"


def generations_among(topics: Iterable[str], space: str) -> list[int]:
    """The later generations of a space that have topics among these, the oldest first."""
    own = re.compile(rf"{re.escape(space)}\.(?:state|receipts)\.g([0-9]+)")
    return sorted({int(found[1]) for topic in topics if (found := own.fullmatch(topic))})


def laid(space: str, partitions: int, existing: Mapping[str, int]) -> list[tuple[str, int]]:
    """What a space is called on the wire in all topics that it has had, and by how many partitions: as declared, and where it has moved since.

    `existing` says how many partitions each topic of the cluster has. Of a space that has moved a new declaration says nothing of what was before.
    """
    own = re.compile(rf"({re.escape(space)}{re.escape(MARK)}[0-9]+)\.ops")
    moved = [(found[1], count) for topic, count in existing.items() if (found := own.fullmatch(topic))]
    before = existing.get(ops_topic(space), partitions) if moved else partitions
    return [(space, before), *sorted(moved, key=lambda one: number_of(one[0]))]


def conflicts_topic(space: str) -> str:
    return f"{space}.conflicts"


def parked_topic(space: str) -> str:
    return f"{space}.parked"


def quarantine_topic(space: str) -> str:
    return f"{space}.quarantine"


@dataclass(frozen=True, slots=True)
class SpaceTopics:
    """The topics of one space, as one generation of its read model has them; and the consumer group of the workers that merge it.

    Each generation has its own states, receipts and group. The rest a space has once: conflicts and what is parked mend themselves by the states and rows
    of whoever owns the partition.
    """

    space: str
    generation: int = 1

    @property
    def ops(self) -> str:
        return ops_topic(self.space)

    @property
    def state(self) -> str:
        return of_generation(state_topic(self.space), self.generation)

    @property
    def receipts(self) -> str:
        return of_generation(receipts_topic(self.space), self.generation)

    @property
    def conflicts(self) -> str:
        return conflicts_topic(self.space)

    @property
    def parked(self) -> str:
        return parked_topic(self.space)

    @property
    def quarantine(self) -> str:
        return quarantine_topic(self.space)

    @property
    def group(self) -> str:
        return of_generation(f"driftlog-merge-{self.space}", self.generation)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is wanted or found. `settings` are Kafka's own names and texts."""

    name: str
    partitions: int
    settings: Mapping[str, str]
    replication: int = 1
    """On how many brokers each partition is; of a found topic, the least of them."""


@dataclass(frozen=True, slots=True)
class Alteration:
    """Settings to change on one topic: name -> (found, wanted)."""

    topic: str
    settings: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What will not be done, and the way that is open instead."""

    topic: str
    fact: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What `topics apply` would do. Nothing at all is done while there is a refusal."""

    create: Sequence[Topic]
    alter: Sequence[Alteration]
    refuse: Sequence[Refusal]
    leave: Sequence[Refusal] = ()
    """What stays otherwise than wanted, and is no reason to do nothing."""

    @property
    def empty(self) -> bool:
        return not (self.create or self.alter or self.refuse)


def space_topics(
    space: str, partitions: int, retention_ms: int = RETENTION_MS, generations: Sequence[int] = (1,)
) -> list[Topic]:
    """The topics of one space, with these generations of its read model; its partitions remember so long."""
    size = {"max.message.bytes": str(1 << 20)}
    compact = {"cleanup.policy": "compact", RETENTION: str(RETENTION_MS), TIMES: APPEND_TIME}
    delete = {"cleanup.policy": "delete", TIMES: APPEND_TIME, **size}
    return [
        Topic(ops_topic(space), partitions, {**delete, "retention.ms": str(OPS_RETENTION_MS)}),
        *(topic for one in generations for topic in generation_topics(space, partitions, one, retention_ms)),
        # an agent that was away for longer reads all conflicts again
        Topic(conflicts_topic(space), partitions, compact),
        # a stranger's tombstone is found, and answered, by a worker that was away for so long
        Topic(parked_topic(space), partitions, {**compact, **size}),
        Topic(quarantine_topic(space), partitions, {**delete, "retention.ms": str(QUARANTINE_RETENTION_MS)}),
    ]


def generation_topics(
    space: str, partitions: int, generation: int, retention_ms: int = RETENTION_MS
) -> tuple[Topic, Topic]:
    """Those that each generation has for itself: states and receipts."""
    named = SpaceTopics(space, generation)
    settings = {
        "cleanup.policy": "compact",
        LAG: str(RECENT_MS),
        TIMES: APPEND_TIME,
        "max.message.bytes": str(1 << 20),
    }
    return (
        Topic(named.state, partitions, {**settings, RETENTION: str(retention_ms)}),
        Topic(named.receipts, partitions, settings),
    )


def devices_topic() -> Topic:
    """The device registry. What is written over a line stays beside it for a while, so that readers see both and put it right."""
    settings = {
        "cleanup.policy": "compact",
        TIMES: APPEND_TIME,
        LAG: str(WRITTEN_OVER_MS),
    }
    return Topic(DEVICES, SHARED_PARTITIONS, settings)


def heartbeats_topic() -> Topic:
    """What agents say of themselves, one record a device. When one was heard of last the broker's times tell; small segments keep it short."""
    settings = {
        "cleanup.policy": "compact",
        TIMES: APPEND_TIME,
        "segment.bytes": str(HEARTBEAT_SEGMENT_BYTES),
    }
    return Topic(HEARTBEATS, SHARED_PARTITIONS, settings)


def desk_topic() -> Topic:
    """Who looks after which conflict, one record each. No claim is in force for longer than the topic keeps it."""
    settings = {"cleanup.policy": "compact,delete", "retention.ms": str(RETENTION_MS), TIMES: APPEND_TIME}
    return Topic(DESK, SHARED_PARTITIONS, settings)


def wanted_topics(
    contract: AppContract, retention_ms: int = RETENTION_MS, existing: Mapping[str, int] = MappingProxyType({})
) -> list[Topic]:
    """All topics that an app needs. Of a space whose later generations are among the `existing` topics, and of one that has moved, also those of them."""
    topics = [devices_topic(), heartbeats_topic(), desk_topic()]
    for space in contract.spaces.values():
        for name, partitions in laid(space.name, space.partitions, existing):
            generations = [1, *generations_among(existing, name)]
            topics += space_topics(name, partitions, retention_ms, generations)
    return topics


def remembering(wanted: Sequence[Topic], existing: Mapping[str, Topic]) -> list[Topic]:
    """The same, but each topic that is there goes on remembering for as long as it does."""
    return [
        replace(topic, settings={**topic.settings, RETENTION: existing[topic.name].settings[RETENTION]})
        if RETENTION in topic.settings and topic.name in existing and RETENTION in existing[topic.name].settings
        else topic
        for topic in wanted
    ]


def replicated(topics: Sequence[Topic], factor: int) -> list[Topic]:
    """The same topics on so many brokers; a write is acknowledged by all but one of them, so that one may be missing."""
    return [_acknowledged_by(replace(topic, replication=factor), factor) for topic in topics]


def _acknowledged_by(topic: Topic, brokers: int) -> Topic:
    """A write needs all but one of those that the topic is on, and never more than those: none would be taken any more."""
    return replace(topic, settings={**topic.settings, MIN_INSYNC: str(max(1, brokers - 1))})


def plan(wanted: Sequence[Topic], existing: Mapping[str, Topic]) -> Plan:
    """What would change."""
    create, alter, refuse, leave = [], [], [], []
    for topic in wanted:
        found = existing.get(topic.name)
        if found is not None and found.replication < topic.replication:
            leave.append(_thin(topic, found))
            topic = _acknowledged_by(topic, found.replication)
        if found is None:
            create.append(topic)
        elif found.partitions != topic.partitions:
            refuse.append(
                Refusal(
                    topic.name,
                    f"has {found.partitions} partitions, the app declares {topic.partitions}; scopes would move and lose their order",
                    f"declare partitions={found.partitions}, or give the space another count: `driftlog topics repartition`",
                )
            )
        else:
            differing = {
                name: (found.settings.get(name, ""), value)
                for name, value in topic.settings.items()
                if found.settings.get(name) != value
            }
            if differing:
                alter.append(Alteration(topic.name, differing))
    return Plan(create, alter, refuse, tuple(leave))


def _thin(wanted: Topic, found: Topic) -> Refusal:
    return Refusal(
        wanted.name,
        f"is on {found.replication} of the {wanted.replication} brokers that it should be on; it is not moved by this",
        "move its partitions with kafka-reassign-partitions, then apply again",
    )
