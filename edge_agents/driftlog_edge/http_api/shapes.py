"""What goes in and out, as JSON shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from driftlog_edge.asking.answers import Answer, Reading
from driftlog_edge.asking.op_log import Line
from driftlog_edge.config import LinkSettings
from driftlog_edge.power.reading import Power
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Conflict, Version

WAITING_FOR = (
    "What a command waits for that is not decided: `network` (a way to the cloud), `power` (the battery is low), `wifi`, the rhythm of its collection as"
    " `5m`, `cloud` (which has put it off; `code` says why), `change` (an earlier change that the cloud does not have), `review` (a person), `outbox` (room"
    " in it, to run again), `life` (a new life of the folder), `release` (one that declares what it changes). None once it was sent and waits for its answer."
)
WAITING_UNTIL = "When it leaves at the latest, in epoch milliseconds by the device's clock; none where nobody can tell."


class DotOut(BaseModel):
    """One op of a command."""

    document: str
    replica: str
    seq: int


class AnswerOut(BaseModel):
    """What became of a command."""

    command_id: str
    status: str = Field(description="pending, shipped, parked, review, merged, no_effect or rejected")
    result: Any = None
    dots: list[DotOut]
    session: str
    code: str | None = None
    reason: str | None = None
    waiting_for: str | None = Field(default=None, description=WAITING_FOR)
    waiting_until: int | None = Field(default=None, description=WAITING_UNTIL)

    @classmethod
    def of(cls, answer: Answer) -> AnswerOut:
        return cls(
            command_id=answer.command_id,
            status=answer.status,
            result=answer.result,
            dots=[DotOut(document=d, replica=r, seq=s) for d, r, s in answer.dots],
            session=answer.session,
            code=answer.code or None,
            reason=answer.reason or None,
            waiting_for=answer.waiting_for or None,
            waiting_until=answer.waiting_until,
        )


class ChangeOut(BaseModel):
    """One op of a logged command."""

    document: str
    field: str
    op: str
    value: Any
    seq: int


class LineOut(BaseModel):
    """One command of the op log."""

    number: int
    command_id: str
    name: str = Field(description="Empty for a write without a declared command.")
    scope: str
    at_ms: int
    actor: str
    status: str
    code: str | None
    reason: str | None
    waiting_for: str | None = Field(description=WAITING_FOR)
    waiting_until: int | None = Field(description=WAITING_UNTIL)
    changes: list[ChangeOut]

    @classmethod
    def of(cls, line: Line) -> LineOut:
        return cls(
            number=line.lsn,
            command_id=line.command.id,
            name=line.command.name,
            scope=line.command.scope,
            at_ms=line.command.hlc >> 16,
            actor=line.command.actor,
            status=line.entry.status.value,
            code=line.entry.code or None,
            reason=line.entry.reason or None,
            waiting_for=line.waits.what or None,
            waiting_until=line.waits.until_ms,
            changes=[
                ChangeOut(document=document_key(d).decode(), field=op.field, op=op.kind, value=op.value, seq=op.seq)
                for d, op in line.command.ops
            ],
        )


class LogOut(BaseModel):
    """Commands of the op log, oldest first; `next` is the `before` of the page that precedes them (with `pending` the `after` of the page
    that follows), None at the end."""

    commands: list[LineOut]
    next: int | None


class WaitingOut(BaseModel):
    """Commands that wait for a person or for the cloud, in the order of their list; `next` is the `after` of the following page, None at the end."""

    commands: list[LineOut]
    next: int | None


class ReadingOut(BaseModel):
    """A document and how fresh it is."""

    id: str
    value: dict[str, Any]
    version: dict[str, int]
    pending: int
    synced_at: int | None
    age_seconds: float | None
    stale: bool = Field(description="Older than the collection's `max_age`, or of an age that nobody knows.")
    conflicts: list[str]
    session: str

    @classmethod
    def of(cls, reading: Reading) -> ReadingOut:
        return cls(
            id=reading.id,
            value=reading.value,
            version=dict(reading.version),
            pending=reading.pending,
            synced_at=reading.synced_at,
            age_seconds=reading.age_seconds,
            stale=reading.stale,
            conflicts=list(reading.conflicts),
            session=reading.session,
        )


class PageOut(BaseModel):
    """Documents in id order; `next` is the `after` of the following page, None at the end."""

    documents: list[ReadingOut]
    next: str | None
    evicted: int = Field(
        default=0,
        description="Documents that were passed over because they made room on the disk; read by itself, each is fetched.",
    )


class ChangeIn(BaseModel):
    """One change of a direct write."""

    model_config = ConfigDict(extra="forbid")

    field: str = ""
    op: str
    args: list[Any] = []


class OfflineIn(BaseModel):
    """Aeroplane mode on or off."""

    model_config = ConfigDict(extra="forbid")

    offline: StrictBool


class ReviewIn(BaseModel):
    """What a person decides about a command: one of the two."""

    model_config = ConfigDict(extra="forbid")

    apply: StrictBool = False
    drop: StrictBool = False

    @model_validator(mode="after")
    def _one(self) -> ReviewIn:
        if self.apply == self.drop:
            raise ValueError('give {"apply": true} or {"drop": true}')
        return self


class SeenIn(BaseModel):
    """That a person has looked at a command."""

    model_config = ConfigDict(extra="forbid")

    seen: Literal[True]


class DropIn(BaseModel):
    """Why a command is given up."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(description="Kept with the command, for whoever asks later.", min_length=1)


class ScopesIn(BaseModel):
    """The scopes to hold, all of them."""

    model_config = ConfigDict(extra="forbid")

    scopes: list[str]


class ScopesOut(BaseModel):
    """The scopes that are held."""

    scopes: list[str]


class PowerOut(Power):
    """What is known of power and network; null where nobody knows."""

    saving: bool = Field(description="Is the battery so low that only critical and high commands leave?")
    low_battery_percent: float
    source: str = Field(description="Who is asked besides callers: api (nobody), sys, file or command.")
    told: Power = Field(description="What callers have told and still stands.")
    failures: int = Field(description="How often the source gave no answer.")
    problem: str = Field(description="Why it gave none the last time.")


SettingsIn: TypeAlias = Annotated[
    dict[str, Any],
    Body(
        description="Tables `power`, `link` and `sync` with what changes in them, `disk_budget` and `log_level`. A null in `sync` is as the app declares it.",
        examples=[
            {"power": {"low_battery_percent": 20}, "link": {"bytes_per_second": 10000}, "sync": {"Meter": "10m"}}
        ],
    ),
]


class SettingsOut(BaseModel):
    """The settings that may change while the agent runs."""

    power: dict[str, float] = Field(description="low_battery_percent, every_seconds")
    link: LinkSettings
    sync: dict[str, str] = Field(description="Of every collection when its commands leave: now, a duration, on_wifi.")
    disk_budget: int = Field(description="Bytes; 0 for all that there is.")
    log_level: str


class VersionOut(BaseModel):
    """One write in a conflict."""

    replica: str
    seq: int
    hlc: int
    at_ms: int = Field(description="When it was written, by its writer's clock.")
    append_ms: int | None = Field(description="When the log took it.")
    value: Any
    command_id: str
    actor: str
    seen: int = Field(description="How many changes of the document its writer had seen.")
    how: str = Field(
        description="Of a write that decided a conflict: `page`, `cli`, `api`, or `deadline` where nobody had decided in time; else empty."
    )
    reason: str = Field(description="Why it was decided so, where somebody said.")

    @classmethod
    def of(cls, v: Version) -> VersionOut:
        return cls(
            replica=v.replica,
            seq=v.seq,
            hlc=v.hlc,
            at_ms=v.hlc >> 16,
            append_ms=v.append_ms or None,
            value=v.value,
            command_id=v.command_id,
            actor=v.actor,
            seen=v.seen,
            how=v.how,
            reason=v.reason,
        )


class ConflictOut(BaseModel):
    """Concurrent writes of one place of a document, side by side."""

    id: str
    collection: str
    scope: str
    document_id: str
    field: str
    fields: list[str]
    versions: list[VersionOut] = Field(description="The one that stands first, then by rank.")
    omitted: int = Field(description="How many more versions there are than are shown.")
    policy: str
    rule: str
    opened_ms: int | None
    detected_ms: int | None
    deadline_ms: int | None
    status: str = Field(
        description="`open`: a person is asked; `recorded`: for information; `resolved`: somebody has decided; `settled`: its deadline has."
    )
    decided_by: VersionOut | None = Field(description="The write that ended it.")

    @classmethod
    def of(cls, c: Conflict) -> ConflictOut:
        return cls(
            id=c.id,
            collection=c.document.collection,
            scope=c.document.scope,
            document_id=c.document.id,
            field=c.field,
            fields=[c.field],
            versions=[VersionOut.of(v) for v in c.versions],
            omitted=c.omitted,
            policy=c.policy,
            rule=c.rule,
            opened_ms=c.opened_ms or None,
            detected_ms=c.detected_ms or None,
            deadline_ms=c.deadline_ms or None,
            status=c.status.value,
            decided_by=None if c.decided_by is None else VersionOut.of(c.decided_by),
        )


class ConflictsOut(BaseModel):
    """What waits for a decision or is recorded, by id; `next` is the `after` of the following page, None at the end."""

    conflicts: list[ConflictOut]
    next: str | None
