"""One fixed record of every kind that goes over the wire, with everything in it that its schema can say.

`tests/data/wire/NAME.hex` holds the bytes of each. Where those change, devices in the field no longer understand the cloud: then
either the change is an accident, or it needs a new format and readers of both. Only to pin a *new* specimen:

    python -m tests.unit.schemas.specimens
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import fastavro
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog import AddWinsSet, App, Counter, Document, Register, field
from driftlog_crdt import Decision, DocumentState, Op, Origin, Place
from driftlog_schemas import avro_files
from driftlog_schemas.avro_files import full_name
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.claims import Claim
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, Terms
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import (
    Batch,
    Call,
    ChainEntry,
    ChainRow,
    Command,
    CommandOutcome,
    Conflict,
    ConflictStatus,
    DocumentOp,
    Due,
    Failed,
    Forgetting,
    Forgot,
    Heartbeat,
    Notice,
    Over,
    ParkedCommand,
    Quarantined,
    Ran,
    Reacting,
    RefusalNotice,
    Refused,
    Taken,
    Verdict,
    Version,
    WaitingCommand,
)
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs, conflict_id
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec

FOLDER = Path(__file__).parents[2] / "data" / "wire"
FINGERPRINTS = FOLDER / "fingerprints.json"
BYTES_PER_LINE = 40


class NumberedIds:
    """Ids by record name, so that a comment in a schema does not change a pinned byte."""

    NAMES = (
        "driftlog.v1.SignedBatch",
        "driftlog.retail.Stock",
        "driftlog.v1.Quarantined",
        "driftlog.v1.Conflict",
        "driftlog.v1.Device",
        "driftlog.v1.Heartbeat",
        "driftlog.v1.ParkedCommand",
        "driftlog.v1.ChainRow",
        "driftlog.v1.RefusalNotice",
        "driftlog.v1.SignedLine",
        "driftlog.v1.Farewell",
        "driftlog.v1.Claim",
    )

    def id_of(self, text: str) -> int:
        return self.NAMES.index(full_name(text)) + 1

    def schema_of(self, schema_id: int) -> str:
        raise AssertionError(f"every specimen is of this code's schema, not of {schema_id}")


IDS = NumberedIds()
TEA = DocumentId("Stock", "s1", "earl/grey 100%")
MILK = DocumentId("Stock", "s1", "milk")
T0 = 1_790_000_000_000
IDENTITY = Identity("store-1", "5f0c77aa", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def _op(document: DocumentId, seq: int, field: str, kind: str, value: object, context: object = None) -> DocumentOp:
    return DocumentOp(document, Op("store-1.3", seq, (T0 + seq) << 16, field, kind, value, context))  # type: ignore[arg-type]


SALE = Command(
    "0198-sale",
    "sell",
    "s1",
    (T0 + 9) << 16,
    (
        _op(TEA, 4, "on_hand", "decrement", 2),
        _op(TEA, 5, "price", "set", "12.5", {"office.1": 7, "store-2.1": 3}),
        _op(MILK, 1, "on_hand", "increment", 1 << 70),
        _op(MILK, 2, "tags", "add", "büro", {}),
    ),
    "ann",
)
WRITE = Command(
    "0199-write",
    "",
    "s1",
    (T0 + 10) << 16,
    (
        _op(MILK, 3, "note", "set", {"b": [1, 1.5, True, None], "a": ""}, {"office.1": 7, "store-2.1": 3}),
        _op(MILK, 4, "", "delete", None, {}),
    ),
    root="store-1.k3f7q2wp",
    written=1234000,
    decision=Decision("cli", "as it stands on the shelf"),
)
BATCH = Batch(
    "retail", 5, "store-1.3", 42, (SALE, WRITE), "2026.1", bytes(range(16)), 40, ("store-1.2", "store-1.3"), 1234500
)
FORGETTING = Forgetting(
    1200000,
    {"till-7.1": "till-7", "till-8.k3f7q2wp": ""},
    {b"Stock/s1/earl%2Fgrey 100%25": bytes(range(8))},
    ("till-9.1/7/0200",),
    (Due(b"Stock/s1/earl%2Fgrey 100%25", "price", bytes(range(8)), T0 + 172_800_000),),
    ("store-1.k3f9q2w7",),
)
CLOUD_BATCH = Batch("retail", 5, "cloud.forget", 3, (), prev=bytes(range(16)), floor=3, forget=FORGETTING)
_CALL = Call("reaction-5f0c77aa", "goods_arrive", "arrive", '{"store":"s2"}', 2, 5, 1 << 41, again=True)
_RAN = Ran(17, 0, 3, (1,), (2,), (Failed(1, "reaction_refused", "closed: the gate is closed"),), more=True)
CALLS_BATCH = Batch("retail", 5, "cloud.reaction", 0, (), react=Reacting((_CALL,)))
RAN_BATCH = Batch("retail", 5, "cloud.reaction", 3, (), prev=bytes(range(16)), floor=3, react=Reacting(ran=_RAN))
CHAIN_ROW = ChainRow(
    "store-1",
    "store-1.k3f9q2w7",
    "retail",
    5,
    42,
    bytes(range(16)),
    41,
    (
        ChainEntry(
            41,
            bytes(range(8)),
            1234560,
            (
                CommandOutcome("0198-sale", Verdict.REJECTED, "recount", "sold more than was there"),
                CommandOutcome("0200", Verdict.PARKED),
                CommandOutcome("0201", Verdict.DEFERRED, "undeclared", "collection 'Order' is not declared"),
                CommandOutcome("0202", Verdict.NO_EFFECT),
            ),
            1234565,
        ),
        ChainEntry(42, bytes(range(8, 16)), 1234567),
    ),
    ended="retired",
    ended_at=1234600,
    heir="store-1",
    skew_ms=250,
    append_ms=T0,
    offset=1234567,
    notice=Notice(44, bytes(8), 1234570, "early", "batch 43 has not come"),
    refused={bytes(range(8)): Refused(39, "oversold"), bytes(range(8, 16)): Refused(40, "invalid")},
    refused_from=12,
    taken={bytes(8): Taken(1234590), bytes(range(8)): Taken(1234599, Verdict.REJECTED, "oversold")},
    forgot=(Forgot(1100000, 1000000, 0), Forgot(1234600, 1200000, 1234600)),
    born_ms=T0 - 90,
    oldest_supported="1.4",
    support_ends_ms=T0 + 90,
    forgotten=1234610,
    taken_from=1234300,
    over={
        bytes(range(8)): Over(7, bytes(range(16)), 1100, "ended", 1200, "", -1, 1500),
        bytes(range(8, 16)): Over(0, b"", -1, "retired", 1210, "store-1", 1500, 1600),
    },
)
NOTICE = RefusalNotice("store-9", "bad_signature", "the signature is not this key's", 8, T0)
QUARANTINED = Quarantined("unforeseen", "KeyError 'price'", 5, 9, T0, "store-1.k3f9q2w7", b"as it came")
VERSIONS = (
    Version("store-1.3", 5, (T0 + 5) << 16, T0 + 20, "12.5", "0198-sale", "ann", 11),
    Version("office.1", 8, (T0 + 1) << 16, T0 + 9, {"amount": 11, "sale": True}),
    Version("store-2.1", 1, T0 << 16, T0 + 30, None, "0199", "bob", 3),
)
CONFLICT = Conflict(
    conflict_id(TEA, "price"),
    TEA,
    "price",
    VERSIONS,
    "review",
    "register",
    T0 + 20,
    T0 + 30,
    T0 + 20 + 172_800_000,
    ConflictStatus.RESOLVED,
    Version("office.1", 9, (T0 + 90) << 16, T0 + 99, 12, "0300", "eve", 18, "cli", "as it stands on the shelf"),
    2,
)
DEVICE = Device(
    "store-1",
    7,
    (DeviceKey("00aa11bb", bytes(32), T0, T0 + 3), DeviceKey("5f0c77aa", IDENTITY.public_key, T0 + 2)),
    (
        Terms(T0, DeviceStatus.ACTIVE, ("s1", "shared"), ("sell", "_write"), T0 + 99, 11),
        Terms(T0 + 5, DeviceStatus.REVOKED, ("s1", "shared"), ("sell", "_write"), T0 + 99, 11),
    ),
)
_ROOT = RootKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))
_OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96)))
OPERATOR = OperatorKey(_OPERATOR, _ROOT.certify(_OPERATOR.public_key().public_bytes_raw(), 4, T0, oldest=3))
HEARTBEAT = Heartbeat(
    "store-1",
    "store-1.k3f7q2wp",
    T0,
    "DEGRADED",
    12,
    T0 - 900,
    1 << 33,
    -40,
    {"driftlog": "0.1.0"},
    {"retail/3": 8},
    {"retail/3": 70_000},
    3,
    ("retail/3/s-7",),
    "forked",
    4,
    1,
    2,
    (
        WaitingCommand("review", "c-1", "sell", "Anna", "Stock", "s1", "earl/grey 100%", 2, "gone", "it is gone", T0),
        WaitingCommand("rejected", "c-2", "", "", "Stock", "s1", "milk", 1, "permission_denied", "may not", T0 + 1),
    ),
)
CLAIM = Claim(
    "7fc2f2abdfddfeb09ee272e6",
    "s1",
    "claimed",
    "Anna",
    "Bob",
    T0 + 3_600_000,
    "she knows the shelf",
    "store-1",
    "5f0c77aa",
    T0,
).signed(IDENTITY)
FAREWELL = Farewell("store-1", "5f0c77aa", 3, "store-1.k3f7q2wp", 2, T0).signed(IDENTITY)
PARKED = ParkedCommand(T0, 1234567, SALE.id, b"signed", 1234600)

app = App("shop")
space = app.space("retail", partitions=8)


@space.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    price: Register[Decimal] = field(default=Decimal("0"), on_conflict="review", deadline="48h")
    tags: AddWinsSet[str]


COLLECTION = app.contract.collection("Stock")
STOCK = COLLECTION.document


def stock_state() -> DocumentState:
    """Sold, priced and tagged by two replicas."""
    state = STOCK.new()
    for op in (
        Op("office.1", 1, T0 << 16, "on_hand", "increment", 40, None),
        Op("office.1", 2, (T0 + 1) << 16, "tags", "add", "tea", {}),
        Op("store-1.3", 1, (T0 + 2) << 16, "on_hand", "decrement", 3, None),
        Op("store-1.3", 2, (T0 + 3) << 16, "price", "set", "12.5", {"office.1": 2}),
        Op("store-1.3", 3, (T0 + 3) << 16, "tags", "add", "büro", {"office.1": 2}),
    ):
        origin = Origin("0198-sale", "ann", T0 + 20, 3) if op.field == "price" else None
        STOCK.apply(state, op._replace(origin=origin))
    return state


def settled_state() -> DocumentState:
    """Priced once more by somebody who had not seen it, and settled."""
    state = stock_state()
    op = Op("store-2.1", 1, (T0 + 4) << 16, "price", "set", "13", {})
    STOCK.apply(state, op._replace(origin=Origin("0199-price", "bob", T0 + 30, 0, Decision("page", "seen"))))
    STOCK.settle(state, Place("price"), T0 + 172_800_030)
    return state


def _made() -> Mapping[str, Callable[[], bytes]]:
    codecs = RecordCodecs(IDS)
    return {
        "batch_body": lambda: encode_body(BATCH),
        "forgetting_body": lambda: encode_body(CLOUD_BATCH),
        "calls_body": lambda: encode_body(CALLS_BATCH),
        "ran_body": lambda: encode_body(RAN_BATCH),
        "signed_batch": lambda: BatchCodec(IDS).seal(encode_body(BATCH), IDENTITY),
        "state_row": lambda: StateCodec(COLLECTION, IDS).encode(TEA, stock_state()),
        "settled_row": lambda: StateCodec(COLLECTION, IDS).encode(TEA, settled_state()),
        "chain_row": lambda: codecs.encode_chain_row(CHAIN_ROW),
        "refusal_notice": lambda: codecs.encode_refusal_notice(NOTICE),
        "conflict": lambda: codecs.encode_conflict(CONFLICT),
        "device": lambda: codecs.encode_device(DEVICE),
        "signed_line": lambda: codecs.encode_signed_line(OPERATOR.sign(codecs.encode_device(DEVICE))),
        "heartbeat": lambda: codecs.encode_heartbeat(HEARTBEAT),
        "farewell": lambda: codecs.encode_farewell(FAREWELL),
        "claim": lambda: codecs.encode_claim(CLAIM),
        "parked_command": lambda: codecs.encode_parked(PARKED),
        "quarantined": lambda: codecs.encode_quarantined(QUARANTINED),
        "document_key": lambda: document_key(TEA),
    }


MADE = _made()


def pinned(name: str) -> bytes:
    """The bytes that were sent when the contract was fixed."""
    return bytes.fromhex((FOLDER / f"{name}.hex").read_text())


def fingerprint(name: str) -> str:
    """Of the schema's canonical form, which has neither comments nor defaults, so that those may be bettered."""
    shape = fastavro.schema.to_parsing_canonical_form(json.loads(avro_files.text(name)))
    return str(fastavro.schema.fingerprint(shape, "CRC-64-AVRO"))


def pin_new() -> list[str]:
    """Write down those specimens and fingerprints that are not yet; never one that is."""
    new = [name for name in MADE if not (FOLDER / f"{name}.hex").exists()]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in new:
        text = MADE[name]().hex()
        lines = [text[i : i + 2 * BYTES_PER_LINE] for i in range(0, len(text), 2 * BYTES_PER_LINE)]
        (FOLDER / f"{name}.hex").write_text("\n".join(lines) + "\n")
    prints = json.loads(FINGERPRINTS.read_text())
    known = {name: prints.get(name) or fingerprint(name) for name in avro_files.RECORDS}
    FINGERPRINTS.write_text(json.dumps(known, indent=1) + "\n")
    return new + sorted(known.keys() - prints.keys())


if __name__ == "__main__":
    raise SystemExit(f"pinned: {', '.join(pin_new()) or 'nothing new'}")
