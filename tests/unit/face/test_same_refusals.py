"""The kit for an app's tests refuses what an agent refuses: one table of bad input, run by both, and the errors compared."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from driftlog import (
    App,
    BoundedCounter,
    Counter,
    Document,
    EdgeAgent,
    EdgeConfig,
    Refused,
    Register,
    Transaction,
    testing,
)
from driftlog_crdt import TooLarge
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute

app = App("shop")
retail = app.space("retail", partitions=2)
other = app.space("other", partitions=2)


@retail.collection(scope="store", id="sku", max_bytes=4096)
class Stock(Document):
    store: str
    sku: str
    label: Register[str] = ""
    on_hand: Counter
    seats: BoundedCounter


@other.collection(scope="store", id="id")
class Elsewhere(Document):
    store: str
    id: str
    count: Counter


@retail.command
def receive(tx: Transaction, store: str, sku: str, qty: int) -> int:
    stock = tx.edit(Stock, store, sku)
    stock.on_hand.increment(qty)
    if qty == 13:
        raise Refused("unlucky", "thirteen")
    return stock.on_hand.value


@retail.command
def number(tx: Transaction, key: int) -> None:
    tx.edit(Stock, "s1", key).on_hand.increment(1)  # type: ignore[arg-type]  # what an app does that no type checker sees


@retail.command(touches={Stock: ["label"]})
def label(tx: Transaction, store: str, sku: str, text: str) -> None:
    stock = tx.edit(Stock, store, sku)
    stock.label.set(text)
    if text == "and count":
        stock.on_hand.increment(1)


@retail.command
def wander(tx: Transaction, where: str) -> None:
    tx.edit(Stock, "s1", "tea").on_hand.increment(1)
    if where == "space":
        tx.edit(Elsewhere, "s1", "x").count.increment(1)
    tx.edit(Stock, "s2", "tea").on_hand.increment(1)


@retail.command
def many(tx: Transaction, count: int) -> None:
    for at in range(count):
        tx.edit(Stock, "s1", f"sku-{at % 3}").on_hand.increment(1)


@retail.command
def large(tx: Transaction, count: int) -> None:
    for at in range(count):
        tx.edit(Stock, "s1", f"sku-{at}").label.set("x" * 3500)


@retail.command
def sit(tx: Transaction, count: int) -> None:
    tx.edit(Stock, "s1", "tea").seats.decrement(count)


@retail.command
def caught(tx: Transaction) -> int:
    """Goes on after a change that was refused."""
    stock = tx.edit(Stock, "s1", "caught")
    stock.on_hand.increment(1)
    try:
        stock.label.set("x" * 9000)
    except TooLarge:
        stock.on_hand.increment(1)
    return stock.on_hand.value


KEPT: list[Stock] = []


@retail.command
def keep(tx: Transaction) -> None:
    KEPT.append(tx.edit(Stock, "s1", "tea"))


@retail.command
def use_kept(tx: Transaction) -> None:
    KEPT[-1].on_hand.increment(1)


@retail.command
def read_kept(tx: Transaction) -> int:
    return KEPT[-1].on_hand.value


class Call(NamedTuple):
    """One command, as it is asked."""

    name: str
    arguments: dict[str, Any] = {}  # noqa: RUF012  # never changed
    command_id: str = ""
    actor: str = ""


TEA = {"store": "s1", "sku": "tea"}
GOOD = Call("receive", {**TEA, "qty": 1}, "known")
BAD: dict[str, list[Call]] = {
    "no such command": [Call("steal")],
    "an argument of the wrong type": [Call("receive", {**TEA, "qty": "many"})],
    "an argument missing": [Call("receive", TEA)],
    "an argument too many": [Call("receive", {**TEA, "qty": 1, "colour": "red"})],
    "a rule says no": [Call("receive", {**TEA, "qty": 13})],
    "an id of no bytes": [Call("receive", {"store": "s1", "sku": "", "qty": 1})],
    "an id of 600 bytes": [Call("receive", {"store": "s1", "sku": "x" * 600, "qty": 1})],
    "an id of 600 bytes in 200 letters": [Call("receive", {"store": "s1", "sku": "€" * 200, "qty": 1})],
    "an id with a NUL": [Call("receive", {"store": "s1", "sku": "a\0b", "qty": 1})],
    "an id of half a surrogate pair": [Call("receive", {"store": "s1", "sku": "\ud800" * 200, "qty": 1})],
    "an id of half a surrogate pair, short": [Call("receive", {"store": "s1", "sku": "\ud800", "qty": 1})],
    "an id that is no text": [Call("number", {"key": 7})],
    "a scope of no bytes": [Call("receive", {"store": "", "sku": "tea", "qty": 1})],
    "a scope of 600 bytes": [Call("receive", {"store": "x" * 600, "sku": "tea", "qty": 1})],
    "501 changes": [Call("many", {"count": 501})],
    "more than a batch takes": [Call("large", {"count": 300})],
    "a document over its guard": [Call("label", {**TEA, "text": "x" * 5000})],
    "another scope": [Call("wander", {"where": "scope"})],
    "another space": [Call("wander", {"where": "space"})],
    "what the command does not declare": [Call("label", {**TEA, "text": "and count"})],
    "rights that are not there": [Call("sit", {"count": 1})],
    "a document kept and changed later": [Call("keep", {}, "k1"), Call("use_kept")],
    "a document kept and read later": [Call("keep", {}, "k1"), Call("read_kept")],
    "a command id for something else": [GOOD, Call("receive", {**TEA, "qty": 2}, "known")],
    "a command id for another command": [GOOD, Call("keep", {}, "known")],
    "a command id of 200 bytes": [Call("receive", {**TEA, "qty": 1}, "k" * 200)],
    "a command id with a NUL": [Call("receive", {**TEA, "qty": 1}, "k\0")],
    "an actor of 200 bytes": [Call("receive", {**TEA, "qty": 1}, actor="a" * 200)],
}
LAWFUL: dict[str, list[Call]] = {
    "the same again": [GOOD, GOOD],
    "the same, its arguments in another order": [GOOD, Call("receive", {"qty": 1, **TEA}, "known")],
    "500 changes": [Call("many", {"count": 500})],
    "an id of 512 bytes": [Call("receive", {"store": "s1", "sku": "x" * 512, "qty": 1})],
    "a refusal that the command survives": [Call("caught"), Call("caught")],
}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[EdgeAgent]:
    """A real one, without a network."""
    Identity.create("store-1").save(tmp_path / "identity.json")
    config = EdgeConfig(
        data_dir=tmp_path / "data", identity=tmp_path / "identity.json", scopes=["s1", "s2", "", "x" * 600]
    )
    ids = FixedIds()
    route = CloudRoute(Cloud(ids))
    route.cut()
    async with EdgeAgent(app, config, route=route, ids=ids) as running:
        yield running


def said(error: Exception) -> tuple[str, str]:
    """What a caller can tell an error by, but for the device's name and what depends on its length."""
    told = re.sub(r"a batch of \d+", "a batch of so many", str(error))
    return type(error).__name__, re.sub(r"store-1\.\w+|replica-\d+\.test", "the device", told)


async def by_agent(agent: EdgeAgent, calls: list[Call]) -> Any:
    for call in calls[:-1]:
        await agent.run_with(call.name, call.arguments, command_id=call.command_id, actor=call.actor)
    last = calls[-1]
    try:
        return (await agent.run_with(last.name, last.arguments, command_id=last.command_id, actor=last.actor)).result
    except Exception as error:  # noqa: BLE001  # whatever it is, the other must raise it too
        return said(error)


def by_kit(replica: testing.Replica, calls: list[Call]) -> Any:
    for call in calls[:-1]:
        replica.run(call.name, command_id=call.command_id, actor=call.actor, **call.arguments)
    last = calls[-1]
    before = replica.value(Stock, "s1", "tea")
    try:
        return replica.run(last.name, command_id=last.command_id, actor=last.actor, **last.arguments).result
    except Exception as error:  # noqa: BLE001  # as above
        assert replica.value(Stock, "s1", "tea") == before, "what is refused changes nothing"
        return said(error)


@pytest.mark.parametrize("calls", BAD.values(), ids=BAD.keys())
async def test_bad_input_is_refused_alike(agent: EdgeAgent, calls: list[Call]) -> None:
    refused = await by_agent(agent, calls)
    assert isinstance(refused, tuple), f"an agent takes it and answers {refused}"
    assert by_kit(testing.replica(app), calls) == refused


@pytest.mark.parametrize("calls", LAWFUL.values(), ids=LAWFUL.keys())
async def test_what_is_lawful_is_taken_alike(agent: EdgeAgent, calls: list[Call]) -> None:
    taken = await by_agent(agent, calls)
    assert not isinstance(taken, tuple)
    assert by_kit(testing.replica(app), calls) == taken
