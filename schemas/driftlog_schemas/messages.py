"""What travels between edge and cloud, as values. `codec` modules turn them into bytes and back; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from driftlog_crdt import Decision, Op, Origin, Plain, changes_in
from driftlog_schemas.identity import DocumentId


class DocumentOp(NamedTuple):
    """An op and the document it changes."""

    document: DocumentId
    op: Op


class Command(NamedTuple):
    """An executed command: its ops are merged all or none. `name` is empty for a write without a declared command."""

    id: str
    name: str
    scope: str
    hlc: int
    ops: tuple[DocumentOp, ...]
    actor: str = ""
    root: str = ""
    """The earlier life of its device under which it was first written; empty for its batch's own."""
    written: int | None = None
    """Of a command that a new life has taken along: up to which op offset its writer had read when it was first written, -1 for nothing.
    `Batch.read` says what the new life has read. None where a person has it run now, knowing what there is.
    """
    decision: Decision | None = None
    """Of one by which a person decides a conflict: by what means, and why."""
    stands_for: tuple[bytes, ...] = ()
    """Short names (`row_columns.short_name`) of earlier commands of its writer whose changes are among its own (see `crdt/collapsing`): what
    becomes of it becomes of them.
    """

    def first_written(self, life: str, replica: str, read: int | None = None) -> Command:
        """The same, first written under this life by somebody who had read so far, and now by `replica`. A life of another device is no
        root: nobody can end it.
        """
        root = life if life != replica and life.rpartition(".")[0] == replica.rpartition(".")[0] else ""
        return self._replace(root=root, written=read)

    def origin(self, op: Op, append_ms: int) -> Origin:
        """What is kept with the write of one of its ops, in fields whose conflicts are published: who caused it."""
        seen = changes_in(op.context) if op.context else 0
        return Origin(self.id, self.actor, append_ms, seen + op.seq - 1, self.decision)


class Due(NamedTuple):
    """A conflict whose deadline has passed, as it stood when that was found."""

    key: bytes
    """Of the document."""
    place: str
    """As the conflict names it."""
    seen: bytes
    """Short digest of the writes that compete there: it is settled only between these."""
    due_ms: int
    """The deadline: it is settled only by a record that the log took later."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What a partition forgets, as the cloud has written it into the op log; it counts from that record on."""

    floor: int
    """Op offset; whoever had not read up to it is away. -1 for none: then it only drops and settles."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Replicas that are over because nothing was heard of them -> the device that inherits their rights, "" for each counter's holder."""
    purge: Mapping[bytes, bytes] = field(default_factory=dict)
    """Keys of deleted documents that go for good -> short digest of the vector with which they do."""
    drop: tuple[str, ...] = ()
    """Names of commands that wait and that a person gives up, as `parked_name` has them."""
    settle: tuple[Due, ...] = ()
    """Conflicts that nobody has decided in time: what stands becomes final."""
    over: tuple[str, ...] = ()
    """Replicas that ended below the floor and whose chain rows go."""


class Call(NamedTuple):
    """A command that a reaction calls for; or, without a command's name, a reaction that failed and is to run again."""

    id: str
    """Of the command: follows from the change and the reaction, so that it is the same however often they are met."""
    reaction: str
    command: str
    arguments: str
    """JSON text of an object. Of a reaction that failed: its document, before and after."""
    depth: int
    """1 where a device made the change; one more than the change's own where a reaction did."""
    source: int
    """Partition of the change."""
    position: int
    """Grows with the changes of its partition: what is not beyond the last one that was taken is a repetition."""
    again: bool = False
    """Had it failed, and has a person sent it again?"""


class Failed(NamedTuple):
    """A call that came to no command."""

    call: int
    """Among the calls of its record."""
    code: str
    reason: str


class Ran(NamedTuple):
    """What became of calls: of those of the record at `offset` from `first` up to `end`. Those that did not fail are the batch's commands."""

    offset: int
    first: int
    end: int
    depths: tuple[int, ...]
    """Of the batch's commands."""
    calls: tuple[int, ...]
    """Which of the record's calls each of them is."""
    failed: tuple[Failed, ...] = ()
    more: bool = False
    """Has the record more calls?"""


class Reacting(NamedTuple):
    """What reactions have called for (the batch has no commands then), or what became of that."""

    calls: tuple[Call, ...] = ()
    ran: Ran | None = None


class Unlisted(NamedTuple):
    """A call that failed and is not set aside yet: the record that called for it must be read again first."""

    offset: int
    call: int
    """Among the calls of its record."""
    code: str
    reason: str


class Reactions(NamedTuple):
    """What a partition knows of calls: kept in the row of `cloud.reaction`."""

    taken: Mapping[int, int] = {}
    """By the partition of their change, the position of the newest call that was taken."""
    waiting: tuple[tuple[int, int], ...] = ()
    """Offsets of the records with calls that nothing has become of yet, oldest first, and from which of their calls on."""
    open: tuple[bytes, ...] = ()
    """Short names of calls that failed and may be sent again, oldest first."""
    unlisted: tuple[Unlisted, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """The ops of one device for one partition: one Kafka record. `number` is dense per replica and partition, from 1."""

    space: str
    partition: int
    replica: str
    number: int
    commands: tuple[Command, ...]
    app_version: str = ""
    """`SpaceContract.release` of the app that wrote its commands, and after an @ the version of the one that sealed it (`support`); empty if it did
    not say."""
    prev: bytes = b""
    """Digest of the body of batch `number - 1`, as it was signed; empty where there is none."""
    floor: int = 0
    """The replica's oldest number in this partition that no receipt has answered."""
    ends: tuple[str, ...] = ()
    """Lives of the same device that are over in this partition with this batch; after its own replica in it nothing follows."""
    read: int = -1
    """Op offset up to which the writer had applied the partition's states when it wrote the oldest command; -1 for nothing."""
    forget: Forgetting | None = None
    """Only of the cloud's own replica."""
    react: Reacting | None = None
    """Only of the cloud's replica for reactions."""


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """The envelope: `signature` is Ed25519 over `body` exactly as sent; `key_id` says by which of the device's keys."""

    device_id: str
    key_id: str
    signature: bytes
    body: bytes


class Verdict(Enum):
    """What the cloud did with a command."""

    ACCEPTED = "accepted"
    NO_EFFECT = "no_effect"
    """Merged, but it changed nothing."""
    REJECTED = "rejected"
    PARKED = "parked"
    DEFERRED = "deferred"
    """Refused for now: nothing of it counts as seen, and its device sends it again in a later batch."""


class CommandOutcome(NamedTuple):
    """The verdict on one command, with a stable code and a reason where it was not accepted."""

    command_id: str
    verdict: Verdict
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One batch of a replica's chain: the first 8 bytes of its digest, and what became of the commands that were not plainly accepted."""

    number: int
    digest: bytes
    offset: int
    outcomes: tuple[CommandOutcome, ...] = ()
    decided_at: int = -1
    """Offset of the record by which the last of its commands that had waited was decided; -1 where none had."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A batch that was not taken into its replica's chain, and why."""

    number: int
    digest: bytes
    offset: int
    code: str
    reason: str


class Taken(NamedTuple):
    """A command of an ended life that came in by a later one: the offset of the record that brought it, and what became of it."""

    offset: int
    verdict: Verdict = Verdict.ACCEPTED
    code: str = ""
    """Why it was rejected; empty otherwise."""


class Refused(NamedTuple):
    """A rejected command whose entry is gone from its row: the number of its batch, and why."""

    number: int
    code: str


class Over(NamedTuple):
    """What is kept of a life that is over when its row goes: as the row had it, if nothing else is said."""

    last: int
    head: bytes
    offset: int
    ended: str
    ended_at: int
    heir: str
    taken_from: int
    removed: int
    """Offset of the record that removed its row."""


class Forgot(NamedTuple):
    """A `Forgetting` that counts: the offset of its record, its floor, and the offset of the last one that purged documents."""

    offset: int
    floor: int
    purged: int


@dataclass(frozen=True, slots=True)
class ChainRow:
    """What the cloud has taken of one replica in one partition, with its verdicts: the receipt of all its batches."""

    device_id: str
    replica: str
    space: str
    partition: int
    last: int
    """Number of the newest batch in the chain."""
    head: bytes
    """Its digest, 16 bytes; the next batch's `prev`."""
    floor: int
    entries: tuple[ChainEntry, ...]
    """`floor` to `last`, in order."""
    refused: Mapping[bytes, Refused] = field(default_factory=dict)
    """Commands that were rejected in batches below `floor`, by the short digest of their id."""
    refused_from: int = 0
    """The batch number from which on these are all of them."""
    ended: str = ""
    """Empty, `ended` or `retired`."""
    ended_at: int = -1
    """Offset of the record that ended it."""
    heir: str = ""
    """Of a retired replica: the device that inherits its rights, "" for the holder of each counter."""
    skew_ms: int = 0
    append_ms: int = 0
    """Append time of the newest batch."""
    offset: int = -1
    """Of the newest batch in the op topic."""
    notice: Notice | None = None
    """The newest batch that was not taken."""
    taken: Mapping[bytes, Taken] = field(default_factory=dict)
    """Commands first written in this ended life that came in by later ones, by the short digest of their id."""
    forgot: tuple[Forgot, ...] = ()
    """Only of the cloud's own replica: what its partition forgot, oldest first."""
    born_ms: int = 0
    """Append time of the first batch that is known of this life here; 0 before any was taken."""
    told: int | None = field(default=None, compare=False, repr=False)
    """How many bytes the outcomes of its entries take, where that has been counted (`row_room`). It follows from them, and is not sent."""
    forgotten: int = -1
    """Of a life whose row was removed: offset of the record that did so, or by which the row came back. What its batches were answered is gone."""
    taken_from: int = -1
    """Of commands that were first written by somebody who had not read so far, `taken` does not tell."""
    over: Mapping[bytes, Over] = field(default_factory=dict)
    """Only of `cloud.over`: lives without a row, by the short digest of their name."""
    reactions: Reactions = field(default_factory=Reactions)
    """Only of `cloud.reaction`."""
    oldest_supported: str = ""
    """The version of the app that its device must run to be supported further; empty where the newest batch was of one that is."""
    support_ends_ms: int = 0
    """From when on, in epoch milliseconds by the log's time; it may be over."""


@dataclass(frozen=True, slots=True)
class RefusalNotice:
    """A batch that cannot be known to come from the replica it names."""

    device_id: str
    code: str
    reason: str
    offset: int
    append_ms: int


@dataclass(frozen=True, slots=True)
class Version:
    """One write in a conflict: which op wrote what, when by its writer's clock and by the log's, and by whom."""

    replica: str
    seq: int
    hlc: int
    append_ms: int
    value: Plain
    command_id: str = ""
    actor: str = ""
    seen: int = 0
    """How many changes of the document its writer had seen."""
    how: str = ""
    """Of a write that decided a conflict: by what means (`page`, `cli`, `api`, or `deadline` where nobody had in time); else empty."""
    reason: str = ""
    """Why, where who decided has said so."""


class ConflictStatus(Enum):
    """How far a conflict is."""

    OPEN = "open"
    """Waits for a person; the default stands meanwhile."""
    RECORDED = "recorded"
    """For information; the default stands."""
    RESOLVED = "resolved"
    """A later write by someone who had seen both replaced them."""
    SETTLED = "settled"
    """Nobody decided before the deadline: what stood is final, unless a person decides otherwise."""

    @property
    def over(self) -> bool:
        """Is nothing in conflict any more?"""
        return self in (ConflictStatus.RESOLVED, ConflictStatus.SETTLED)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Concurrent writes of one place of a document, with different values. `id` follows from the document and the place."""

    id: str
    document: DocumentId
    field: str
    """The place: a field, `field.key` for a key of a map, empty for a record written as one."""
    versions: tuple[Version, ...]
    """Two or more, the one that stands (or stood last) first, then by rank."""
    policy: str
    """`record` or `review`."""
    rule: str
    """What decided: the field type's name (`register`: higher clock wins)."""
    opened_ms: int
    """Append time of the record since which two of the versions differ."""
    detected_ms: int
    """Append time of the record that brought the newest of them."""
    deadline_ms: int
    """0 for none, else epoch ms after which the default is final."""
    status: ConflictStatus
    decided_by: Version | None = None
    """The write (its value None: a delete) that had seen them and ended the conflict."""
    omitted: int = 0
    """How many more versions there are, of lower rank, than a record holds."""

    @property
    def winner(self) -> Version:
        """The version that stands."""
        return self.versions[0]


class WaitingCommand(NamedTuple):
    """A command at a device that a person should look at."""

    kind: str
    """`review`: it was answered, and has no effect until a person applies or drops it; `rejected`: it was answered, and refused later"""
    command_id: str
    name: str
    """Empty for a write"""
    actor: str
    collection: str
    """Of the first document that it changed"""
    scope: str
    document: str
    documents: int
    """How many it changed"""
    code: str
    reason: str
    at_ms: int
    """When it was given, by the device's own clock"""


REVIEW: Final = "review"
REJECTED: Final = "rejected"
"""Kinds of a `WaitingCommand`."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an agent says of itself."""

    device_id: str
    replica: str
    sent_ms: int
    connection: str
    pending: int
    oldest_pending_ms: int
    disk_bytes: int
    clock_skew_ms: int
    versions: Mapping[str, str]
    heads: Mapping[str, int] = field(default_factory=dict)
    """`space/partition` -> number of the last batch that was sealed there"""
    applied: Mapping[str, int] = field(default_factory=dict)
    """`space/partition` -> offset of the state topic up to which it was applied"""
    mismatches: int = 0
    """How many scopes were found to differ from the cloud's since the agent's start"""
    differing: Sequence[str] = ()
    """`space/partition/scope` of some that differ now, though they were read again"""
    why: str = ""
    """Why the life before its newest one ended; empty for a first one"""
    rebased: int = 0
    """Commands that its newest life took along from the one before"""
    review: int = 0
    """Commands on its review list: they wait for a person"""
    rejected: int = 0
    """Commands that were rejected after they had been answered, and that nobody has looked at; counted up to a bound"""
    waiting: Sequence[WaitingCommand] = ()
    """Some of both: the oldest on the review list, and the newest rejected ones"""


@dataclass(frozen=True, slots=True)
class ParkedCommand:
    """A command that waits for a missing predecessor, with what its merge will need. What it may do only its device has signed, in `record`."""

    append_ms: int
    offset: int
    command: str
    record: bytes
    dropped_at: int = -1
    """Offset of the record by which a person gave it up. It has no effect then, and stays until its change can be counted as seen."""


def parked_name(replica: str, batch: int, command_id: str) -> str:
    """What names a command that waits."""
    return f"{replica}/{batch}/{command_id}"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that a worker could not decide, as it came; nothing of it counts as seen."""

    code: str
    reason: str
    partition: int
    offset: int
    append_ms: int
    replica: str
    record: bytes
