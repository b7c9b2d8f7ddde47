"""The cloud of a simulation: the merge workers' own core on logs, stores and topics in memory.

Admission, chains, rights, guards and merging are production's (`driftlog_streams.core`); what is left out is Kafka, Faust and the disk, which
have no say in what becomes of a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from driftlog_crdt import DocumentState
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.contract import AppContract, SpaceContract
from driftlog_schemas.devices import Device, DeviceKey, enrolled
from driftlog_schemas.identity import CLOUD, DocumentId, parse_document_key
from driftlog_schemas.messages import ChainRow, Conflict, Quarantined
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.support import named
from driftlog_streams.core.admission import admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rights import FORGET
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.work import OutRecord

Place: TypeAlias = tuple[str, int]
"""Space and partition."""


class Appended(NamedTuple):
    """A record of an op log."""

    value: bytes
    append_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """What a flight has published: documents as rows, and the rows of chains."""

    read: int
    """Op offset up to which it has merged."""
    documents: Mapping[DocumentId, bytes]
    rows: Mapping[str, ChainRow]


class Devices:
    """The device registry; `cloud` is the workers' own line."""

    def __init__(self, lines: Mapping[str, Device], cloud: Device | None) -> None:
        self._lines = lines
        self._cloud = cloud

    def find(self, device_id: str) -> Device | None:
        return self._cloud if device_id == CLOUD else self._lines.get(device_id)


@dataclass
class Partition:
    """One partition: its op log, its owner, and what that has published."""

    rules: SpaceRules
    number: int
    devices: Devices
    log: list[Appended] = field(default_factory=list)
    merged: int = 0
    groups: list[Group] = field(default_factory=list)
    conflicts: dict[str, Conflict] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    called: list[OutRecord] = field(default_factory=list)
    """What reactions have called for, on its way to the logs of partitions."""
    written: int = 0
    """The number of the newest batch of `cloud.reaction` here."""

    def __post_init__(self) -> None:
        self._store: dict[bytes, bytes | None] = {}
        self._rows: dict[str, bytes | None] = {}
        cache, book = StateCache(self._store.get), ChainBook(self._rows.get, self.rules.records)
        self._merger = PartitionMerger(self.rules, self.number, cache, book)

    @property
    def waits(self) -> bool:
        """Is there a record that is not merged?"""
        return self.merged < len(self.log)

    def merge(self) -> None:
        """Merge the next record of the log."""
        value, append_ms = self.log[self.merged]
        admission = admit(value, append_ms, self.number, self.rules, self.devices)
        self._merger.merge(admission, self.merged, append_ms)
        self.merged += 1

    def react(self, append_ms: int) -> int:
        """Write what the oldest calls that wait come to, unless what was written last is not merged yet; how many commands that are."""
        calls, identity = self._merger.calls, self.rules.cloud
        if identity is None or not calls.waits or calls.last < self.written:
            return 0
        batch = calls.due(append_ms)
        if batch is None:
            return 0
        self.written = batch.number
        self.log.append(Appended(self.rules.batches.seal(encode_body(batch), identity), append_ms))
        return max(1, len(batch.commands))

    def publish(self) -> Group:
        """One flight, all the way."""
        part = self._merger.seal()
        self._store.update(part.writes)
        self._rows.update(part.rows)
        part.work.stored()
        self._merger.committed = self.merged
        group = self._group(part)
        self.groups.append(group)
        return group

    def _group(self, part: PartitionFlight) -> Group:
        space, codecs = self.rules.name, self.rules.records
        documents: dict[DocumentId, bytes] = {}
        for record in (*part.outcomes, *part.states):
            if record.value is None:
                continue
            if record.topic == topics.ops_topic(space):
                self.called.append(record)
            elif record.topic == topics.state_topic(space):
                documents[parse_document_key(record.key)] = record.value
            elif record.topic == topics.conflicts_topic(space):
                self.conflicts[record.key.decode()] = codecs.decode_conflict(record.value)
            elif record.topic == topics.quarantine_topic(space):
                self.quarantined.append(codecs.decode_quarantined(record.value))
        rows = {replica: codecs.decode_chain_row(value) for replica, value in part.rows if value is not None}
        return Group(self.merged - 1, documents, rows)


class Cloud:
    """All spaces of an app."""

    def __init__(self, contract: AppContract, devices: Mapping[str, Device]) -> None:
        self.ids = FixedIds()
        identity = Identity.create(CLOUD) if any(space.reactions for space in contract.spaces.values()) else None
        line = None
        if identity is not None:
            line = enrolled(CLOUD, DeviceKey(identity.key_id, identity.public_key, 1), (), (FORGET,))
        self._devices = Devices(devices, line)
        self._rules = {name: SpaceRules(space, self.ids, identity) for name, space in contract.spaces.items()}
        self.partitions: dict[Place, Partition] = {}

    def at(self, place: Place) -> Partition:
        """A partition; one that was never written begins."""
        if place not in self.partitions:
            self.partitions[place] = Partition(self._rules[place[0]], place[1], self._devices)
        return self.partitions[place]

    def publish(self, place: Place, append_ms: int) -> Group:
        """A flight of a partition; what its reactions call for is in the logs then."""
        partition = self.at(place)
        group = partition.publish()
        for record in partition.called:
            assert record.value is not None, "a record of an op log"
            self.at((place[0], record.partition)).log.append(Appended(record.value, append_ms))
        partition.called.clear()
        return group

    def state(self, document: DocumentId, row: bytes) -> DocumentState:
        """What a published row says."""
        space = next(rules for rules in self._rules.values() if document.collection in rules.collections)
        return space.collections[document.collection].codec.decode(row)

    def opened(self, record: bytes) -> bytes:
        """The body of a signed batch."""
        return BatchCodec(self.ids).open(record).body

    def release(self, space: str) -> str:
        """What a batch of the newest version of the app says."""
        return named(self._rules[space].release, self._rules[space].space.version)

    def space(self, name: str) -> SpaceContract:
        return self._rules[name].space
