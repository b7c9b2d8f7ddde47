"""The fleet: of each enrolled device what the registry says, and what it has last said of itself.

A heartbeat is nobody's word of honour: it is not signed, and who may write its topic may write anything. It is for looking, never for deciding. When
it was heard is the broker's time; a topic that keeps its writers' times tells nothing about that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.spans import span
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.lately_heard import heartbeat_in
from driftlog_streams.reading.skipped import skipping
from driftlog_streams.reading.topic_reading import whole_topic

LATE_MS = 5 * 60_000
"""An agent that is online has sent what it has within seconds. What waits longer waits for something."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The last heartbeat of a device."""

    word: Heartbeat
    at_ms: int
    """When the broker took it; `UNTIMED` where the topic does not tell."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the fleet."""

    device: Device
    heard: Heard | None = None
    """None: never."""
    cloned: bool = False
    before: Heartbeat | None = None
    """An earlier word of it, from which `outlook` tells where its backlog goes; None where none is known."""

    def silent_ms(self, now_ms: int) -> int | None:
        """For how long nothing was heard; None where nobody can tell."""
        return None if self.heard is None or self.heard.at_ms == UNTIMED else max(0, now_ms - self.heard.at_ms)

    def needs(self, now_ms: int, silent_ms: int) -> Iterator[str]:
        """What a person should look at, the worst first; `silent_ms` without a word are too many."""
        latest, heard = self.device.latest, self.heard
        if self.cloned:
            yield "began too many lives within an hour: is its folder or key copied?"
        if latest.status is not DeviceStatus.ACTIVE:
            if latest.status is DeviceStatus.REVOKED and heard is not None and heard.at_ms > latest.from_ms:
                yield "is revoked, and still speaks"
            return
        if heard is None:
            yield "was never heard of"
            return
        word, silent = heard.word, self.silent_ms(now_ms)
        if word.differing:
            yield f"differs from the cloud in {', '.join(word.differing)}, though it was read again"
        if word.review:
            yield f"{word.review} commands wait for a person"
        waits = word.sent_ms - word.oldest_pending_ms if word.pending and word.oldest_pending_ms else 0
        if word.connection == "ONLINE" and waits > LATE_MS:
            yield f"is online, and its oldest command has waited {span(waits)}"
        if silent is not None and silent > silent_ms:
            yield f"was not heard of for {span(silent)}"
        if word.clock_skew_ms:
            yield f"its clock was {skewed(word.clock_skew_ms)} when it last wrote"


def read_heartbeats(kafka: KafkaSettings | str, codecs: RecordCodecs) -> dict[str, Heard]:
    """device -> its last heartbeat. Raises `TopicProblem`, `BrokerUnreachable`."""
    found: dict[str, Heard] = {}
    with skipping(topics.HEARTBEATS) as skipped:
        for _, record in whole_topic(kafka, topics.HEARTBEATS, topics.SHARED_PARTITIONS):
            word = heartbeat_in(record, codecs, skipped)
            if word is not None:
                found[word.device_id] = Heard(word, record.append_ms)
    return found


def fleet_of(
    devices: Iterable[Device],
    heard: Mapping[str, Heard],
    cloned: Iterable[str],
    before: Mapping[str, Heartbeat] = MappingProxyType({}),
) -> list[Member]:
    """Each device that is enrolled; what others say of themselves is nobody's."""
    copies = frozenset(cloned)
    return [Member(d, heard.get(d.device_id), d.device_id in copies, before.get(d.device_id)) for d in devices]


def versions_of(members: Iterable[Member]) -> dict[tuple[str, str], list[str]]:
    """(component, version) -> the active devices that run it, by what each has last said; the version of an app that names none is empty."""
    found: dict[tuple[str, str], list[str]] = {}
    for member in members:
        if member.heard is not None and member.device.latest.status is DeviceStatus.ACTIVE:
            for component, version in _components(member.heard.word):
                found.setdefault((component, version), []).append(member.device.device_id)
    return {place: sorted(devices) for place, devices in sorted(found.items())}


def app_component(name: str) -> str:
    """As what a heartbeat tells the version of an app."""
    return f"app {name}"


def space_component(name: str) -> str:
    """As what a heartbeat tells the release of a space's declarations."""
    return f"space {name}"


def app_version(word: Heartbeat) -> str:
    """Of the app that a device runs; empty if it names none."""
    return word.versions.get(app_component(word.versions.get("app", "")), "")


def _components(word: Heartbeat) -> Iterator[tuple[str, str]]:
    yield from word.versions.items()
    app = app_component(word.versions.get("app", ""))
    if "app" in word.versions and app not in word.versions:
        yield app, ""


def skewed(ms: int) -> str:
    """How wrong a clock is that is not right, for people."""
    return f"{span(abs(ms))} {'ahead' if ms > 0 else 'behind'}"
