"""Every kind of field: what its changes come to for a command, for a reader, and in a row."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from driftlog import InvalidInput
from driftlog_crdt import BadOperation, BadValue, Plain
from driftlog_schemas.framing import FramedCodec
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import StateCodec
from tests.unit.face.bench import ADDRESS, ME, THING, Bench, Thing

Change = tuple[str, list[Any]]

CHANGES: list[tuple[str, list[Change], Any, Plain]] = [
    ("count", [("increment", [3]), ("decrement", [])], 2, 2),
    ("visits", [("increment", [])], 1, 1),
    ("seats", [("decrement", [4]), ("transfer", ["you.1", 2])], 6, 6),
    ("record", [("raise_to", [4]), ("raise_to", [3])], 4, 4),
    ("fastest", [("lower_to", [2.5]), ("lower_to", [3.5])], 2.5, 2.5),
    ("price", [("set", ["4.50"])], Decimal("4.5"), "4.5"),
    ("note", [("set", ["x"])], "x", "x"),
    ("note", [("set", ["x"]), ("set", [None])], None, None),
    ("stage", [("set", ["packed"])], "packed", "packed"),
    ("names", [("set", ["a"])], ("a",), ["a"]),
    ("ready", [("enable", [])], True, True),
    ("cart", [("set", [["b", "a"]])], ["b", "a"], ["b", "a"]),
    ("weights", [("add", ["1.10"]), ("add", ["2"]), ("remove", ["2.00"])], {Decimal("1.1")}, ["1.1"]),
    ("banned", [("add", [4]), ("add", [5]), ("remove", [5])], {4}, [4]),
    ("seen", [("add", ["q"]), ("add", ["q"])], {"q"}, ["q"]),
    ("labels", [("set", ["k", "v"])], {"k": "v"}, {"k": "v"}),
    (
        "bins",
        [("increment", ["left", 5]), ("increment", ["right", 1]), ("remove", ["right"])],
        {"left": 5},
        {"left": 5},
    ),
    ("story", [("insert", [0, "héllo"]), ("delete", [0, 1])], "éllo", "éllo"),
    ("steps", [("insert", [0, "a", "b"]), ("insert", [1, "c"]), ("delete", [0])], ["c", "b"], ["c", "b"]),
]


@pytest.mark.parametrize(("field", "changes", "value", "shown"), CHANGES)
def test_changes_are_seen_by_commands_and_readers(field: str, changes: list[Change], value: Any, shown: Plain) -> None:
    bench = Bench()
    for op, args in changes:
        bench.do(field, op, *args)

    assert getattr(Thing(bench), field).value == value
    assert bench.shown(field) == shown


def test_a_row_is_plain_and_typed_for_any_kafka_tool() -> None:
    bench = Bench()
    for field, changes, _, _ in CHANGES:
        for op, args in changes:
            bench.do(field, op, *args)
    codec = StateCodec(THING, FixedIds())

    value = codec.encode(DocumentId("Thing", "here", "one"), bench.state)
    row: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), json.loads(codec.schema), None)

    assert row["count"] == 2 and row["price"] == Decimal("4.5") and row["weights"] == [Decimal("1.1")]
    assert row["bins"] == {"left": 5} and row["labels"] == {"k": "v"} and row["steps"] == ["c", "b"]
    assert row["note"] is None and row["record"] == 4 and row["ready"] is True
    assert json.loads(row["cart"]) == ["b", "a"]
    assert codec.decode(value).vector == bench.state.vector


def test_a_row_has_the_bytes_that_fastavro_writes() -> None:
    ids, thing, address = FixedIds(), Bench(), Bench(ADDRESS)
    for field, changes, _, _ in CHANGES:
        for op, args in changes:
            thing.do(field, op, *args)
            row = StateCodec(THING, ids).encode(DocumentId("Thing", "hier", "größe"), thing.state)
            assert row == by_fastavro(StateCodec(THING, ids), row, ids)
    address.do("city", "set", "Bonn")
    row = StateCodec(ADDRESS, ids).encode(DocumentId("Address", "here", "one"), address.state)
    assert row == by_fastavro(StateCodec(ADDRESS, ids), row, ids)
    assert StateCodec(ADDRESS, ids).decode_row(row)["city"] == "Bonn"


def by_fastavro(codec: StateCodec, row: bytes, ids: FixedIds) -> bytes:
    return FramedCodec(codec.schema, ids).encode(codec.decode_row(row))


def test_a_new_document_has_a_row_of_defaults() -> None:
    codec = StateCodec(THING, FixedIds())
    row = codec.decode_row(codec.encode(DocumentId("Thing", "here", "one"), THING.document.new()))
    assert (row["count"], row["price"], row["stage"], row["seats"]) == (0, Decimal("1.5"), "open", 10)
    assert (row["record"], row["names"], row["bins"], row["story"]) == (None, [], {}, "")


REFUSED: list[tuple[str, str, list[Any], str]] = [
    ("count", "increment", [-1], "count: takes a whole number from 0 up"),
    ("count", "increment", [True], "count: takes a whole number"),
    ("count", "increment", [2**63], "count: takes a whole number"),
    ("count", "multiply", [2], "op: count takes decrement, increment"),
    ("count", "increment", [1, 2], "args: count.increment"),
    ("visits", "decrement", [1], "op: visits takes increment"),
    ("seats", "transfer", ["ghost", 1], "seats: rights go to a life of a device"),
    ("seats", "transfer_room", ["store-2.LIFE", 1], "seats: rights go to a life of a device"),
    ("record", "raise_to", ["high"], "record: "),
    ("fastest", "lower_to", [float("nan")], "fastest: "),
    ("price", "set", ["4.5 EUR"], "price: "),
    ("price", "set", ["1e40"], "price: "),
    ("note", "set", [5], "note: "),
    ("stage", "set", ["lost"], "stage: "),
    ("ready", "set", [True], "op: ready takes disable, enable"),
    ("banned", "add", ["x"], "banned: "),
    ("labels", "set", ["k", 5], "labels['k']: "),
    ("labels", "set", [], "args: labels.set takes a text key first"),
    ("bins", "grow", ["k"], "op: bins['k'] takes decrement, increment"),
    ("story", "insert", [-1, "x"], "story: "),
    ("story", "insert", [0, ""], "story: "),
    ("steps", "insert", [0], "steps: "),
    ("nowhere", "set", [1], "field: Thing has no field 'nowhere'"),
    ("", "bury", [], "op: a document takes 'delete'"),
]


@pytest.mark.parametrize(("field", "op", "args", "message"), REFUSED)
def test_bad_changes_are_refused_by_name_and_change_nothing(field: str, op: str, args: list[Any], message: str) -> None:
    bench = Bench()
    before = THING.document.encode(bench.state)

    with pytest.raises(InvalidInput) as refused:
        bench.do(field, op, *args)

    assert str(refused.value).startswith(message)
    assert THING.document.encode(bench.state) == before and not bench.ops


def test_a_right_that_is_not_there_is_refused_with_what_is_left() -> None:
    bench = Bench()
    bench.do("seats", "decrement", 7)
    assert (Thing(bench).seats.rights(ME), Thing(bench).seats.room(ME)) == (3, None)
    with pytest.raises(BadOperation, match="may take 3 more, not 4"):
        bench.do("seats", "decrement", 4)


def test_keys_of_a_map_are_fields_of_their_own() -> None:
    thing = Thing(Bench())
    thing.bins["left"].increment(5)
    thing.bins["left"].decrement(2)
    assert thing.bins["left"].value == 3 and thing.bins["right"].value == 0
    assert "left" in thing.bins and "right" not in thing.bins and len(thing.bins) == 1
    with pytest.raises(InvalidInput, match="text keys"):
        thing.bins[5]


def test_a_field_is_never_taken_for_its_value() -> None:
    thing = Thing(Bench())
    for wrong in (lambda: bool(thing.count), lambda: thing.count == 3, lambda: hash(thing.count)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError, match="change it with count"):
        thing.count = 3  # type: ignore[assignment]


FOREIGN: list[tuple[str, str, Plain]] = [
    ("note", "set", 5),
    ("price", "set", "4.50"),
    ("price", "set", "abc"),
    ("record", "raise", 2.5),
    ("names", "set", 1),
    ("cart", "set", ["no list", [[0, [], 0]]]),
    ("weights", "add", "1.10"),
    ("banned", "add", "x"),
    ("labels", "set", ["k", 5]),
]


@pytest.mark.parametrize(("field", "kind", "value"), FOREIGN)
def test_an_op_whose_value_is_not_of_the_declared_type_is_told(field: str, kind: str, value: Plain) -> None:
    bench = Bench()
    bench.do(field, *_first_change(field))
    op = bench.ops[0]._replace(kind=kind, value=value)
    THING.document.check(op)
    with pytest.raises(BadValue) as told:
        THING.check(op)
    assert told.value.field == field


def _first_change(field: str) -> tuple[Any, ...]:
    op, args = next(changes[0] for name, changes, _, _ in CHANGES if name == field)
    return (op, *args)


def test_what_a_list_carries_is_checked_too() -> None:
    bench = Bench()
    bench.do("steps", "insert", 0, "a")
    numbers = THING.document.prepare(THING.document.new(), ME, 1, "steps", "insert", [0, [1, 2]])
    with pytest.raises(BadValue, match="steps"):
        THING.check(numbers)
    THING.check(bench.ops[0])


DECISIONS: list[tuple[str, Plain, str, Plain]] = [
    ("price", "9.90", "price", "9.9"),
    ("ready", True, "ready", True),
    ("labels.k", "chosen", "labels", {"k": "chosen"}),
    ("cart", ["x"], "cart", ["x"]),
]


@pytest.mark.parametrize(("place", "value", "field", "shown"), DECISIONS)
def test_a_decision_is_written_where_the_conflict_is(place: str, value: Plain, field: str, shown: Plain) -> None:
    bench = Bench()
    THING.decide(bench, place, value)
    assert bench.shown(field) == shown


@pytest.mark.parametrize(("place", "value"), [("price", "much"), ("ready", "yes"), ("count", 5), ("gone", 1), ("", 3)])
def test_a_decision_that_cannot_be_is_refused(place: str, value: Plain) -> None:
    bench = Bench()
    with pytest.raises(InvalidInput):
        THING.decide(bench, place, value)
    assert not bench.ops


def test_a_record_is_written_and_decided_as_one() -> None:
    bench = Bench(ADDRESS)
    bench.do("street", "set", "Main 1")
    ADDRESS.decide(bench, "", {"street": "Low 2", "city": "Ulm"})
    assert (bench.shown("street"), bench.shown("city")) == ("Low 2", "Ulm")
    with pytest.raises(BadValue, match="city"):
        ADDRESS.check(bench.ops[-1]._replace(value={"city": 5}))


def test_a_merge_of_the_app_that_fails_lets_the_later_value_stand() -> None:
    from driftlog.fields.custom import guarded_merge
    from driftlog.values import ValueType

    def breaks(base: int, left: int, right: int) -> int:
        raise ZeroDivisionError

    numbers = ValueType.of(int)
    assert guarded_merge(breaks, numbers, "here")(0, 1, 2) == 2
    assert guarded_merge(lambda b, x, y: "no number", numbers, "here")(0, 1, 2) == 2
    assert guarded_merge(lambda b, x, y: x + y - b, numbers, "here")(1, 4, 5) == 8
