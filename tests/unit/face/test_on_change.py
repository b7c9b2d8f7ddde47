"""What `on_change` takes, and what it refuses when the module is imported."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from driftlog import App, Counter, DeclarationError, Document, Emit, InvalidInput, Register, Transaction
from driftlog_schemas.contract import SpaceContract, Wanted


def declared(reaction: Any = None, **options: Any) -> SpaceContract:
    app = App("shop")
    retail = app.space("retail", partitions=1)

    @retail.collection(scope="store", id="sku")
    class Stock(Document):
        store: str
        sku: str
        on_hand: Counter
        price: Register[Decimal] = Decimal("0")

    @retail.command(name="take-in")
    def receive(tx: Transaction, store: str, sku: str, price: Decimal) -> None:
        tx.edit(Stock, store, sku).price.set(price)

    def mirror(before: Stock | None, after: Stock | None) -> Iterator[Emit]:
        yield Emit(receive, store="s2", sku="tea", price=Decimal("1.50"))
        yield Emit("take-in", store="s3", sku="tea", price=2)

    retail.on_change(Stock, **options)(reaction or mirror)
    return app.contract.spaces["retail"]


def run(space: SpaceContract) -> list[Wanted]:
    (reaction,) = space.reactions["Stock"]
    kind = space.collections["Stock"].document
    return list(reaction.run("s1", "tea", None, kind.new()))


def test_it_gives_commands_by_function_or_name_with_plain_arguments() -> None:
    assert run(declared()) == [
        Wanted("take-in", {"store": "s2", "sku": "tea", "price": "1.50"}),
        Wanted("take-in", {"store": "s3", "sku": "tea", "price": 2}),
    ]


def test_it_may_give_nothing() -> None:
    assert run(declared(name="one", reaction=lambda before, after: None)) == []


def test_it_sees_documents_and_none_where_there_is_no_document() -> None:
    seen: list[Any] = []
    run(declared(name="one", reaction=lambda before, after: seen.append((before, after.on_hand.value))))
    assert seen == [(None, 0)]


def test_its_name_may_stay_when_the_function_is_renamed() -> None:
    ((reaction,),) = declared(name="of-old").reactions.values()
    assert reaction.name == "of-old"


def test_what_does_not_take_two_documents_fails_at_import() -> None:
    with pytest.raises(DeclarationError, match="does not take two documents"):
        declared(lambda only: None, name="one")


def test_a_coroutine_cannot_react() -> None:
    async def later(before: Any, after: Any) -> None: ...

    with pytest.raises(DeclarationError, match="not a plain function"):
        declared(later)


def test_two_of_one_name_cannot_be_told_apart() -> None:
    app = App("shop")
    retail = app.space("retail")

    @retail.collection(scope="store", id="sku")
    class Stock(Document):
        store: str
        sku: str
        on_hand: Counter

    retail.on_change(Stock, name="one")(lambda before, after: None)
    with pytest.raises(DeclarationError, match="one: is declared twice as a reaction"):
        retail.on_change(Stock, name="one")(lambda before, after: None)
    with pytest.raises(DeclarationError, match="not a collection of space 'other'"):
        app.space("other").on_change(Stock)


@pytest.mark.parametrize(
    ("given", "told"), [("receive", "give Emit"), (Emit("nothing"), "is no command"), (Emit(print), "is no command")]
)
def test_what_it_gives_is_told_if_it_is_no_command(given: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        run(declared(name="one", reaction=lambda before, after: [given]))
