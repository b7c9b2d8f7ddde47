"""Declared commands: arguments are validated before anything runs, results are JSON, and one scope is one scope."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import PositiveInt

from driftlog import App, Counter, Document, InvalidInput, Refused, Transaction, testing
from driftlog_crdt import DocumentState
from driftlog_schemas.contract import DocumentEditor
from tests.unit.face.bench import Bench

app = App("tills")
tills = app.space("tills", partitions=2)


@tills.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    on_hand: Counter


@tills.command
def sell(tx: Transaction, store: str, sku: str, qty: PositiveInt = 1) -> dict[str, Any]:
    """Take `qty` off the shelf."""
    stock = tx.edit(Stock, store, sku)
    if stock.on_hand.value < qty:
        raise Refused("out_of_stock", f"{stock.on_hand.value} left")
    stock.on_hand.decrement(qty)
    return {"left": stock.on_hand.value, "price": Decimal("2.50")}


@tills.command(name="both", priority="high")
def two_stores(tx: Transaction, one: str, other: str) -> None:
    tx.edit(Stock, one, "x")
    tx.edit(Stock, other, "x")


@tills.command
def odd(tx: Transaction) -> object:
    return object()


@tills.guard(Stock)
def never_negative(before: Stock, after: Stock) -> None:
    if after.on_hand.value < 0:
        raise Refused("recount", "sold more than was there")


CONTRACT = app.contract


class Shelf:
    """An editor with one document."""

    def __init__(self, on_hand: int = 0) -> None:
        self.bench = Bench(CONTRACT.collection("Stock"))
        if on_hand:
            self.bench.do("on_hand", "increment", on_hand)

    def open(self, collection: str, scope: str, id: str) -> DocumentEditor:
        return self.bench


def run(name: str, shelf: Shelf, **arguments: Any) -> Any:
    command = CONTRACT.command(name)
    return command.run(shelf, command.validate(arguments))


def test_a_command_changes_the_document_and_answers_json() -> None:
    shelf = Shelf(5)
    assert run("sell", shelf, store="s", sku="x", qty=2) == {"left": 3, "price": "2.50"}
    assert shelf.bench.shown("on_hand") == 3


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"sku": "x"}, "store"),
        ({"store": "s", "sku": "x", "qty": 0}, "qty"),
        ({"store": "s", "sku": "x", "qty": "many"}, "qty"),
        ({"store": 1, "sku": "x"}, "store"),
        ({"store": "s", "sku": "x", "color": "red"}, "color"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        CONTRACT.command("sell").validate(arguments)
    assert refused.value.field == field


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("argument", ["number", "positive", "part", "price", "perhaps", "some", "by_name"])
def test_yes_and_no_are_no_numbers(argument: str, given: bool) -> None:
    measured = App("measured")
    space = measured.space("measured", partitions=2)

    @space.command
    def measure(
        tx: Transaction,
        number: int = 1,
        positive: PositiveInt | None = 1,
        part: float = 1,
        price: Decimal = Decimal(1),
        perhaps: int | str | None = None,
        some: list[int] | None = None,
        by_name: dict[str, float] | None = None,
        sure: bool = True,
    ) -> None: ...

    command = measured.contract.command("measure")
    value: Any = {"some": [1, given], "by_name": {"x": given}}.get(argument, given)
    with pytest.raises(InvalidInput) as refused:
        command.validate({argument: value})
    assert refused.value.field == argument and "is no number" in refused.value.message
    fine = {"number": 2, "part": 2, "price": "2.5", "some": [1], "by_name": {"x": 1}, "sure": given}
    assert command.validate(fine)["sure"] is given
    assert command.arguments_schema["properties"]["number"] == {"default": 1, "title": "Number", "type": "integer"}


def test_a_refusal_has_the_apps_own_code() -> None:
    with pytest.raises(Refused, match="out_of_stock: 0 left"):
        run("sell", Shelf(), store="s", sku="x")


def test_a_command_stays_in_one_scope() -> None:
    with pytest.raises(
        InvalidInput, match="other: a command stays in one scope: 'a', not 'b'; it is the document's store"
    ):
        testing.replica(app).run("both", one="a", other="b")


def test_what_is_no_collection_cannot_be_edited() -> None:
    with pytest.raises(InvalidInput, match="Document is not a collection"):
        Transaction(Shelf()).edit(Document, "s", "x")


def test_a_result_that_json_cannot_say_is_an_error_of_the_app() -> None:
    with pytest.raises(TypeError):
        run("odd", Shelf())


def test_unknown_names_say_what_is_declared() -> None:
    with pytest.raises(InvalidInput, match="declared: both, odd, sell"):
        CONTRACT.command("buy")
    with pytest.raises(InvalidInput, match="declared: Stock"):
        CONTRACT.collection("Shop")


def test_a_guard_sees_both_states_and_views_are_read_only() -> None:
    (guard,) = CONTRACT.spaces["tills"].guards["Stock"]
    shelf = Shelf(1)
    before = CONTRACT.collection("Stock").document.copy(shelf.bench.state)
    shelf.bench.do("on_hand", "decrement", 2)
    with pytest.raises(Refused, match="recount"):
        guard.check("s", "x", before, shelf.bench.state)
    guard.check("s", "x", before, before)
    view = CONTRACT.collection("Stock").view("s", "x", DocumentState())
    assert (view.store, view.sku, view.on_hand.value, view.exists) == ("s", "x", 0, False)
    with pytest.raises(InvalidInput, match="cannot be changed"):
        view.on_hand.increment()


def test_a_command_knows_its_documentation_and_schema() -> None:
    sell_contract = CONTRACT.command("sell")
    assert sell_contract.doc == "Take `qty` off the shelf."
    assert sell_contract.arguments_schema["properties"]["qty"]["exclusiveMinimum"] == 0
    assert (sell_contract.priority, CONTRACT.command("both").priority) == ("normal", "high")
