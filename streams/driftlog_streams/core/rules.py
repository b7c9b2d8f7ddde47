"""The rules of one space, ready for merging: types, guards, codecs, and who knows the devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from driftlog_crdt import DOCUMENT, DocumentType, Op
from driftlog_schemas import avro_files, groups
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import GuardContract, ReactionContract, SpaceContract
from driftlog_schemas.devices import Device
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import Batch
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.support import Floor, unmet, version_of
from driftlog_schemas.topics import SpaceTopics

MAX_RECORD_BYTES = 1_000_000
"""Key and value of any record of ours: under a broker's default limit, with room for headers and framing."""
MAX_STATE_BYTES = 900 * 1024
"""The merge's part of a state record, whatever the declared guard says; the record is measured as it is sent."""


class Devices(Protocol):
    """The device registry as known here."""

    def find(self, device_id: str) -> Device | None: ...


class Collection(NamedTuple):
    """One collection as the merge uses it. `limit` is the declared size guard in bytes."""

    name: str
    type: DocumentType
    codec: StateCodec
    guards: Sequence[GuardContract]
    limit: int
    policies: Mapping[str, str]
    """field -> "record" or "review", for the fields whose conflicts are published; DOCUMENT for a record written as one"""
    check: Callable[[Op], None]
    """What the declaration demands of an op's value besides what the type does. Raises `BadValue`."""
    timed: Sequence[str] = ()
    """The fields whose conflicts have a deadline; DOCUMENT for a record written as one"""
    counted: bool = True
    """Is it part of the digests of scopes? What only goes up is not, for devices do not hold it."""
    asked: bool = True
    """Have guards a say, or the rights of an op's writer?"""
    reactions: Sequence[ReactionContract] = ()

    def undeclared(self, op: Op) -> str | None:
        """A field that the op writes and that is not declared here: another release declares it. None if there is no such."""
        declared = self.type.fields
        if op.field in declared:
            return None
        if op.field != DOCUMENT:
            return op.field
        named = op.value if type(op.value) is dict else ()
        return next((name for name in named if name not in declared), None)


class SpaceRules:
    """Everything that merging a space needs and that never changes while a worker runs."""

    def __init__(
        self, space: SpaceContract, ids: SchemaIds, cloud: Identity | None = None, generation: int = 1
    ) -> None:
        """`cloud` is the workers' identity: without it reactions do not run. `generation` is that of the read model that they make."""
        self.space = space
        self._ids = ids
        self.name = space.name
        self.topics = SpaceTopics(space.name, generation)
        self.cloud = cloud
        self.reacting = cloud is not None and bool(space.reactions)
        self.partitions = space.partitions
        self.batches = BatchCodec(ids)
        self.records = RecordCodecs(ids)
        self.versions = Versions(ids)
        self.commands = space.commands
        self.release = space.release
        self.collections: dict[str, Collection] = {}
        for name, contract in space.collections.items():
            # The declared guard is for writers; a merged state must always be publishable.
            roomy = dataclasses.replace(contract.document, max_bytes=MAX_STATE_BYTES)
            codec = StateCodec(dataclasses.replace(contract, document=roomy), ids)
            self.collections[name] = Collection(
                name=name,
                type=roomy,
                codec=codec,
                guards=space.guards.get(name, ()),
                limit=contract.document.max_bytes,
                policies=_policies(roomy),
                check=contract.check,
                timed=[place for place in _places(roomy) if roomy.declared(place).deadline_ms],
                counted=contract.direction != "up",
                asked=bool(space.guards.get(name)) or roomy.limited,
                reactions=space.reactions.get(name, ()),
            )

        self.coming_down = frozenset(name for name, one in space.collections.items() if one.direction == "down")
        """Collections that devices may write only with the right to publish."""
        self.supported = groups.support(space.floors)
        """Says at the end of each group which versions of the app are supported."""
        self.giving = frozenset().union(*(one.type.giving for one in self.collections.values()))
        """Kinds of ops that hand a right over to another replica."""

    def unmet(self, batch: Batch, device_id: str) -> Floor | None:
        """The first floor in time that the version of a batch does not meet. What the cloud writes itself has none to meet."""
        floors = self.space.floors
        return unmet(version_of(batch.app_version), floors) if floors and device_id != CLOUD else None

    def register(self) -> None:
        """Make every schema that this space writes or reads known. Raises what the registry raises."""
        for name in avro_files.REGISTERED:
            self._ids.id_of(avro_files.text(name))
        for collection in self.collections.values():
            self._ids.id_of(collection.codec.schema)


def _policies(kind: DocumentType) -> dict[str, str]:
    return {place: policy for place in _places(kind) if (policy := kind.declared(place).on_conflict) != "silent"}


def _places(kind: DocumentType) -> Iterable[str]:
    return [DOCUMENT] if kind.unit == "record" else kind.fields
