"""A cloud of one partition for the core's tests: a small app, enrolled devices, and records made by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from driftlog import AddWinsSet, App, Counter, Custom, Document, Flag, Map, Ranked, Refused, Register
from driftlog import field as declared
from driftlog_crdt import DocumentState, Op, Plain
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import batch_digest, encode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import EVERYTHING, Device, DeviceKey, DeviceStatus, enrolled, with_terms
from driftlog_schemas.forgetting_codec import digest_of
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA, DocumentId, document_key
from driftlog_schemas.messages import (
    Batch,
    ChainRow,
    Command,
    Conflict,
    DocumentOp,
    Due,
    Forgetting,
    ParkedCommand,
    Quarantined,
    RefusalNotice,
    SignedBatch,
)
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admission, admit
from driftlog_streams.core.chain import entry_of, verdict_of
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.flight import Flight, FlightDeck, Stage
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.net import passing_over
from driftlog_streams.core.parking import Parking
from driftlog_streams.core.rights import FORGET
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.settling import overdue
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.work import OutRecord

NOW_MS = 1_790_000_000_000
PARTITION = 0

app = App("shop")
space = app.space("retail", partitions=1)


@space.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    name: Register[str] = ""
    price: Register[int] = declared(default=0, on_conflict="review", deadline="48h")
    tags: AddWinsSet[str]


@space.collection(scope="store", id="day")
class Ledger(Document):
    store: str
    day: str
    sold: Counter


@space.collection(scope="store", id="number")
class Parcel(Document):
    store: str
    number: str
    stage: Ranked[Literal["open", "packed", "shipped"]] = declared(on_conflict="record")
    ready: Flag = declared(wins="disable", on_conflict="record")
    labels: Map[Register[str]] = declared(on_conflict="review")
    cart: Custom[int] = declared(default=0, merge=lambda base, left, right: left + right - base, on_conflict="record")
    note: Register[str] = ""


@space.collection(scope="store", id="number", unit="record")
class Address(Document):
    store: str
    number: str
    street: Register[str] = declared(default="", on_conflict="review", deadline="1h")
    city: Register[str] = ""


@space.guard(Stock)
def never_negative(before: Stock, after: Stock) -> None:
    if after.on_hand.value < 0:
        raise Refused("recount", "sold more than was there")
    if after.name.value == "explode":
        raise ZeroDivisionError("a defect of the app")


SPACE = app.contract.spaces["retail"]
IDS = FixedIds()


def stock(sku: str = "tea") -> DocumentId:
    return DocumentId("Stock", "s1", sku)


def ledger(day: str = "today") -> DocumentId:
    return DocumentId("Ledger", "s1", day)


def key(document: DocumentId) -> bytes:
    return document_key(document)


def change(
    document: DocumentId,
    field_name: str,
    kind: str,
    value: Plain,
    seq: int,
    *,
    replica: str = "store-1.1",
    context: Mapping[str, int] | None = None,
    ms: int = NOW_MS,
) -> DocumentOp:
    if context is None and kind in ("set", "remove"):
        context = {}
    return DocumentOp(document, Op(replica, seq, ms << 16, field_name, kind, value, context))


def count(document: DocumentId, amount: int, seq: int, replica: str = "store-1.1") -> DocumentOp:
    name = "on_hand" if document.collection == "Stock" else "sold"
    return change(document, name, "increment" if amount >= 0 else "decrement", abs(amount), seq, replica=replica)


def command(name: str, *ops: DocumentOp, declared_as: str = "") -> Command:
    return Command(name, declared_as, ops[0].document.scope, max(o.op.hlc for o in ops), ops)


def device(
    identity: Identity,
    *,
    scopes: tuple[str, ...] = EVERYTHING,
    permissions: tuple[str, ...] = EVERYTHING,
    status: DeviceStatus = DeviceStatus.ACTIVE,
    since_ms: int = 2,
    not_after_ms: int = 0,
    grace_ms: int = 0,
    enrolled_ms: int = 1,
) -> Device:
    """Enrolled long ago, unless told otherwise; another status, if there is one, counts since `since_ms`."""
    key = DeviceKey(identity.key_id, identity.public_key, enrolled_ms)
    line = enrolled(identity.device_id, key, scopes, permissions, not_after_ms, grace_ms)
    if status is DeviceStatus.ACTIVE:
        return line
    return with_terms(line, line.latest._replace(from_ms=since_ms, status=status))


@dataclass
class Devices:
    """A device directory."""

    lines: dict[str, Device] = field(default_factory=dict)
    vouches = True

    def catch_up(self) -> None:
        """Everything is known already."""

    def find(self, device_id: str) -> Device | None:
        return self.lines.get(device_id)


class Cloud:
    """One partition, its store and topics; flights leave when told to."""

    def __init__(self, parking: Parking | None = None, declared_space: SpaceContract = SPACE) -> None:
        self.rules = SpaceRules(declared_space, IDS)
        self.identities = {name: Identity.create(name) for name in ("store-1", "store-2", CLOUD)}
        self.devices = Devices({i.device_id: device(i) for i in self.identities.values()})
        self.devices.lines[CLOUD] = device(self.identities[CLOUD], scopes=(), permissions=(FORGET,))
        self.store: dict[bytes, bytes | None] = {}
        self.gone: dict[bytes, int] = {}
        self.dead: dict[bytes, int] = {}
        self.waiting: set[tuple[bytes, int]] = set()
        """deadlines"""
        self.disputes: dict[bytes, Collection[bytes]] = {}
        self.ends: dict[bytes, bytes] = {}
        self.rows: dict[str, bytes | None] = {}
        self.digests: dict[str, int | None] = {}
        self.published: list[OutRecord] = []
        self.acknowledged: list[int] = []
        self.end = 0
        self.numbers: dict[str, int] = {}
        self.sent: dict[tuple[str, int], list[str]] = {}
        self.heads: dict[tuple[str, int], bytes] = {}
        self.deck = FlightDeck()
        self.merger = self.new_life(parking=parking)

    def new_life(self, *, parking: Parking | None = None, committed: int = 0) -> PartitionMerger:
        """A merger that knows only what the store has."""
        self.deck = FlightDeck()
        cache, book = (
            StateCache(self.store.get, purged=lambda key: self.gone.get(key, 0)),
            ChainBook(self.rows.get, self.rules.records),
        )
        digests = ScopeDigests(lambda scope: self.digests.get(scope, 0), self._keys)
        disputes = Disputes(self.dispute, self.ends.get)
        self.merger = PartitionMerger(self.rules, PARTITION, cache, book, parking, digests=digests, disputes=disputes)
        self.merger.committed = committed
        return self.merger

    def dispute(self, name: bytes) -> bytes | None:
        return next((key for key, names in self.disputes.items() if name in names), None)

    def _keys(self, beginning: bytes) -> Iterator[bytes]:
        return iter(sorted(k for k, value in self.store.items() if value is not None and k.startswith(beginning)))

    def batch(
        self,
        *commands: Command,
        replica: str = "store-1.1",
        number: int | None = None,
        prev: bytes | None = None,
        floor: int = 1,
        ends: tuple[str, ...] = (),
        read: int = -1,
        app_version: str = "",
        forget: Forgetting | None = None,
    ) -> bytes:
        """The record value of a signed batch."""
        device_id = replica.rpartition(".")[0]
        if number is None:
            number = self.numbers[replica] = self.numbers.get(replica, 0) + 1
        prev = self.heads.get((replica, number - 1), b"") if prev is None else prev
        body = encode_body(
            Batch(
                "retail",
                PARTITION,
                replica,
                number,
                commands,
                app_version,
                prev=prev,
                floor=min(floor, number),
                ends=ends,
                read=read,
                forget=forget,
            )
        )
        self.heads[replica, number] = batch_digest(body)
        self.sent[replica, number] = [command.id for command in commands]
        return self.rules.batches.seal(body, self.identities[device_id])

    def envelope(self, signed: SignedBatch) -> bytes:
        return self.rules.batches.envelope(signed)

    def admit(self, value: bytes | None, append_ms: int = NOW_MS) -> Admission:
        return admit(value, append_ms, PARTITION, self.rules, self.devices)

    def merge(
        self, *commands: Command, replica: str = "store-1.1", offset: int | None = None, append_ms: int = NOW_MS
    ) -> None:
        """Append a batch and merge it."""
        self.merge_value(self.batch(*commands, replica=replica), offset, append_ms)

    def merge_value(self, value: bytes | None, offset: int | None = None, append_ms: int = NOW_MS) -> None:
        offset = self.end if offset is None else offset
        self.end = max(self.end, offset + 1)
        self.merger.merge(self.admit(value, append_ms), offset, append_ms, offset)

    def forgetting(
        self,
        floor: int,
        *purged: DocumentId,
        retired: Mapping[str, str] | None = None,
        number: int | None = None,
        over: Sequence[str] = (),
    ) -> bytes:
        """The record value by which the partition forgets; tombstones as they are now."""
        purge = {key(document): digest_of(self.state(document).vector) for document in purged}
        return self.batch(
            replica=CLOUD_REPLICA,
            number=number,
            floor=1 << 30,
            forget=Forgetting(floor, retired or {}, purge, over=tuple(over)),
        )

    def drop(self, *names: str) -> int:
        """A person gives up what waits under these names; the offset of the record."""
        self.merge_value(self.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=names)))
        return self.end - 1

    def due(self, *found: Due) -> bytes:
        """The record value by which these conflicts are settled."""
        return self.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, settle=found))

    def overdue(self, now_ms: int = 1 << 46) -> tuple[Due, ...]:
        """The conflicts whose deadline has passed at this time, as a worker finds them in its store."""
        found = sorted((at, key, self.store.get(key)) for key, at in self.waiting if at <= now_ms)
        return overdue(self.rules, found, now_ms).settle

    def settle(self, *found: Due, append_ms: int = 1 << 46) -> int:
        """Append such a record, long after all deadlines, and merge it; its offset."""
        self.merge_value(self.due(*found), append_ms=append_ms)
        return self.end - 1

    def forget(
        self,
        floor: int,
        *purged: DocumentId,
        retired: Mapping[str, str] | None = None,
        over: Sequence[str] = (),
    ) -> int:
        """Append such a record and merge it; its offset."""
        self.merge_value(self.forgetting(floor, *purged, retired=retired, over=over))
        return self.end - 1

    # -- flights

    def seal(self) -> Flight:
        flight = Flight([self.merger.seal()])
        self.deck.add(flight)
        return flight

    def fly(self) -> None:
        """Everything merged goes all the way."""
        while not self.merger.work.empty:
            self.seal()
            self.carry_out()

    def carry_out(self, until: Stage = Stage.DONE) -> None:
        """Do all effects before `until`."""
        while effects := self.deck.effects():
            for flight, stage in effects:
                if stage >= until:
                    return
                self.do(flight, stage)

    def do(self, flight: Flight, stage: Stage) -> None:
        if stage is Stage.STORE:
            for part in flight.partitions:
                self.store.update(part.writes)
                self.digests.update(part.digested.scopes)
                self.gone.update(part.passed.gone)
                self.dead.update(part.passed.dead)
                self.waiting.update(part.passed.due.items())
                self.disputes.update(part.passed.disputes)
                self.ends.update(part.passed.ends)
                self.rows.update(part.rows)
        elif stage is Stage.ACK:
            for part in flight.partitions:
                self.acknowledged.extend(part.sources)
                self.merger.committed = max([self.merger.committed, *(source + 1 for source in part.sources)])
        else:
            self.published.extend(flight.records(stage))
        self.deck.finished(flight, stage)

    # -- what is there

    def state(self, document: DocumentId) -> DocumentState:
        """As merged now."""
        return self.merger._at.cache.get(document, self.rules.collections[document.collection]).state

    def value(self, document: DocumentId, field_name: str) -> Plain:
        return self.rules.collections[document.collection].type.field_value(self.state(document), field_name)

    def row(self, replica: str = "store-1.1") -> ChainRow:
        """The newest row that is published."""
        topic = topics.receipts_topic("retail")
        found = [r.value for r in self.published if r.topic == topic and r.key == replica.encode()]
        return self.rules.records.decode_chain_row(found[-1] or b"")

    def notices(self) -> list[RefusalNotice]:
        return [
            self.rules.records.decode_refusal_notice(record.value or b"")
            for record in self.published
            if record.topic == topics.receipts_topic("retail") and b"." not in record.key
        ]

    def quarantined(self) -> list[Quarantined]:
        return [self.rules.records.decode_quarantined(v) for v in self._values(topics.quarantine_topic("retail"))]

    def conflicts(self) -> list[Conflict]:
        return [self.rules.records.decode_conflict(v) for v in self._values(topics.conflicts_topic("retail"))]

    def verdicts(self) -> dict[str, str]:
        """command -> its verdict as its row has it, with the code where there is one"""
        self.fly()
        found: dict[str, str] = {}
        for (replica, number), names in self.sent.items():
            entry = entry_of(self.row(replica), number)
            for name in names if entry is not None else ():
                outcome = verdict_of(entry, name)
                found[name] = f"{outcome.verdict.value} {outcome.code}".strip()
        return found

    def parked(self) -> dict[bytes, ParkedCommand]:
        """What the parked topic holds after compaction."""
        found: dict[bytes, ParkedCommand] = {}
        for record in self.published:
            if record.topic == topics.parked_topic("retail"):
                found.pop(record.key, None)
                if record.value is not None:
                    found[record.key] = self.rules.records.decode_parked(record.value)
        return found

    def restore_parked(self) -> None:
        """As a take-over does: what its row has not waiting is passed over, and comes again with its record."""
        for record in self.parked().values():
            passing_over(self.merger.restore, record, self.devices)

    def _values(self, topic: str) -> Sequence[bytes]:
        return [r.value for r in self.published if r.topic == topic and r.value is not None]
