"""An app's author tests a reaction without a server: on one command in memory, and in whole worlds from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from random import Random
from typing import Any

import pytest

from driftlog import App, Counter, Document, Emit, Refused, Register, Transaction, testing
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.emitting import TooDeep
from tests.few import few

STORES = ("s1", "s2", "s3")
ROOM = 50


def shop(*, broken: bool = False) -> App:
    """Goods that go from store to store: what was sent arrives by a reaction, and an arrival is counted by another one."""
    app = App("transfers")
    goods = app.space("goods", partitions=4)

    @goods.collection(scope="store", id="sku")
    class Shelf(Document):
        store: str
        sku: str
        on_hand: Counter
        arrived: Counter

    @goods.collection(scope="store", id="number")
    class Transfer(Document):
        store: str
        number: str
        to: Register[str] = ""
        qty: Register[int] = 0

    @goods.collection(scope="store", id="name")
    class Total(Document):
        store: str
        name: str
        arrivals: Counter

    @goods.command
    def stock_up(tx: Transaction, store: str, qty: int) -> None:
        tx.edit(Shelf, store, "tea").on_hand.increment(qty)

    @goods.command
    def send(tx: Transaction, store: str, number: str, to: str, qty: int) -> None:
        tx.edit(Shelf, store, "tea").on_hand.decrement(qty)
        transfer = tx.edit(Transfer, store, number)
        if transfer.to.value:
            raise Refused("sent", "it is on its way")
        transfer.to.set(to)
        transfer.qty.set(qty)

    @goods.command
    def arrive(tx: Transaction, store: str, qty: int) -> None:
        shelf = tx.edit(Shelf, store, "tea")
        shelf.on_hand.increment(qty)
        shelf.arrived.increment(1)

    @goods.command
    def count(tx: Transaction) -> None:
        tx.edit(Total, "all", "arrivals").arrivals.increment(1)

    @goods.command
    def echo(tx: Transaction, store: str, number: str, qty: int) -> None:
        tx.edit(Transfer, store, number).qty.set(qty)

    @goods.guard(Shelf)
    def there_is_room(before: Shelf, after: Shelf) -> None:
        if after.on_hand.value > ROOM and after.on_hand.value > before.on_hand.value:
            raise Refused("full", "there is no room")

    @goods.on_change(Transfer)
    def goods_arrive(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
        if broken:
            raise ZeroDivisionError("a defect")
        if before is None and after is not None:
            yield Emit(arrive, store=after.to.value, qty=after.qty.value)

    @goods.on_change(Shelf)
    def arrivals_are_counted(before: Shelf | None, after: Shelf | None) -> Iterator[Emit]:
        if after is not None and after.arrived.value > (before.arrived.value if before else 0):
            yield Emit(count)

    @goods.on_change(Transfer)
    def loops(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
        if after is not None and after.number == "loop":
            yield Emit(echo, store=after.store, number="loop", qty=after.qty.value + 1)

    return app


def shelf(replica: testing.Replica, store: str) -> tuple[int, int]:
    """How much there is, and how often something arrived."""
    collection = replica._contract.collection("Shelf")
    state = replica._states.get(DocumentId("Shelf", store, "tea")) or collection.document.new()
    held = collection.present(store, "tea", state)
    return int(str(held["on_hand"])), int(str(held["arrived"]))


# -- one command


def test_what_a_change_calls_for_happens_once_and_reaches_others() -> None:
    app = shop()
    till, cloud, office = (testing.replica(app) for _ in range(3))
    sent = till.run("send", store="s1", number="1", to="s2", qty=5)
    first, second = testing.react(cloud, sent)
    assert (first.reaction, first.command, first.arguments) == ("goods_arrive", "arrive", {"store": "s2", "qty": 5})
    assert (second.reaction, second.command) == ("arrivals_are_counted", "count")
    assert testing.react(cloud, sent) == [], "it comes twice"
    testing.exchange(till, cloud)
    testing.exchange(cloud, office)
    for replica in (till, cloud, office):
        assert (shelf(replica, "s1"), shelf(replica, "s2")) == ((-5, 0), (5, 1))


def test_what_a_called_command_does_has_the_same_id_each_time() -> None:
    """As in production: whichever worker meets the change, and however often."""
    app = shop()
    till = testing.replica(app, "till.1")
    sent = till.run("send", store="s1", number="1", to="s2", qty=5)
    names = [
        [c.done and c.done.command_id for c in testing.react(testing.replica(app, f"c.{n}"), sent)] for n in (1, 1)
    ]
    assert names[0] == names[1] and all(str(name).startswith("reaction-") for name in names[0])


def test_a_command_that_is_refused_is_told_and_changes_nothing() -> None:
    app = shop()
    till, cloud = testing.replica(app), testing.replica(app)
    (called,) = testing.react(cloud, till.run("send", store="s1", number="1", to="s2", qty=ROOM + 1))
    assert called.done is None
    assert isinstance(called.refused, Refused) and called.refused.code == "full"
    assert (shelf(cloud, "s1"), shelf(cloud, "s2")) == ((-ROOM - 1, 0), (0, 0))
    refused = till.run("stock_up", store="s3", qty=ROOM + 1)
    with pytest.raises(Refused, match="full"):
        testing.react(cloud, refused)
    assert shelf(cloud, "s3") == (0, 0)


def test_what_the_cloud_has_merged_without_reacting_is_no_test() -> None:
    app = shop()
    till, cloud = testing.replica(app), testing.replica(app)
    sent = till.run("send", store="s1", number="1", to="s2", qty=5)
    testing.exchange(till, cloud)
    with pytest.raises(ValueError, match="before that"):
        testing.react(cloud, sent)


def test_a_loop_and_a_defect_of_a_reaction_come_out() -> None:
    till = testing.replica(shop())
    with pytest.raises(TooDeep):
        testing.react(testing.replica(shop()), till.run("send", store="s1", number="loop", to="s2", qty=1))
    app = shop(broken=True)
    with pytest.raises(ZeroDivisionError):
        testing.react(testing.replica(app), testing.replica(app).run("send", store="s1", number="1", to="s2", qty=1))


# -- worlds


def draw(random: Random) -> tuple[str, Mapping[str, Any]]:
    store, to = random.sample(STORES, 2)
    if random.random() < 0.3:
        return "stock_up", {"store": store, "qty": random.randint(1, 5)}
    return "send", {"store": store, "number": str(random.randrange(10**9)), "to": to, "qty": random.randint(1, 30)}


@cache
def lived(seed: int) -> testing.Result:
    return testing.simulate(shop(), seed=seed, commands=draw, steps=150)


@pytest.mark.parametrize("seed", few(range(5), 2))
def test_in_every_world_each_transfer_arrives_once(seed: int) -> None:
    result = lived(seed)
    result.check()
    documents = result.documents["cloud"]
    sent = [d for name, d in documents.items() if name.collection == "Transfer"]
    failed = [one for one in result.rejected if one.replica.startswith("reaction:")]
    assert {(one.command, one.code) for one in failed} <= {("arrive", "reaction_refused")}
    assert all(one.reason.startswith("goods_arrive called for arrive: full") for one in failed)
    for store in STORES:
        here = documents.get(DocumentId("Shelf", store, "tea"), {"on_hand": 0, "arrived": 0})
        arrived = [d["qty"] for d in sent if d["to"] == store]
        lost = [one.arguments["qty"] for one in failed if one.arguments["store"] == store]
        assert here["arrived"] == len(arrived) - len(lost)
    total = documents.get(DocumentId("Total", "all", "arrivals"), {"arrivals": 0})["arrivals"]
    assert total == len(sent) - len(failed)


def test_worlds_have_transfers_and_refused_arrivals() -> None:
    """Else the law above holds of nothing."""
    results = [lived(seed) for seed in range(5)]
    assert sum(sum(d.collection == "Transfer" for d in r.documents["cloud"]) for r in results) > 60
    assert any(one.replica == "reaction:goods_arrive" for r in results for one in r.rejected)


def test_a_reaction_that_fails_is_a_problem_of_the_world() -> None:
    result = testing.simulate(shop(broken=True), seed=1, commands=draw, steps=60)
    with pytest.raises(AssertionError, match=r"reaction_failed reaction goods_arrive: ZeroDivisionError"):
        result.check()
