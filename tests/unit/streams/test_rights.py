"""A right is a right to effects: what a command is called gives nothing that it does not declare."""

from __future__ import annotations

import dataclasses

import pytest

from driftlog import App, Counter, Document, Register, Transaction
from driftlog.errors import DeclarationError
from driftlog_crdt import DELETE, DOCUMENT
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command
from tests.unit.streams.cloud import Cloud, change, command, count, device, key, ledger, stock

SELL = {"Stock": frozenset({"on_hand"})}


@pytest.fixture
def shop() -> Cloud:
    """Where `sell` declares what it touches, and `anything` does not."""
    cloud = Cloud()
    commands = dict(cloud.rules.space.commands)
    commands["sell"] = declared("sell", SELL)
    commands["anything"] = declared("anything", None)
    cloud.rules.commands = commands
    return cloud


def declared(name: str, touches: dict[str, frozenset[str]] | None):  # type: ignore[no-untyped-def]  # a contract
    app = App("other")
    space = app.space("retail", partitions=1)

    @space.command(name=name)
    def run(tx: Transaction) -> None: ...

    return dataclasses.replace(space.contract.commands[name], touches=touches)


def permit(cloud: Cloud, *permissions: str) -> None:
    cloud.devices.lines["store-1"] = device(cloud.identities["store-1"], permissions=permissions)


@pytest.mark.parametrize(
    ("sent", "verdict"),
    [
        (command("c", count(stock(), 1, 1), declared_as="sell"), "accepted"),
        (command("c", change(stock(), "price", "set", 1, 1), declared_as="sell"), "rejected forbidden"),
        (
            command("c", change(stock(), DOCUMENT, DELETE, None, 1, context={}), declared_as="sell"),
            "rejected forbidden",
        ),
        (command("c", count(ledger(), 1, 1), declared_as="sell"), "rejected forbidden"),
        (command("c", count(stock(), 1, 1)), "rejected forbidden"),
    ],
)
def test_a_device_that_may_sell_may_only_sell(shop: Cloud, sent: Command, verdict: str) -> None:
    permit(shop, "sell")
    shop.merge(sent)
    assert shop.verdicts() == {"c": verdict}


def test_a_right_to_a_command_that_declares_nothing_is_a_right_to_its_space(shop: Cloud) -> None:
    permit(shop, "anything")
    shop.merge(command("c", change(stock(), "price", "set", 1, 1), count(ledger(), 1, 1), declared_as="anything"))
    assert shop.verdicts() == {"c": "accepted"}


def test_where_there_is_no_right_nothing_is_seen_and_nothing_waits(shop: Cloud) -> None:
    permit(shop, "sell")
    shop.merge(command("made", count(ledger(), 1, 1), declared_as="sell"))
    shop.merge(command("gap", count(ledger("other"), 1, 7), declared_as="sell"))
    assert shop.verdicts() == {"made": "rejected forbidden", "gap": "rejected forbidden"}
    assert not shop.store and not shop.merger.parking and not shop.parked()


def test_in_a_scope_that_is_not_its_own_a_device_makes_nothing_and_nothing_waits(shop: Cloud) -> None:
    shop.devices.lines["store-1"] = device(shop.identities["store-1"], scopes=("s2",))
    shop.merge(command("made", count(stock(), 1, 1)))
    shop.merge(command("gap", count(stock("coffee"), 1, 7)))
    shop.merge(command("own", count(DocumentId("Stock", "s2", "tea"), 1, 1)))
    assert shop.verdicts() == {"made": "rejected forbidden", "gap": "rejected forbidden", "own": "accepted"}
    assert list(shop.store) == [key(DocumentId("Stock", "s2", "tea"))]
    assert not shop.merger.parking and not shop.parked()


def test_where_there_is_some_right_a_refusal_is_seen_so_that_what_follows_goes_on(shop: Cloud) -> None:
    permit(shop, "sell")
    shop.merge(command("price", change(stock(), "price", "set", 1, 1), declared_as="sell"))
    shop.merge(command("sale", count(stock(), 2, 2), declared_as="sell"))
    assert shop.verdicts() == {"price": "rejected forbidden", "sale": "accepted"}
    assert shop.value(stock(), "on_hand") == 2


def test_what_was_not_seen_is_not_seen_by_a_late_copy_either(shop: Cloud) -> None:
    """Whether its row still knew the batch hangs on how far a worker had committed: what is merged may not."""
    permit(shop, "anything")
    batch = shop.batch(command("made", count(stock(), 1, 1), declared_as="sell"))
    permit(shop, "receive")
    shop.devices.lines["store-1"] = device(shop.identities["store-1"], scopes=("s2",))
    shop.merge_value(batch)
    shop.fly()
    assert shop.verdicts() == {"made": "rejected forbidden"}

    permit(shop, "anything", "sell")
    shop.merge_value(batch)
    shop.fly()
    assert shop.verdicts() == {"made": "rejected forbidden"}
    assert not shop.store
    shop.merge(command("behind", count(stock(), 1, 2), declared_as="sell"))
    assert shop.verdicts()["behind"] == "parked gap"


def test_read_again_after_a_crash_a_refusal_is_seen_as_it_was(shop: Cloud) -> None:
    permit(shop, "sell")
    batch = shop.batch(command("price", change(stock(), "price", "set", 1, 1), declared_as="sell"))
    shop.merge_value(batch, offset=0)
    shop.rows.update(shop.seal().partitions[0].rows)  # the row is out, and the states are not
    shop.new_life()
    shop.merge_value(batch, offset=0)
    shop.fly()
    assert shop.state(stock()).vector == {"store-1.1": 1}


# -- how it is declared


def sell(tx: Transaction) -> None: ...


def declare():  # type: ignore[no-untyped-def]  # a space and a document of it
    space = App("shop").space("retail", partitions=1)

    @space.collection(scope="store", id="sku")
    class Goods(Document):
        store: str
        sku: str
        on_hand: Counter
        price: Register[int] = 0

    return space, Goods


@pytest.mark.parametrize("places", [["prise"], "on_hand", ["on_hand", "remove"]])
def test_what_cannot_be_touched_is_found_when_it_isdeclared(places: list[str]) -> None:
    space, goods = declare()
    with pytest.raises(DeclarationError, match="touches"):
        space.command(touches={goods: places})(sell)


def test_a_collection_of_another_space_cannot_be_touched() -> None:
    space, _ = declare()
    _, other = declare()
    with pytest.raises(DeclarationError, match="not a collection of space"):
        space.command(touches={type("Elsewhere", (), {}): ["x"]})(sell)
    assert other is not None


def test_a_size_guard_that_no_record_can_hold_is_refused_at_import() -> None:
    space = App("shop").space("retail", partitions=1)
    with pytest.raises(DeclarationError, match="record"):

        @space.collection(scope="store", id="sku", max_bytes=900_000)
        class Goods(Document):
            store: str
            sku: str
