"""A registered schema says what each field was declared as, and a later declaration may not make another thing of it."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from driftlog import (
    AddWinsSet,
    App,
    BoundedCounter,
    Counter,
    Custom,
    Document,
    Flag,
    List,
    Map,
    Max,
    MultiValue,
    Ranked,
    Register,
    Text,
    field,
)
from driftlog_schemas.declarations import changes, declared
from driftlog_schemas.state_codec import state_schema


def schema(fields: dict[str, Any], **options: Any) -> str:
    app = App("shop")
    space = app.space("retail", partitions=1)
    hints = {"store": str, "sku": str, **{name: hint for name, (hint, _) in fields.items()}}
    members = {name: default for name, (_, default) in fields.items() if default is not None}
    made = type("Stock", (Document,), {"__annotations__": hints, "__module__": __name__, **members})
    space.collection(**{"scope": "store", "id": "sku", **options})(made)
    return state_schema(app.contract.collection("Stock"))


def price(annotation: Any, default: Any) -> str:
    return schema({"price": (annotation, field(default=default)), "on_hand": (Counter, None)})


WORDS = {
    "counter": (Counter, None),
    "register of text": (Register[str], ""),
    "register of int": (Register[int | None], None),
    "register of decimal": (Register[Decimal], field(default=Decimal("0"))),
    "register of time": (Register[datetime | None], None),
    "register of date": (Register[date | None], None),
    "register of uuid": (Register[uuid.UUID | None], None),
    "register of json": (Register[dict[str, int]], None),
    "ranked of text": (Ranked[Literal["open", "done"]], None),
    "multi_value of bool": (MultiValue[bool], None),
    "max of float": (Max[float], None),
    "add_wins_set of text": (AddWinsSet[str], None),
    "map of register of decimal": (Map[Register[Decimal]], None),
    "map of counter": (Map[Counter], None),
    "custom of int": (Custom[int], field(default=0, merge=lambda base, left, right: left + right - base)),
    "list of int": (List[int], None),
    "text": (Text, None),
    "flag": (Flag, None),
    "flag where disable wins": (Flag, field(wins="disable")),
    "bounded_counter from 0": (BoundedCounter, None),
    "bounded_counter from 10 held by office": (BoundedCounter, field(initial=10, holder="office")),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_column_says_in_words_that_stay_what_it_is(words: str) -> None:
    assert declared(schema({"it": WORDS[words]}))["it"].words == words


def test_avro_would_promote_and_the_declaration_refuses() -> None:
    before, after = price(Register[str], ""), price(Register[Decimal], Decimal("0"))
    assert changes(after, [before]) == ["price was declared as register of text and is now register of decimal"]


def test_a_field_may_come_and_go_but_not_come_back_as_another() -> None:
    first, without = price(Register[str], ""), schema({"on_hand": (Counter, None)})
    assert changes(without, [first]) == []
    assert changes(first, [without, first]) == []
    assert len(changes(price(Register[Decimal], Decimal("0")), [without, first])) == 1


def test_a_document_stays_named_by_the_same_fields() -> None:
    before = schema({"on_hand": (Counter, None)})
    turned = schema({"on_hand": (Counter, None)}, scope="sku", id="store")
    assert changes(turned, [before]) == ["Stock had store, sku as its scope and id and now has sku, store"]
    assert changes(before, [before]) == []


def test_what_values_are_allowed_is_no_change_of_meaning() -> None:
    listed = schema({"it": (Register[Literal["a", "b"]], "a")})
    assert changes(schema({"it": (Register[str | None], None)}), [listed]) == []


@pytest.mark.parametrize("options", [{"on_delete": "update-wins"}, {"unit": "record"}])
def test_how_documents_are_merged_and_deleted_is_part_of_it(options: dict[str, str]) -> None:
    fields = {"name": (Register[str], "")}
    (change,) = changes(schema(fields, **options), [schema(fields)])
    assert change.startswith("Stock was declared as delete-wins document, merged by field and is now")


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        ("both", "down", False),
        ("down", "both", True),
        ("down", "down", True),
        ("both", "up", False),
        ("up", "both", False),
        ("up", "down", False),
        ("down", "up", False),
        ("up", "up", True),
    ],
)
def test_devices_may_be_let_write_what_only_came_down_and_not_be_stopped(before: str, now: str, kept: bool) -> None:
    fields = {"name": (Register[str], "")}
    found = changes(schema(fields, direction=now), [schema(fields, direction=before)])
    assert found == [] if kept else found[0].startswith(f'Stock had direction="{before}" and now has "{now}"')


def test_a_collection_that_goes_both_ways_has_the_schema_that_it_always_had() -> None:
    assert "direction" not in schema({"name": (Register[str], "")})


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"fields": 5}', '{"name": "x", "fields": [5, {"name": "y", "driftlog": 7}]}']
)
def test_a_schema_that_is_no_row_of_an_app_declares_nothing(text: str) -> None:
    assert declared(text) == {}
    assert changes(price(Register[str], ""), [text]) == []


class Line(BaseModel):
    sku: str
    qty: int = 1


class Order(BaseModel):
    """An order as it was declared first."""

    number: str
    lines: list[Line] = []
    parent: Order | None = None


class RicherLine(Line):
    """One more thing that may be missing, one less, and other words."""

    note: str | None = None


class RicherOrder(BaseModel):
    number: str
    lines: list[RicherLine] = []
    at: datetime | None = None


class StrictOrder(Order):
    customer: str


class LineOfText(BaseModel):
    sku: str
    qty: str = "1"


class OrderOfText(BaseModel):
    number: str
    lines: list[LineOfText] = []


def held(annotation: Any) -> tuple[Any, Any]:
    return Register[annotation], None


def last(base: int, left: int, right: int) -> int:
    return right


Change = tuple[tuple[Any, Any], tuple[Any, Any], str]
STAGES = Ranked[Literal["open", "packed", "done"]]
MEANS_ANOTHER: dict[str, Change] = {
    "ranked the other way": (
        (STAGES, None),
        (Ranked[Literal["done", "packed", "open"]], None),
        "it ranked open, packed, done and now ranks done, packed, open",
    ),
    "two ranks turned in a longer order": (
        (STAGES, None),
        (Ranked[Literal["open", "done", "lost", "packed"]], None),
        "it ranked open, packed, done and now ranks open, done, packed",
    ),
    "the other side wins": (
        (Flag, None),
        (Flag, field(wins="disable")),
        "it was declared as flag and is now flag where disable wins",
    ),
    "a bound moved inwards": (
        (BoundedCounter, field(lower=0, initial=5, holder="office")),
        (BoundedCounter, field(lower=2, initial=5, holder="office")),
        "it had the lower bound 0 and now has 2",
    ),
    "a new bound": (
        (BoundedCounter, None),
        (BoundedCounter, field(lower=0, upper=9, holder="office")),
        "it was declared as bounded_counter from 0 and is now bounded_counter from 0 held by office",
    ),
    "counted from another number": (
        (BoundedCounter, field(lower=0)),
        (BoundedCounter, field(lower=-5)),
        "it was declared as bounded_counter from 0 and is now bounded_counter from -5",
    ),
    "a list for an object": (held(dict[str, int] | None), held(list[int] | None), "it held object at its top"),
    "other keys": (
        held(dict[str, int] | None),
        held(dict[str, str] | None),
        "it held integer at /* and now holds string",
    ),
    "a pair for a list": (
        held(list[int] | None),
        held(tuple[int, str] | None),
        "it held integer at /[] and now nothing",
    ),
    "deep in a model": (held(Order | None), held(OrderOfText | None), "it held integer at /lines/[]/qty"),
    "a time for a text": (held(list[str] | None), held(list[datetime] | None), "it held string at /[] and now holds"),
    "what old values need not have": (held(Order | None), held(StrictOrder | None), "it now requires /customer"),
    "a model for keys of any name": (held(dict[str, str] | None), held(Order | None), "it held string at /* and now"),
    "in a map": (
        (Map[Register[dict[str, int] | None]], None),
        (Map[Register[list[int] | None]], None),
        "it held object at its top",
    ),
}


@pytest.mark.parametrize("case", MEANS_ANOTHER)
def test_a_value_that_would_be_taken_for_another_is_refused(case: str) -> None:
    before, after, message = MEANS_ANOTHER[case]
    (change,) = changes(schema({"it": after}), [schema({"it": before})])
    assert change.startswith(message)


MEANS_THE_SAME: dict[str, tuple[tuple[Any, Any], tuple[Any, Any]]] = {
    "one more rank": ((STAGES, None), (Ranked[Literal["open", "packed", "sent", "done"]], None)),
    "one rank less": ((STAGES, None), (Ranked[Literal["open", "done"]], None)),
    "a bound moved outwards": (
        (BoundedCounter, field(lower=0, upper=9, initial=5, holder="office")),
        (BoundedCounter, field(lower=-3, upper=None, initial=5, holder="office")),
    ),
    "a model that may have more": (held(Order | None), held(RicherOrder | None)),
    "a model that needs less": (held(StrictOrder | None), held(Order | None)),
    "anything": (held(dict[str, int] | None), held(dict[str, Any] | None)),
    "a longer list for a pair": (held(tuple[int, int] | None), held(list[int] | None)),
    "another merge": (
        (Custom[int], field(default=0, merge=lambda base, left, right: left)),
        (Custom[int], field(default=0, merge=last)),
    ),
}


@pytest.mark.parametrize("case", MEANS_THE_SAME)
def test_what_leaves_old_values_their_meaning_may_change(case: str) -> None:
    before, after = (schema({"it": one}) for one in MEANS_THE_SAME[case])
    assert changes(after, [before]) == []
    assert changes(before, [before]) == []


def test_an_order_does_not_come_back_turned_round_by_way_of_a_release_that_left_it_out() -> None:
    first, between = schema({"it": (STAGES, None)}), schema({"it": (Ranked[Literal["open", "done"]], None)})
    turned = schema({"it": (Ranked[Literal["packed", "open", "done"]], None)})
    assert changes(turned, [between]) == []
    assert len(changes(turned, [between, first])) == 1
