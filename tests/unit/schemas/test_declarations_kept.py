"""A registered schema says what each field was declared as, and a later declaration may not make another thing of it."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest

from driftlog import (
    AddWinsSet,
    App,
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
    space.collection(scope="store", id="sku", **options)(made)
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
}


@pytest.mark.parametrize("words", WORDS)
def test_a_column_says_in_words_that_stay_what_it_is(words: str) -> None:
    assert declared(schema({"it": WORDS[words]}))["it"] == words


def test_avro_would_promote_and_the_declaration_refuses() -> None:
    before, after = price(Register[str], ""), price(Register[Decimal], Decimal("0"))
    assert changes(after, [before]) == ["price was declared as register of text and is now register of decimal"]


def test_a_field_may_come_and_go_but_not_come_back_as_another() -> None:
    first, without = price(Register[str], ""), schema({"on_hand": (Counter, None)})
    assert changes(without, [first]) == []
    assert changes(first, [without, first]) == []
    assert len(changes(price(Register[Decimal], Decimal("0")), [without, first])) == 1


def test_what_values_are_allowed_is_no_change_of_meaning() -> None:
    listed = schema({"it": (Register[Literal["a", "b"]], "a")})
    assert changes(schema({"it": (Register[str | None], None)}), [listed]) == []


@pytest.mark.parametrize("options", [{"on_delete": "update-wins"}, {"unit": "record"}])
def test_how_documents_are_merged_and_deleted_is_part_of_it(options: dict[str, str]) -> None:
    fields = {"name": (Register[str], "")}
    (change,) = changes(schema(fields, **options), [schema(fields)])
    assert change.startswith("Stock was declared as delete-wins document, merged by field and is now")


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"fields": 5}', '{"name": "x", "fields": [5, {"name": "y", "driftlog": 7}]}']
)
def test_a_schema_that_is_no_row_of_an_app_declares_nothing(text: str) -> None:
    assert declared(text) == {}
    assert changes(price(Register[str], ""), [text]) == []
