"""A command comes back from the op log as it was, and none gets in there that no batch could carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import Op, canonical
from driftlog_edge.store.logged import SURELY_FITS, Logged, decode_logged, decode_to_seal, encode_logged
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, encode_body, encode_columns, encode_command
from driftlog_schemas.bounds import MAX_COMMAND_ID, MAX_CONTEXT, MAX_ID, MAX_NAME, MAX_REPLICA, MAX_SCOPE
from driftlog_schemas.errors import TooBig, Undecodable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp
from tests.unit.schemas.arbitrary import REPLICA, given_commands

OP = Op(REPLICA, 1, 1 << 16, "name", "set", "tea", {"store-2.1": 3}, 2)
SET = Command("c1", "rename", "s1", 1 << 16, (DocumentOp(DocumentId("Stock", "s1", "tea"), OP),), "ann")


def encoded(command: Command, space: str = "retail", replica: str = REPLICA, release: str = "1.0") -> bytes:
    return encode_logged(command, space, replica, 7, release)


def in_one_scope(command: Command) -> Command:
    ops = tuple(DocumentOp(document._replace(scope=command.scope), op) for document, op in command.ops)
    return command._replace(ops=ops)


def with_op(**changed: Any) -> Command:
    (document, _), *_ = SET.ops
    return SET._replace(ops=(DocumentOp(document, OP._replace(**changed)),))


def with_document(collection: str = "Stock", id: str = "tea") -> Command:
    return SET._replace(ops=(DocumentOp(DocumentId(collection, "s1", id), OP),))


@given(given_commands)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    command = in_one_scope(command)
    raw = encode_logged(command, "retail", REPLICA, -1, "1.0")

    found = decode_logged(raw)

    assert found == Logged(command, len(raw), -1, "1.0")
    kept = [[op.value, op.seq, op.hlc] for _, op in found.command.ops]
    assert canonical(kept) == canonical([[op.value, op.seq, op.hlc] for _, op in command.ops]), (
        "1, 1.0 and True are three"
    )


@given(st.lists(given_commands, min_size=1, max_size=4))
def test_what_goes_into_a_batch_in_columns_is_what_goes_in_with_its_ops(commands: list[Command]) -> None:
    commands = [in_one_scope(command) for command in commands]
    logged = [encode_logged(command, "retail", REPLICA, 7, "1.0", alone=True) for command in commands]
    batch = Batch("retail", 0, REPLICA, 1, tuple(decode_logged(raw).command for raw in logged), "1.0")

    found = [decode_to_seal(raw) for raw in logged]

    assert encode_columns(replace(batch, commands=()), [one.sent for one in found]) == encode_body(batch)
    for raw, one in zip(logged, found, strict=True):
        assert (one.command, *one[1:5]) == decode_logged(raw)
        assert one.replica == REPLICA


LONG = {
    "command id": SET._replace(id="c" * (MAX_COMMAND_ID + 1)),
    "no command id": SET._replace(id=""),
    "command": SET._replace(name="n" * (MAX_NAME + 1)),
    "actor": SET._replace(actor="ä" * (MAX_NAME // 2 + 1)),
    "NUL": SET._replace(actor="\x00"),
    "collection": with_document(collection="C" * (MAX_NAME + 1)),
    "document id": with_document(id="i" * (MAX_ID + 1)),
    "no document id": with_document(id=""),
    "field": with_op(field="f" * (MAX_NAME + 1)),
    "kind": with_op(kind="k" * (MAX_NAME + 1)),
    "context": with_op(context={f"r.{n}": 1 for n in range(MAX_CONTEXT + 1)}),
    "value": with_op(value="v" * MAX_BATCH_BYTES),
}


@pytest.mark.parametrize("command", LONG.values(), ids=LONG)
def test_what_no_batch_could_carry_is_refused_as_the_batch_refuses_it(command: Command) -> None:
    for refused in (lambda: encode_command(command, "retail", REPLICA, "1.0"), lambda: encoded(command)):
        with pytest.raises(TooBig):
            refused()


@pytest.mark.parametrize(
    "around", [{"space": "s" * (MAX_NAME + 1)}, {"release": "r" * (MAX_NAME + 1)}, {"replica": "r" * (MAX_REPLICA + 1)}]
)
def test_what_is_said_around_it_is_bounded_too(around: dict[str, str]) -> None:
    replica = around.get("replica", REPLICA)
    with pytest.raises(TooBig):
        encoded(with_op(replica=replica), **around)


def test_a_scope_is_bounded_too() -> None:
    with pytest.raises(TooBig, match="scope"):
        encoded(SET._replace(scope="s" * (MAX_SCOPE + 1), ops=()))


def test_what_is_not_tried_fits_whatever_it_holds() -> None:
    """The smallest in the log beside what the batch makes of it: many names of replicas, each of one letter, and numbers far apart."""
    context = {chr(0x100 + n): 1 if n % 2 else (1 << 63) - 1 for n in range(400)}
    ops = tuple(DocumentOp(DocumentId("S", "s", str(n)), OP._replace(context=context, seq=n + 1)) for n in range(3))
    command = Command("c", "n", "s", 1, ops)
    raw = encoded(command)
    assert len(raw) > SURELY_FITS // 2
    assert len(encode_body(Batch("retail", 0, REPLICA, 1, (command,)))) < 4 * len(raw) < MAX_BATCH_BYTES


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", b"\x01", b"\x02[]", b"\x01{", b"\x01[]", b"\x01[0,1,2]", b"\x01" + b"[" * 9000, b"\x01null"]
)
@pytest.mark.parametrize("decode", [decode_logged, decode_to_seal])
def test_other_bytes_are_no_command(raw: bytes, decode: Callable[[bytes], object]) -> None:
    with pytest.raises(Undecodable):
        decode(raw)


@pytest.mark.parametrize("decode", [decode_logged, decode_to_seal])
def test_every_cut_and_every_form_but_its_own_is_refused(decode: Callable[[bytes], object]) -> None:
    raw = encoded(SET)
    for end in range(len(raw)):
        with pytest.raises(Undecodable):
            decode(raw[:end])
    for form in range(256):
        if form != raw[0]:
            with pytest.raises(Undecodable):
                decode(bytes((form,)) + raw[1:])
    one_part_less = raw.replace(b",2]]", b"]]")
    assert one_part_less != raw
    with pytest.raises(Undecodable):
        decode(one_part_less)
