"""`driftlog.testing.simulate`: worlds of an app from a seed, and what they find in apps that are wrong."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, PositiveInt

from driftlog import (
    App,
    BoundedCounter,
    Counter,
    Custom,
    Document,
    Refused,
    Register,
    Space,
    Transaction,
    field,
    testing,
)
from driftlog.cli.extras import MODULES
from driftlog_schemas.contract import Undeclared
from driftlog_schemas.identity import DocumentId

TEA = DocumentId("Stock", "store-1", "sku-1")


def shop(
    *,
    guarded: bool = True,
    clearing: bool = False,
    merge: Callable[[int, int, int], int] = lambda base, left, right: max(left, right),
) -> App:
    """Goods that come and go, a label that two may write at once, and a number that the app merges itself."""
    app = App("shop")
    retail = app.space("retail", partitions=4)

    @retail.collection(scope="store", id="sku")
    class Stock(Document):
        store: str
        sku: str
        label: Register[str] = field(default="", on_conflict="record")
        best: Custom[int] = field(default=0, merge=merge)
        on_hand: Counter

    @retail.command
    def receive(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
        stock = tx.edit(Stock, store, sku)
        stock.on_hand.increment(qty)
        return stock.on_hand.value

    @retail.command
    def sell(tx: Transaction, store: str, sku: str, qty: PositiveInt) -> int:
        stock = tx.edit(Stock, store, sku)
        if stock.on_hand.value < qty:
            raise Refused("out_of_stock", f"{stock.on_hand.value} left")
        stock.on_hand.decrement(qty)
        return stock.on_hand.value

    @retail.command
    def rate(tx: Transaction, store: str, sku: str, stars: Annotated[int, Field(ge=1, le=5)]) -> None:
        stock = tx.edit(Stock, store, sku)
        stock.best.set(stars)
        stock.label.set(f"{stars} stars")

    if clearing:

        @retail.command
        def clear_out(tx: Transaction, store: str, sku: str) -> None:
            tx.edit(Stock, store, sku).delete()

    if guarded:

        @retail.guard(Stock)
        def never_negative(before: Stock, after: Stock) -> None:
            if after.on_hand.value < 0:
                raise Refused("recount", f"{before.on_hand.value} were there")

    return app


def never_negative(document: Any) -> None:
    assert document.on_hand.value >= 0, f"{document.on_hand.value} on hand"


def test_a_world_of_a_sound_app_ends_well_whatever_the_seed() -> None:
    app, told = shop(), []
    for seed in range(15):
        result = testing.simulate(app, seed=seed, invariant=never_negative)
        result.check()
        assert len({str(documents) for documents in result.documents.values()}) == 1
        told += [rejected.code for rejected in result.rejected if rejected.where == "cloud"]
        assert result.documents.keys() == {"cloud", "replica-1", "replica-2", "replica-3"}
    assert "recount" in told, "in no world two have sold the last one"


def test_what_is_deleted_meanwhile_ends_well_too() -> None:
    results = [testing.simulate(shop(clearing=True), seed=seed) for seed in range(10)]
    for result in results:
        result.check()
    assert any("clear_out(" in event.what for result in results for event in result.trace)


def test_the_same_seed_is_the_same_world() -> None:
    first, again = (testing.simulate(shop(), seed=7) for _ in range(2))
    assert first == again
    assert first.trace != testing.simulate(shop(), seed=8).trace


@pytest.mark.slow
def test_the_same_seed_is_the_same_world_in_another_process() -> None:
    script = "from tests.unit.face.test_simulate import *; print(*simulated(7), sep='\\n')"
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].count("\n") > 50


def simulated(seed: int) -> list[str]:
    return [str(event) for event in testing.simulate(shop(), seed=seed).trace]


def test_what_no_guard_forbids_breaks_the_invariant_and_the_story_tells_how() -> None:
    app = shop(guarded=False)
    results = (testing.simulate(app, seed=seed, invariant=never_negative) for seed in range(30))
    broken = next(result for result in results if result.problems)
    with pytest.raises(AssertionError) as raised:
        broken.check()
    story = str(raised.value)
    assert f"seed={broken.seed}" in story
    assert "never_negative of Stock(" in story
    assert "on hand" in story
    assert "sell(store=" in story
    testing.simulate(app, seed=broken.seed).check()


def test_the_story_ends_where_it_first_went_wrong() -> None:
    """Ever after it is wrong again, and the last events tell nothing of how it came to that."""
    result = testing.simulate(shop(), seed=1, invariant=[lambda document: document.on_hand.value < 3], steps=300)
    first, *others = result.problems
    assert others and first.events < len(result.trace)
    told = result.story().splitlines()
    assert told[-1] == str(result.trace[first.events - 1])
    assert any(("receive(" in line) for line in told)


def test_an_invariant_may_answer_false() -> None:
    result = testing.simulate(shop(), seed=1, invariant=[lambda document: document.on_hand.value > 10**6])
    assert "does not hold" in result.story()


def test_a_merge_that_is_no_function_makes_replicas_differ() -> None:
    answers = itertools.count()
    app = shop(merge=lambda base, left, right: next(answers))
    results = (testing.simulate(app, seed=seed) for seed in range(20))
    broken = next(result for result in results if result.problems)
    with pytest.raises(AssertionError, match=rf"(?s)seed={broken.seed}.*for replica-\d and .* for the cloud.*rate\("):
        broken.check()


def test_who_may_not_send_a_command_is_told_so_by_the_cloud() -> None:
    result = testing.simulate(shop(), seed=3, replicas={"till": ["sell", "receive"], "office": ["*"]})
    result.check()
    forbidden = [(r.replica, r.command) for r in result.rejected if r.code == "forbidden"]
    assert {replica for replica, _ in forbidden} == {"till"}
    assert {command for _, command in forbidden} <= {"rate", "clear_out"}


def test_conflicts_are_told() -> None:
    results = (testing.simulate(shop(), seed=seed) for seed in range(10))
    assert any(conflict.field == "label" for result in results for conflict in result.conflicts)


def test_an_app_may_draw_its_commands() -> None:
    def receive(random: Random) -> tuple[str, Mapping[str, Any]]:
        return "receive", {"store": "store-1", "sku": "sku-1", "qty": random.randint(1, 3)}

    def sell(random: Random) -> tuple[str, Mapping[str, Any]]:
        return "sell", {"store": "store-1", "sku": "sku-1", "qty": 1}

    result = testing.simulate(shop(), seed=2, steps=400, commands=[receive, sell])
    result.check()
    assert set(result.documents["cloud"]) == {TEA}
    one = testing.simulate(shop(), seed=2, replicas=1, commands=receive)
    received = [event for event in one.trace if "receive(" in event.what]
    assert f"-> {one.documents['cloud'][TEA]['on_hand']}" in received[-1].what, "who is alone sees what there is"


def test_rights_are_never_used_twice() -> None:
    app = App("hall")
    space = app.space("hall", partitions=1)

    @space.collection(scope="house", id="night")
    class Show(Document):
        house: str
        night: str
        seats: BoundedCounter

    @space.command
    def offer(tx: Transaction, house: str, night: str, count: PositiveInt) -> None:
        tx.edit(Show, house, night).seats.increment(count)

    @space.command
    def take(tx: Transaction, house: str, night: str) -> int:
        show = tx.edit(Show, house, night)
        show.seats.decrement(1)
        return show.seats.value

    for seed in range(10):
        testing.simulate(app, seed, invariant=lambda show: show.seats.value >= 0).check()


def test_a_defect_of_a_command_comes_out_with_its_seed() -> None:
    app = shop()

    def broken(random: Random) -> tuple[str, Mapping[str, Any]]:
        raise ZeroDivisionError("a defect of the test")

    with pytest.raises(ZeroDivisionError) as raised:
        testing.simulate(app, seed=5, commands=broken)
    assert "simulate(seed=5)" in raised.value.__notes__[0]


def test_a_guard_that_fails_is_a_rejection() -> None:
    app = App("shop")
    space = app.space("retail", partitions=1)
    counted(space)
    result = testing.simulate(app, seed=1)
    result.check()
    assert {rejected.code for rejected in result.rejected} == {"guard_failed"}


def counted(space: Space) -> None:
    @space.collection(scope="store", id="sku")
    class Counted(Document):
        store: str
        sku: str
        count: Counter

    @space.command
    def count(tx: Transaction, store: str, sku: str) -> None:
        tx.edit(Counted, store, sku).count.increment(1)

    @space.guard(Counted)
    def divides(before: Counted, after: Counted) -> None:
        raise ZeroDivisionError("a defect of the app")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    sku: str
    qty: PositiveInt


def drawing(**arguments: Any) -> App:
    """An app with one command of these arguments, which it never reads."""
    app = App("drawn")
    space = app.space("drawn", partitions=1)
    counted(space)

    def take(tx: Transaction, **given: Any) -> None: ...

    names = ", ".join(f"{name}: {name}_type" for name in arguments)
    scope: dict[str, Any] = {f"{name}_type": kind for name, kind in arguments.items()} | {"Transaction": Transaction}
    exec(f"def take(tx: Transaction, {names}) -> None: ...", scope)
    space.command(scope["take"])
    return app


@pytest.mark.parametrize(
    "kind",
    [
        int, float, bool, str, Decimal, date, datetime, timedelta, UUID, Colour, Line, list[Line], dict[str, int], int | None,
        Literal["a", "b"], tuple[int, str], Annotated[str, Field(min_length=9)], Annotated[str, Field(max_length=2)],
        Annotated[int, Field(gt=3, lt=6)], Annotated[int, Field(lt=-3)], Annotated[float, Field(gt=0, lt=1)],
        Annotated[list[int], Field(min_length=2, max_length=2)], Annotated[Decimal, Field(gt=0)],
    ],
    ids=str,
)  # fmt: skip
def test_arguments_are_drawn_from_the_schema(kind: Any) -> None:
    result = testing.simulate(drawing(value=kind), seed=1)
    assert any(event.what.startswith("take(value=") for event in result.trace)


def test_what_cannot_be_drawn_is_named() -> None:
    app = drawing(code=Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{9}$")])
    with pytest.raises(ValueError, match=r"no arguments for 'take' .* draw them in commands="):
        testing.simulate(app)
    with pytest.raises(ValueError, match="declares no command"):
        testing.simulate(App("nothing"))


def test_what_no_world_can_be_made_of_is_refused() -> None:
    with pytest.raises(ValueError, match="replicas: there is none"):
        testing.simulate(shop(), replicas=0)
    with pytest.raises(ValueError, match=r"'till' may send sel, which 'shop' does not declare; there are .*sell"):
        testing.simulate(shop(), replicas={"till": ["sel"], "office": ["*", "_write", "_publish"]})
    with pytest.raises(ValueError, match="give a list"):
        testing.simulate(shop(), replicas={"till": "sell"})
    with pytest.raises(ValueError, match="'till 1' cannot name a device"):
        testing.simulate(shop(), replicas={"till 1": ["*"]})
    with pytest.raises(ValueError, match="commands: there is none"):
        testing.simulate(shop(), commands=[])
    with pytest.raises(Undeclared, match="'steal' is not declared"):
        testing.simulate(shop(), commands=lambda random: ("steal", {}))


NO_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from tests.unit.face import test_simulate
test_simulate.simulated(1)
"""


@pytest.mark.slow
def test_no_extra_is_needed() -> None:
    """Although the merge is the workers' own."""
    missing = {module for modules in MODULES.values() for module in modules}
    subprocess.run([sys.executable, "-c", NO_EXTRAS.format(missing=missing)], check=True, timeout=60)
