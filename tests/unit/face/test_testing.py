"""The kit for an app's own tests: commands, guards and meetings without a server."""

from __future__ import annotations

import doctest
from collections.abc import Iterator

import pytest

from driftlog import App, Counter, Document, InvalidInput, Refused, Register, Transaction, field, testing
from driftlog_crdt import TooLarge

app = App("shop")
retail = app.space("retail", partitions=2)
other = app.space("other", partitions=2)


@retail.collection(scope="store", id="sku", max_bytes=2048)
class Stock(Document):
    store: str
    sku: str
    label: Register[str] = field(default="")
    on_hand: Counter


@other.collection(scope="store", id="id")
class Elsewhere(Document):
    store: str
    id: str
    count: Counter


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: int) -> int:
    stock = tx.edit(Stock, store, sku)
    stock.on_hand.increment(qty)
    return stock.on_hand.value


@retail.command
def sell(tx: Transaction, store: str, sku: str, qty: int) -> int:
    stock = tx.edit(Stock, store, sku)
    if stock.on_hand.value < qty:
        raise Refused("out_of_stock")
    stock.on_hand.decrement(qty)
    return stock.on_hand.value


@retail.command
def name(tx: Transaction, store: str, sku: str, label: str) -> None:
    tx.edit(Stock, store, sku).on_hand.increment(1)
    tx.edit(Stock, store, sku).label.set(label)


@retail.command
def wander(tx: Transaction, store: str, where: str) -> None:
    tx.edit(Stock, store, "tea").on_hand.increment(1)
    if where == "space":
        tx.edit(Elsewhere, store, "x").count.increment(1)
    tx.edit(Stock, "s2", "tea").on_hand.increment(1)


@retail.command
def sign(tx: Transaction, store: str) -> list[str]:
    tx.edit(Stock, store, "aaa").on_hand.increment(1)
    return [tx.actor, tx.command_id, *(stock.sku for stock in tx.list(Stock, store))]


@retail.guard(Stock)
def never_negative(before: Stock, after: Stock) -> None:
    if after.on_hand.value < 0:
        raise Refused("recount", f"{before.on_hand.value} were there")


TEA = {"store": "s1", "sku": "tea"}


@pytest.fixture
def pair() -> Iterator[tuple[testing.Replica, testing.Replica]]:
    yield testing.replica(app), testing.replica(app)


def test_a_command_runs_and_is_seen(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, _ = pair
    assert till.run("receive", **TEA, qty=5).result == 5
    assert till.get(Stock, "s1", "tea").on_hand.value == 5
    assert till.value(Stock, "s1", "tea")["on_hand"] == 5
    assert not till.get(Stock, "s1", "coffee").exists


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("sell", {**TEA, "qty": 9}, Refused),
        ("sell", {**TEA, "qty": "many"}, InvalidInput),
        ("name", {**TEA, "label": "x" * 4000}, TooLarge),
        ("wander", {"store": "s1", "where": "scope"}, InvalidInput),
        ("wander", {"store": "s1", "where": "space"}, InvalidInput),
    ],
)
def test_what_is_refused_changes_nothing(
    pair: tuple[testing.Replica, testing.Replica], command: str, arguments: dict[str, object], error: type[Exception]
) -> None:
    till, _ = pair
    till.run("receive", **TEA, qty=5)
    with pytest.raises(error):
        till.run(command, **arguments)
    assert till.value(Stock, "s1", "tea")["on_hand"] == 5
    assert till.run("sell", **TEA, qty=5).result == 0


def test_the_same_id_has_one_effect(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, _ = pair
    assert till.run("receive", command_id="c1", **TEA, qty=5) is till.run("receive", command_id="c1", **TEA, qty=5)
    assert till.value(Stock, "s1", "tea")["on_hand"] == 5


def test_two_that_worked_apart_are_the_same_after_they_met(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, office = pair
    till.run("receive", **TEA, qty=5)
    testing.exchange(till, office)
    till.run("sell", **TEA, qty=2)
    office.run("receive", **TEA, qty=10)
    till.run("name", **TEA, label="green")
    office.run("name", **TEA, label="black")
    testing.exchange(office, till)
    testing.exchange(office, till)
    assert till.value(Stock, "s1", "tea") == office.value(Stock, "s1", "tea")
    assert till.value(Stock, "s1", "tea") == {"store": "s1", "sku": "tea", "on_hand": 15, "label": "black"}


def test_what_builds_on_what_is_missing_is_told(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, office = pair
    till.run("receive", **TEA, qty=5)
    second = till.run("sell", **TEA, qty=1)
    with pytest.raises(ValueError, match="exchange the rest first"):
        office.take(second)


def test_a_guard_is_asked_on_what_the_cloud_has(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, office = pair
    cloud = testing.replica(app)
    till.run("receive", **TEA, qty=1)
    testing.exchange(till, office)
    till.run("sell", **TEA, qty=1)
    sold = office.run("sell", **TEA, qty=1)
    testing.exchange(till, cloud)
    with pytest.raises(Refused, match="recount: 0 were there"):
        testing.guard(cloud, sold)
    assert cloud.value(Stock, "s1", "tea")["on_hand"] == 0
    testing.guard(cloud, cloud.run("receive", **TEA, qty=1))


def test_a_command_knows_for_whom_and_what_there_is(pair: tuple[testing.Replica, testing.Replica]) -> None:
    till, _ = pair
    till.run("receive", **TEA, qty=1)
    till.run("receive", store="s2", sku="tea", qty=1)
    assert till.run("sign", command_id="c9", actor="ann", store="s1").result == ["ann", "c9", "aaa", "tea"]


def test_the_module_shows_how() -> None:
    assert "testing.exchange(till, cloud)" in (testing.__doc__ or "")
    assert doctest.testmod(testing).failed == 0


def test_of_what_is_wrong_in_arguments_each_is_named_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        testing.replica(app).run("receive", store="s1", sku="tea")
    assert str(refused.value) == "qty: Field required"
