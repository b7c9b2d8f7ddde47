"""A batch comes back exactly as it went in, its bytes are canonical, and no bytes do anything but decode or be refused."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftlog_crdt import Op, Plain, canonical
from driftlog_schemas import avro_files
from driftlog_schemas.batch_codec import (
    MAX_BATCH_BYTES,
    MAX_BATCH_OPS,
    BatchCodec,
    decode_body,
    encode_body,
    encode_command,
)
from driftlog_schemas.columns_codec import pack, unpack
from driftlog_schemas.errors import ContractError, TooBig, Undecodable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp, SignedBatch
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity, verify
from tests.unit.schemas.arbitrary import REPLICA, batches, commands, values

BODY = avro_files.parsed("batch_body")
TEA = DocumentId("Stock", "s1", "tea")
IDENTITY = Identity.create("store-1")


def op(seq: int = 1, value: Plain = 1, **changed: Any) -> DocumentOp:
    return DocumentOp(TEA, Op(REPLICA, seq, 1 << 16, "on_hand", "increment", value)._replace(**changed))


def batch(*ops: DocumentOp) -> Batch:
    return Batch("retail", 2, REPLICA, 7, (Command("c1", "sell", "s1", 1 << 16, ops, "ann"),), "1.0")


def record(body: bytes) -> dict[str, Any]:
    found = fastavro.schemaless_reader(io.BytesIO(body), BODY, None)
    assert isinstance(found, dict)
    return found


def rewritten(body: bytes, **changed: Any) -> bytes:
    """The body as a sender might write it who does not use our encoder."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, BODY, record(body) | changed)
    return stream.getvalue()


def kept_text(made: Batch) -> str:
    """Everything in the batch with types told apart, because `1 == 1.0 == True` in Python."""
    return canonical(
        [
            [*o.document, *o.op[:6], dict(o.op.context or {}), o.op.unsure, o.op.span]
            for c in made.commands
            for o in c.ops
        ]
    )


@given(batches)
@example(batch(op(value=1), op(2, value=1.0), op(3, value=True), op(4, value=-0.0), op(5, value=None)))
def test_a_batch_comes_back_as_it_went_in(made: Batch) -> None:
    found = decode_body(encode_body(made))
    assert found == made
    assert kept_text(found) == kept_text(made)


@given(batches)
def test_the_same_batch_gives_the_same_bytes(made: Batch) -> None:
    body = encode_body(made)
    assert encode_body(decode_body(body)) == body


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 99), max_size=5))
def test_the_order_of_a_context_is_not_in_the_bytes(context: dict[str, int]) -> None:
    backwards = dict(reversed(context.items()))
    assert encode_body(batch(op(context=context))) == encode_body(batch(op(context=backwards)))


@given(values)
def test_any_plain_value_is_carried(value: Plain) -> None:
    (found,) = decode_body(encode_body(batch(op(value=value)))).commands[0].ops
    assert canonical(found.op.value) == canonical(value)


@given(commands)
def test_one_command_comes_back_alone(command: Command) -> None:
    found = decode_body(encode_command(command, "retail", REPLICA, "release"))
    assert (found.commands, found.app_version) == ((command,), "release")


def test_lives_of_others_are_neither_ended_nor_anybodys_root() -> None:
    with pytest.raises(TooBig, match="no life"):
        encode_body(dataclasses.replace(batch(op()), ends=("store-2.1",)))
    (command,) = batch(op()).commands
    with pytest.raises(TooBig, match="earlier life"):
        encode_command(command._replace(root=REPLICA), "retail", REPLICA)


def test_no_op_or_no_context_is_something_else_than_an_empty_one() -> None:
    found = decode_body(encode_body(batch(op(1), op(2, context={}), op(3, context={"store-2.1": 4}))))
    assert [o.op.context for o in found.commands[0].ops] == [None, {}, {"store-2.1": 4}]


def test_a_usual_op_takes_ten_bytes_or_less() -> None:
    one, many = (encode_body(batch(*(op(n) for n in range(1, count + 1)))) for count in (1, 401))
    assert (len(many) - len(one)) / 400 <= 10


def test_an_op_over_the_bound_is_not_sent() -> None:
    assert len(decode_body(encode_body(batch(*map(op, range(1, MAX_BATCH_OPS + 1))))).commands[0].ops) == MAX_BATCH_OPS
    with pytest.raises(TooBig, match="501 ops"):
        encode_body(batch(*map(op, range(1, MAX_BATCH_OPS + 2))))


def test_bytes_over_the_bound_are_neither_sent_nor_read() -> None:
    with pytest.raises(TooBig, match="bytes"):
        encode_body(batch(op(value="x" * MAX_BATCH_BYTES)))
    with pytest.raises(Undecodable, match="bytes"):
        decode_body(b"\x06" * (MAX_BATCH_BYTES + 1))


def test_ops_of_another_replica_are_a_defect_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="one replica"):
        encode_body(batch(op(replica="store-2.1")))


DUE: dict[str, Any] = {"key": b"Stock/s1/tea", "place": "price", "seen": bytes(8), "due_ms": 9}
DECIDED: dict[str, Any] = {"command": 0, "how": "page", "reason": ""}
FORGET: dict[str, Any] = {
    "floor": 7,
    "retired": ["till-7.1"],
    "heirs": ["till-7"],
    "purge": [b"Stock/s1/tea"],
    "seen": bytes(8),
    "over": ["till-6.1"],
    "drop": ["till-7.1/3/sale"],
    "settle": [DUE],
}
NOTHING_BUT: dict[str, Any] = {
    "floor": -1,
    "retired": [],
    "heirs": [],
    "purge": [],
    "seen": b"",
    "over": [],
    "settle": [],
}
GOOD = encode_body(batch(op(1, context={"store-2.1": 4}), op(2, value="tea"), op(3, value=["tea", {"a": 1}])))


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_a_truncated_body_is_undecodable(length: int) -> None:
    with pytest.raises(Undecodable):
        decode_body(GOOD[:length])


@given(st.binary(min_size=1, max_size=50))
def test_trailing_bytes_are_refused(more: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_body(GOOD + more)


@given(st.binary(max_size=300), st.booleans())
def test_foreign_bytes_are_a_batch_or_undecodable(data: bytes, as_ours: bool) -> None:
    try:
        found = decode_body(b"\x06" + data if as_ours else data)
    except Undecodable:
        return
    assert isinstance(found, Batch)


@given(st.data())
def test_spoiled_bytes_are_a_batch_or_undecodable(data: st.DataObject) -> None:
    spoiled = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=12))
    try:
        found = decode_body(bytes(spoiled))
    except Undecodable:
        return
    assert isinstance(found, Batch)


def long_bytes(number: int) -> bytes:
    """A number as Avro writes it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    return stream.getvalue()


@pytest.mark.parametrize("count", [1 << 20, 1 << 40, (1 << 63) - 1, -1, -(1 << 40), -(1 << 63)])
def test_a_claimed_length_is_not_believed(count: int) -> None:
    space = b"\x06" + long_bytes(count)
    arrays = GOOD[: GOOD.index(b"\x061.0") + 4] + long_bytes(count)
    for body in (space, space + bytes(100), arrays, arrays + bytes(100)):
        with pytest.raises(Undecodable):
            decode_body(body)


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"format": 2}, "format"),
        ({"op_span": pack([1, 2])}, "length"),
        ({"op_span": pack([1, 1, 0])}, "op_span"),
        ({"op_span": pack([2, 1, 1])}, "op_span: more dots"),
        ({"command_stands_for": pack([1])}, "command_stands_for"),
        ({"stood_for": bytes(8)}, "command_stands_for"),
        ({"stood_for": bytes(8), "command_stands_for": pack([2])}, "command_stands_for"),
        ({"stood_for": bytes(16), "command_stands_for": pack([1])}, "names of commands"),
        ({"stood_for": bytes(7), "command_stands_for": pack([1])}, "stood_for: 7 bytes"),
        ({"stood_for": bytes(8008), "command_stands_for": pack([1001])}, "stood_for: 8008 bytes"),
        ({"op_document": pack([0, 1])}, "length"),
        ({"op_document": pack([0, 0, 1])}, "op_document"),
        ({"op_document": pack([0, 0, -1])}, "op_document"),
        ({"op_document": b"\x03\x00"}, "no known width"),
        ({"op_document": b"\x00" + b"\xff" * 12}, "smallest number"),
        ({"op_change": pack([0, 0, 9])}, "op_change"),
        ({"op_context": pack([0, -1, 1])}, "op_context"),
        ({"op_context": pack([0, -1, -2])}, "op_context"),
        ({"op_seq": pack([1, 2, -3])}, "op_seq"),
        ({"op_seq": pack([1, 2, 0])}, "op_seq"),
        ({"op_seq": b"\x01\x00" + bytes([1, 2, 3])}, "op_seq"),
        ({"op_unsure": pack([0, 0, -1])}, "op_unsure"),
        ({"contexts": 4}, "contexts for 3 ops"),
        ({"changes": -1}, "changes for 3 ops"),
        ({"context_size": pack([1 << 40])}, "context_size"),
        ({"replicas": ["store-2.1"] * 9}, "replicas"),
        ({"replicas": ["r" * 81]}, "replica: 81 bytes"),
        ({"decisions": [DECIDED | {"how": "deadline"}]}, "nobody decides by 'deadline'"),
        ({"decisions": [DECIDED | {"reason": "r" * 201}]}, "decisions: 201 bytes"),
        ({"decisions": [DECIDED | {"command": 1}]}, "decisions: 1"),
        ({"decisions": [DECIDED, DECIDED]}, "once"),
        ({"forget": FORGET | {"settle": [DUE, DUE]}}, "settle: 2 conflicts"),
        ({"forget": FORGET | {"settle": [DUE | {"place": str(n)} for n in range(201)]}}, "settle: 201"),
        ({"forget": FORGET | {"settle": [DUE | {"key": b"Stock/s1"}]}}, "settle"),
        ({"forget": FORGET | {"settle": [DUE | {"place": "p" * 4097}]}}, "settle: 4097 bytes"),
        ({"forget": FORGET | {"settle": [DUE | {"seen": bytes(7)}]}}, "no digest"),
        ({"forget": FORGET | {"settle": [DUE | {"due_ms": 0}]}}, "settle: 0"),
        ({"names": ["n" * 129]}, "name: 129 bytes"),
        ({"names": ["n"] * 99}, "99 names"),
        ({"scopes": ["s" * 513]}, "scope: 513 bytes"),
        ({"scopes": [""]}, "scope: 0 bytes"),
        ({"document_id": ["i\x00"]}, "NUL"),
        ({"command_id": ["ü" * 65]}, "command id: 130 bytes"),
        ({"replica": "r" * 400_000}, "replica"),
        ({"prev": b"short"}, "prev"),
        ({"floor": 8}, "floor"),
        ({"number": -1}, "floor"),
        ({"read": -2}, "read"),
        ({"ends": ["store-2.1"]}, "ends: 'store-2.1' is no life of 'store-1'"),
        ({"ends": ["store-1.1"] * 2}, "ends"),
        ({"ends": [f"store-1.{n}" for n in range(9)]}, "ends: 9 lives"),
        ({"roots": [REPLICA], "command_root": pack([1])}, "roots"),
        ({"roots": ["store-2.1"], "command_root": pack([1])}, "roots"),
        ({"roots": ["store-1.1", "store-1.2"]}, "roots: 2 lives"),
        ({"command_root": pack([1])}, "command_root"),
        ({"forget": FORGET | {"floor": -1}}, "floor"),
        ({"forget": FORGET | {"floor": -1, "purge": [], "seen": b""}}, "floor"),
        ({"forget": NOTHING_BUT | {"drop": []}}, "floor"),
        ({"forget": NOTHING_BUT | {"drop": ["till-7.1/3/sale"], "over": ["till-6.1"]}}, "floor"),
        ({"forget": FORGET | {"over": ["till-6.1"] * 2}}, "over"),
        ({"forget": FORGET | {"over": [f"till-6.{n:x}" for n in range(1001)]}}, "over: 1001"),
        ({"forget": FORGET | {"over": ["till-6"]}}, "over"),
        ({"forget": FORGET | {"over": ["till.UP"]}}, "over: 'till.UP' is no replica"),
        ({"forget": FORGET | {"drop": ["till-7.1/3/sale"] * 2}}, "drop"),
        ({"forget": FORGET | {"drop": [f"till-7.1/{n}/sale" for n in range(501)]}}, "drop: 501"),
        ({"forget": FORGET | {"drop": ["x" * 300]}}, "drop"),
        ({"forget": FORGET | {"drop": [""]}}, "drop"),
        ({"forget": FORGET | {"heirs": []}}, "retired"),
        ({"forget": FORGET | {"retired": ["till"], "heirs": [""]}}, "retired: '' cannot name"),
        ({"forget": FORGET | {"retired": ["till.UP"], "heirs": [""]}}, "retired: 'till.UP' is no replica"),
        ({"forget": FORGET | {"retired": ["t.1"] * 2, "heirs": [""] * 2}}, "retired"),
        ({"forget": FORGET | {"heirs": ["a.b"]}}, "heirs"),
        ({"forget": FORGET | {"purge": [b"Stock/s1"]}}, "purge"),
        ({"forget": FORGET | {"seen": bytes(7)}}, "purge: 1 documents"),
        ({"forget": FORGET | {"purge": [b"Stock/s1/tea"] * 2, "seen": bytes(16)}}, "purge"),
        ({"forget": FORGET | {"purge": [b"Stock//tea"]}}, "purge: 0 bytes"),
        ({"forget": FORGET | {"purge": [b"Stock/\xff/tea"]}}, "purge"),
        (
            {"forget": FORGET | {"purge": [b"Stock/s1/%d" % n for n in range(2001)], "seen": bytes(16008)}},
            "purge: 2001",
        ),
        ({"op_form": b"\x03\x04\x07"}, "no known form"),
        ({"op_form": b"\x03\x03\x04"}, "length"),
        ({"doubles": b"1"}, "length"),
        ({"json": ["{"]}, "not JSON"),
        ({"json": ["[NaN]"]}, "not JSON"),
        ({"json": ["[1e999]"]}, "cannot be merged"),
        ({"json": ["[" * 33 + "]" * 33]}, "nested deeper"),
        ({"json": ["[" * 100_000]}, "not JSON"),
        ({"json": ["9" * 5000]}, "not JSON"),
    ],
)
def test_a_body_that_contradicts_itself_is_undecodable(changed: dict[str, Any], fact: str) -> None:
    with pytest.raises(Undecodable, match=fact):
        decode_body(rewritten(GOOD, **changed))


def test_contexts_that_unfold_to_more_than_was_sent_are_bounded() -> None:
    crowd = {f"till-{n}.1": 1 for n in range(4000)}
    ops = [op(n, context=crowd | {"late.1": n}) for n in range(1, 67)]
    with pytest.raises(TooBig, match="contexts"):
        encode_body(batch(*ops))
    fits = encode_body(batch(*ops[:65]))
    body = record(fits)
    more: dict[str, Any] = {
        name: pack([*unpack(body[name], 65, name), 0]) for name in ("op_document", "op_hlc", "op_change")
    }
    more |= {name: pack([*unpack(body[name], 65, name), 64]) for name in ("op_seq", "op_context")}
    more |= {"op_unsure": b"\x00\x00", "op_form": body["op_form"] + b"\x03", "command_ops": pack([66])}
    more |= {"numbers": pack([1] * 66), "contexts": 66, "context_size": pack([4001, *[1] * 65])}
    more["context_replica"] = pack([*unpack(body["context_replica"], 4065, ""), 0])
    more["context_seq"] = pack([*unpack(body["context_seq"], 4065, ""), 9])
    with pytest.raises(Undecodable, match="contexts of"):
        decode_body(rewritten(fits, **more))


@pytest.mark.parametrize("ops", [[2, 2], [4, -1], [-1, 4], [2], [1 << 30], [3, 1]])
def test_commands_share_out_the_ops_exactly(ops: list[int]) -> None:
    count = len(ops)
    columns: dict[str, Any] = {name: pack([0] * count) for name in record(GOOD) if name.startswith("command_")}
    columns |= {"command_id": ["c"] * count, "command_ops": pack(ops)}
    with pytest.raises(Undecodable):
        decode_body(rewritten(GOOD, **columns))


def test_too_many_ops_or_commands_are_not_read() -> None:
    with pytest.raises(Undecodable, match="501 commands"):
        decode_body(rewritten(GOOD, command_id=["c"] * (MAX_BATCH_OPS + 1)))
    with pytest.raises(Undecodable, match="501 ops"):
        decode_body(rewritten(GOOD, op_form=bytes(MAX_BATCH_OPS + 1)))


def test_every_flipped_bit_of_a_body_breaks_the_signature() -> None:
    signature = IDENTITY.sign(GOOD)
    assert verify(IDENTITY.public_key, signature, GOOD)
    for at in range(len(GOOD) * 8):
        spoiled = bytearray(GOOD)
        spoiled[at // 8] ^= 1 << at % 8
        assert not verify(IDENTITY.public_key, signature, bytes(spoiled)), f"bit {at}"


@given(batches)
def test_a_sealed_batch_opens_to_what_was_signed(made: Batch) -> None:
    codec, body = BatchCodec(FixedIds()), encode_body(made)
    opened = codec.open(codec.seal(body, IDENTITY))
    assert opened == SignedBatch("store-1", IDENTITY.key_id, IDENTITY.sign(body), body)
    assert verify(IDENTITY.public_key, opened.signature, opened.body)


@given(st.data())
def test_a_spoiled_envelope_opens_to_something_or_is_refused(data: st.DataObject) -> None:
    codec = BatchCodec(FixedIds())
    spoiled = bytearray(codec.seal(GOOD, IDENTITY))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(spoiled) - 1, 120)))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=9))
    try:
        assert isinstance(codec.open(bytes(spoiled)), SignedBatch)
    except ContractError as error:
        assert str(error)
