"""A document's row: plain typed columns that any Avro reader understands, and the merge's memory in its last field."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog import AddWinsSet, App, Counter, Document, Register, field
from driftlog.errors import DeclarationError
from driftlog_crdt import AlgebraError, DocumentState, Op, Plain, TooLarge
from driftlog_schemas.errors import ContractError, Undecodable
from driftlog_schemas.framing import HEADER_BYTES, FramedCodec, header
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import META, StateCodec, codecs_of, state_schema
from tests.unit.schemas.arbitrary import values

app = App("shop")
space = app.space("retail", partitions=1)


@space.collection(scope="store", id="sku", max_bytes=2000)
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter
    name: Register[str] = ""
    price: Register[Decimal] = field(default=Decimal("0"))
    checked: Register[datetime | None] = None
    tags: AddWinsSet[str]


COLLECTION = app.contract.collection("Stock")
TEA = DocumentId("Stock", "s1", "tea")
IDS = FixedIds()
CODEC = StateCodec(COLLECTION, IDS)


def change(seq: int, name: str, kind: str, value: Plain) -> Op:
    return Op("a.1", seq, seq << 16, name, kind, value, {} if kind in ("set", "add", "remove") else None)


def admitted(op: Op) -> bool:
    """Does it pass the checks that a worker makes of every op?"""
    try:
        COLLECTION.document.check(op)
        COLLECTION.check(op)
    except AlgebraError:
        return False
    return True


def state(*changes: tuple[str, str, Any]) -> DocumentState:
    found = COLLECTION.document.new()
    for seq, (name, kind, value) in enumerate(changes, 1):
        COLLECTION.document.apply(found, change(seq, name, kind, value))
    return found


FULL = state(
    ("on_hand", "increment", 7),
    ("name", "set", "Tea"),
    ("price", "set", "3.5"),
    ("checked", "set", "2026-03-01T12:00:00Z"),
    ("tags", "add", "new"),
)


def by_anybody(value: bytes) -> dict[str, Any]:
    """The row as a tool reads it that knows the registry and plain Avro, and nothing of ours."""
    schema = fastavro.parse_schema(json.loads(IDS.schema_of(int.from_bytes(value[1:HEADER_BYTES], "big"))))
    found = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema, None)
    assert isinstance(found, dict)
    return found


def test_anybody_reads_plain_typed_columns() -> None:
    row = by_anybody(CODEC.encode(TEA, FULL))
    assert row.pop(META)["deleted"] is False
    assert row == {
        "store": "s1",
        "sku": "tea",
        "on_hand": 7,
        "name": "Tea",
        "price": Decimal("3.5"),
        "checked": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "tags": ["new"],
    }


def test_an_untouched_document_shows_the_declared_defaults() -> None:
    row = by_anybody(CODEC.encode(TEA, state()))
    assert (row["on_hand"], row["name"], row["price"], row["checked"], row["tags"]) == (0, "", Decimal(0), None, [])


def test_the_columns_stand_in_the_order_of_the_declaration() -> None:
    names = [f["name"] for f in json.loads(state_schema(COLLECTION))["fields"]]
    assert names == ["store", "sku", "on_hand", "name", "price", "checked", "tags", META]


def test_every_column_has_a_default_so_that_fields_can_be_added() -> None:
    columns = json.loads(state_schema(COLLECTION))["fields"][2:-1]
    assert all("default" in column for column in columns)


def test_a_state_comes_back_with_its_memory() -> None:
    found = CODEC.decode(CODEC.encode(TEA, FULL))
    assert COLLECTION.document.encode(found) == COLLECTION.document.encode(FULL)
    assert found.vector == {"a.1": 5}


def test_the_bytes_do_not_depend_on_the_order_of_merging() -> None:
    ops = [Op(f"{name}.1", 1, 1 << 16, "on_hand", "increment", 2) for name in "abc"]
    one, other = COLLECTION.document.new(), COLLECTION.document.new()
    for op, reverse in zip(ops, reversed(ops), strict=True):
        COLLECTION.document.apply(one, op)
        COLLECTION.document.apply(other, reverse)
    assert CODEC.encode(TEA, one) == CODEC.encode(TEA, other)


CHANGES = [
    ("on_hand", "increment", 7),
    ("name", "set", "Tea"),
    ("tags", "add", "new"),
    ("on_hand", "decrement", 2),
    ("tags", "add", "sale"),
    ("price", "set", "3.5"),
    ("name", "set", "Green tea"),
    ("tags", "remove", "new"),
    ("", "delete", None),
    ("on_hand", "increment", 1),
    ("name", "set", "Tea"),
]


def test_a_row_that_is_written_again_and_again_is_that_of_a_state_that_was_never_written() -> None:
    often, kept = COLLECTION.document.new(), 0
    for seq, (name, kind, value) in enumerate(CHANGES, 1):
        op = change(seq, name, kind, value)._replace(context={} if name != "on_hand" else None)
        COLLECTION.document.apply(often, op)
        never = COLLECTION.document.decode(COLLECTION.document.encode(often))
        assert CODEC.encode_with_version(TEA, often) == CODEC.encode_with_version(TEA, never), seq
        kept += often.made is not None
    assert kept >= 3, "it has many fields for a while"


def test_only_what_has_changed_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    many = COLLECTION.document.decode(COLLECTION.document.encode(FULL))
    CODEC.encode(TEA, many)
    COLLECTION.document.apply(many, change(6, "on_hand", "increment", 1))
    for still in ("name", "tags"):
        algebra = type(COLLECTION.document.merge_type(still))
        monkeypatch.setattr(algebra, "value", None)
        monkeypatch.setattr(algebra, "encode", None)
    assert by_anybody(CODEC.encode(TEA, many))["on_hand"] == 8


def test_a_deleted_document_says_so() -> None:
    gone = state(("on_hand", "increment", 7))
    COLLECTION.document.apply(gone, Op("a.1", 2, 2 << 16, "", "delete", None, {}))
    assert by_anybody(CODEC.encode(TEA, gone))[META]["deleted"] is True


def test_a_state_over_the_size_guard_is_too_large() -> None:
    with pytest.raises(TooLarge):
        CODEC.encode(TEA, state(*(("tags", "add", f"tag number {number}") for number in range(200))))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("on_hand", "increment", 1 << 63),
        ("price", "set", "9" * 40),
        ("price", "set", "0.0000000001"),
        ("price", "set", "NaN"),
        ("price", "set", "tea"),
        ("price", "set", None),
        ("price", "set", ["3.5"]),
        ("name", "set", 7),
        ("name", "set", None),
        ("checked", "set", "yesterday"),
        ("checked", "set", "0001-01-01T00:00:00+14:00"),
        ("tags", "add", 7),
    ],
)
def test_a_value_that_no_column_can_hold_is_not_admitted(name: str, kind: str, value: Any) -> None:
    """Such an op can only come from a sender that is not ours; it must not end the worker that meets it."""
    assert not admitted(change(1, name, kind, value))


@given(
    st.sampled_from(["on_hand", "name", "price", "checked", "tags"]),
    st.sampled_from(["increment", "decrement", "set", "add", "remove"]),
    values | st.sampled_from(["3.5", "1e400", "Infinity", "2026-03-01", "2026-03-01T12:00:00+25:00", "9999-12-31"]),
)
def test_whatever_is_admitted_can_be_written_as_a_row(name: str, kind: str, value: Plain) -> None:
    op = change(1, name, kind, value)
    if admitted(op):
        found = COLLECTION.document.new()
        COLLECTION.document.apply(found, op)
        row = CODEC.encode(TEA, found)
        assert COLLECTION.document.encode(CODEC.decode(row)) == COLLECTION.document.encode(found)
        assert FramedCodec(CODEC.schema, IDS).encode(CODEC.decode_row(row)) == row, "fastavro writes the same bytes"


def test_sums_beyond_a_long_stop_at_its_end() -> None:
    most = [("on_hand", "increment", (1 << 63) - 1)] * 3
    assert by_anybody(CODEC.encode(TEA, state(*most)))["on_hand"] == (1 << 63) - 1


def test_a_row_of_an_older_declaration_is_read() -> None:
    schema = json.loads(CODEC.schema)
    schema["fields"] = [f for f in schema["fields"] if f["name"] != "tags"]
    row = by_anybody(CODEC.encode(TEA, state(("on_hand", "increment", 7))))
    older = FramedCodec(json.dumps(schema), IDS).encode({k: v for k, v in row.items() if k != "tags"})
    assert COLLECTION.document.field_value(CODEC.decode(older), "on_hand") == 7
    assert CODEC.decode_row(older)["tags"] == []


GOOD = CODEC.encode(TEA, FULL)


@given(st.data())
def test_spoiled_rows_are_a_state_or_a_typed_error(data: st.DataObject) -> None:
    spoiled = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    try:
        assert isinstance(CODEC.decode(bytes(spoiled)), DocumentState)
    except (ContractError, AlgebraError) as error:
        assert str(error)


@given(st.binary(max_size=80))
def test_foreign_bytes_are_a_state_or_a_typed_error(data: bytes) -> None:
    for value in (data, header(IDS.id_of(CODEC.schema)) + data):
        try:
            assert isinstance(CODEC.decode(value), DocumentState)
        except (ContractError, AlgebraError) as error:
            assert str(error)


def test_another_collections_row_is_undecodable() -> None:
    other = CODEC.schema.replace('"Stock"', '"Shelf"')
    row = by_anybody(GOOD)
    with pytest.raises(Undecodable, match=r"driftlog\.retail\.Shelf"):
        CODEC.decode(FramedCodec(other, IDS).encode(row))


def test_there_is_a_codec_for_every_collection() -> None:
    codecs = codecs_of(dict(app.contract.spaces["retail"].collections), IDS)
    assert {name: codec.schema for name, codec in codecs.items()} == {"Stock": CODEC.schema}


def test_a_space_with_a_hyphen_has_a_name_that_avro_knows() -> None:
    shop = App("shop").space("north-east")

    @shop.collection(scope="store", id="sku")
    class Shelf(Document):
        store: str
        sku: str
        on_hand: Counter

    (collection,) = shop.contract.collections.values()
    assert StateCodec(collection, IDS)
    assert json.loads(state_schema(collection))["namespace"] == "driftlog.north__east"


@pytest.mark.parametrize("name", ["größe", "_driftlog"])
def test_a_name_that_avro_does_not_know_fails_at_import(name: str) -> None:
    annotations = {"store": str, "sku": str, name: Counter}
    shelf = type("Shelf", (Document,), {"__annotations__": annotations, "__module__": __name__})
    with pytest.raises(DeclarationError, match=rf"Shelf\.{name}: "):
        App("shop").space("retail").collection(scope="store", id="sku")(shelf)


def test_a_document_whose_scope_is_its_id_fails_at_import() -> None:
    shop = App("shop").space("retail")
    with pytest.raises(DeclarationError, match="as its scope and as its id"):

        @shop.collection(scope="store", id="store")
        class Shelf(Document):
            store: str
            on_hand: Counter


# -- a field that is declared no more


def test_a_removed_field_is_carried_through_another_release_and_read_again() -> None:
    later = App("shop")

    @later.space("retail", partitions=1).collection(scope="store", id="sku", max_bytes=2000)
    class Stock(Document):
        store: str
        sku: str
        on_hand: Counter

    less = StateCodec(later.contract.collection("Stock"), IDS)
    found = less.decode(CODEC.encode(TEA, FULL))
    kind = less.collection.document
    kind.apply(found, kind.prepare(found, "b.1", 99, "on_hand", "increment", 5))
    row = less.encode(TEA, found)
    assert less.decode_row(row).keys() == {"store", "sku", "on_hand", META}
    again = CODEC.decode(row)
    assert COLLECTION.document.values(again) == {**COLLECTION.document.values(FULL), "on_hand": 12}


# -- a type that another release has widened


@pytest.mark.parametrize(("narrow", "wide", "zero", "more"), [(str, str | None, "", None), (int, int | None, 0, None)])
def test_an_older_release_reads_of_a_widened_type_what_it_can_hold_itself(
    narrow: Any, wide: Any, zero: Any, more: Any
) -> None:
    """Avro resolves no row of the one to the other; the document is in the merge's own memory all the same."""

    def codec(values: Any, default: Any) -> StateCodec:
        made = type(
            "Shelf",
            (Document,),
            {
                "__annotations__": {"store": str, "sku": str, "label": Register[values], "on_hand": Counter},
                "__module__": __name__,
                "label": field(default=default),
            },
        )
        shop = App("shop")
        shop.space("retail", partitions=1).collection(scope="store", id="sku")(made)
        return StateCodec(shop.contract.collection("Shelf"), IDS)

    older, newer = codec(narrow, zero), codec(wide, None)
    kind, shelf = newer.collection.document, DocumentId("Shelf", "s1", "one")
    state = kind.new()
    kind.apply(state, kind.prepare(state, "a.1", 1, "label", "set", zero))
    found = older.decode(newer.encode(shelf, state))
    assert older.encode(shelf, found) == older.encode(shelf, state)

    kind.apply(state, kind.prepare(state, "a.1", 2, "label", "set", more))
    with pytest.raises(Undecodable, match="does not take"):
        older.decode(newer.encode(shelf, state))
