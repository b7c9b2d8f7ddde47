"""A declaration that cannot work fails at import, and names the class, the field and the remedy."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, cast

import pytest

from driftlog import App, Counter, DeclarationError, Document, Ranked, Register, Transaction, field
from driftlog_crdt import Ranked as RankedType
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.state_codec import state_schema

HEAD = """from __future__ import annotations
from decimal import Decimal
from typing import Literal
from driftlog import *
app = App("a")
space = app.space("s", partitions=2)

@space.collection(scope="place", id="key"{options})
class Doc(Document):
    place: str
    key: str
    {line}
"""

LINES = [
    ("x: int", "Doc.x: int is not a field type; use one of Counter"),
    ("x: Register", "Doc.x: Register needs a type in brackets; write Register[str]"),
    ("x: Register[object()]", "Doc"),
    ("x: Register[Nowhere]", "an annotation cannot be read"),
    ("x: Counter[int]", "an annotation cannot be read"),
    ("x: Counter = 5", "Doc.x: a Counter has no default"),
    ('x: Register[int] = "five"', "Doc.x: the default 'five' is not of its type"),
    ("x: Register[dict]", "Doc.x: has no default; give one, or allow None"),
    ('x: Register[str] = field(on_conflict="shout")', "Doc.x: on_conflict='shout' is not a policy"),
    ('x: Register[str] = field(default="", deadline="48h")', "Doc.x: has a deadline, but nobody is asked"),
    ('x: MultiValue[str] = field(on_conflict="review", deadline="48h")', "Doc.x: has a deadline, but all its values"),
    ('x: Register[str] = field(default="", on_conflict="review", deadline="soon")', "Doc.x: deadline='soon' is not a"),
    ('x: Counter = field(on_conflict="review")', "Doc.x: has no conflicts"),
    ("x: Counter = field(lower=0)", "Doc.x: a Counter has no lower"),
    ("x: BoundedCounter = field(lower=0, initial=5)", "Doc.x: initial 5 leaves rights"),
    ("x: BoundedCounter = field(lower=0.5)", "Doc.x: lower=0.5 is of the wrong type"),
    ("x: BoundedCounter = field(lower=None, upper=None)", "Doc.x: a bounded counter needs a lower or an upper bound"),
    ("x: Max[str]", "Doc.x: holds no numbers"),
    ("x: Ranked[str]", "Doc.x: has no order"),
    ('x: Ranked[str] = field(order=["a", "a"])', "Doc.x: a value stands twice"),
    ('x: Ranked[Literal["a", "b"]] = "c"', "Doc.x: the default 'c'"),
    ('x: Flag = field(wins="maybe")', "Doc.x: a flag is won by"),
    ("x: Custom[int]", "Doc.x: has no merge"),
    ('x: Counter = field(masked="secret")', "Doc.x: masked='secret' is not known"),
    ('x: Counter = field(masked="last4")', "Doc.x: is no text"),
    ("x: Counter\n    key: str = field(masked=True)", "Doc.key: cannot be masked: it stands in addresses"),
    ("x: Counter\n    place: str = field(masked=True)", "Doc.place: cannot be masked"),
    ("x: AddWinsSet[list[int]]", "Doc.x: a set holds texts"),
    ("x: Map[Text]", "Doc.x: a map cannot hold a text"),
    ("x: Map[str]", "Doc.x[...]: str is not a field type"),
    ("_x: Counter", "Doc._x: begins with an underscore"),
    ("pass", "Doc: declares no field that could change"),
]


@pytest.mark.parametrize(("line", "message"), LINES)
def test_a_field_that_cannot_work(line: str, message: str) -> None:
    _assert_refused(HEAD.format(line=line, options=""), message)


OPTIONS = [
    (', on_delete="perhaps"', "Doc: on_delete='perhaps' is not known; choose delete-wins or update-wins"),
    (', unit="table"', "Doc: unit='table' is not known; choose field or record"),
    (', history="none"', "Doc: history='none' is not known"),
    (', priority="asap"', "Doc: priority='asap' is not a class"),
    (", max_bytes=-1", "Doc: max_bytes=-1"),
    (', max_age="soon"', "Doc: max_age='soon' is not a duration"),
    (', evict="always"', "Doc: evict='always' is not known"),
    (', evict_after="soon"', "Doc: evict_after='soon' is not a duration"),
    (', sync="often"', "Doc: sync='often' is no rhythm"),
    (', sync="500ms"', "Doc: sync='500ms' is no rhythm"),
    (', sync="900d"', "Doc: sync='900d' is no rhythm"),
    (", sync=5", "Doc: sync=5 is no rhythm"),
    (', direction="sideways"', "Doc: direction='sideways' is not known"),
    (', keep="7d"', "Doc: keep='7d' with direction=\"both\""),
    (', keep="7d", direction="down"', "Doc: keep='7d' with direction=\"down\""),
    (', evict="first", direction="up"', "Doc: evict='first' with direction=\"up\""),
    (', evict_after="3d", direction="up"', "Doc: evict_after='3d' with direction=\"up\""),
    (', keep="soon", direction="up"', "Doc: keep='soon' is not a duration"),
    (', max_age="0s"', "Doc: max_age='0s' is not a duration"),
    (', unit="record"', "Doc.x: a record written as one holds registers, not a counter"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_a_collection_that_cannot_work(options: str, message: str) -> None:
    _assert_refused(HEAD.format(line="x: Counter", options=options), message)


def test_update_wins_takes_no_bounded_counter() -> None:
    text = HEAD.format(line="x: BoundedCounter", options=', on_delete="update-wins"')
    _assert_refused(text, "Doc.x: a bounded_counter cannot stand in an update-wins document")


REST = [
    ("@space.command\ndef c(): ...", "c: does not take a Transaction first"),
    ("@space.command\ndef c(tx: Transaction, n): ...", "c.n: has no type"),
    ("@space.command\ndef c(tx: Transaction, *n: int): ...", "c.n: has no type"),
    ("@space.command\ndef c(tx: Transaction, n: Gone): ...", "c: an annotation cannot be read"),
    ('@space.command(priority="asap")\ndef c(tx: Transaction): ...', "c: priority='asap'"),
    ('@space.command(requires_fresh="")\ndef c(tx: Transaction): ...', "c: requires_fresh='' is not a duration"),
    (
        "@space.command\ndef c(tx: Transaction): ...\n@space.command\ndef c(tx: Transaction): ...",
        "c: is declared twice",
    ),
    ('@space.collection(scope="place", id="key")\nclass Doc(Document):\n    x: Counter', "Doc: is declared twice"),
    (
        '@space.collection(scope="place", id="key")\nclass Two(Document):\n    key: str\n    x: Counter',
        "Two.place: is the",
    ),
    ("@space.guard(Document)\ndef g(before, after): ...", "Document: is not a collection of space 's'"),
    ('app.space("s")', "space 's': is declared twice"),
    ('app.space("t", partitions=0)', "space 't': partitions=0"),
    ('app.space("a b")', "space 'a b': is not a name"),
    ('App("")', "App '': is not a name"),
]


@pytest.mark.parametrize(("text", "message"), REST)
def test_the_rest_of_a_module_that_cannot_work(text: str, message: str) -> None:
    _assert_refused(HEAD.format(line="x: Counter", options="") + text, message)


def test_a_good_declaration_has_its_contract() -> None:
    from tests.unit.face.bench import THING, app

    assert isinstance(app, App)
    assert THING.document.fields["price"].deadline_ms == 48 * 3_600_000
    assert (THING.document.fields["price"].on_conflict, THING.document.fields["cart"].on_conflict) == (
        "review",
        "record",
    )
    assert [c.name for c in THING.columns] == list(THING.document.fields)


def test_two_orders_of_the_same_values_stay_two() -> None:
    class Parcel(Document):
        store: str
        number: str
        rising: Ranked[Literal["low", "high"]]
        falling: Ranked[Literal["high", "low"]]

    space = App("shop").space("retail", partitions=1)
    space.collection(scope="store", id="number")(Parcel)
    kinds = Parcel.__driftlog__.document.fields
    orders = [cast(RankedType, kinds[name].type).order for name in ("rising", "falling")]
    assert orders == [("low", "high"), ("high", "low")]


def _assert_refused(text: str, message: str) -> None:
    module = types.ModuleType("declared")
    code = compile(text, "declared.py", "exec", dont_inherit=True)
    sys.modules["declared"] = module  # annotations are resolved in it
    try:
        with pytest.raises(DeclarationError) as refused:
            exec(code, module.__dict__)
    finally:
        del sys.modules["declared"]
    assert message in str(refused.value)


def test_a_command_that_is_not_a_plain_function_is_refused_at_import() -> None:
    space = App("shop").space("retail")

    with pytest.raises(DeclarationError, match=r"later.*plain function"):

        @space.command
        async def later(tx: Transaction, store: str) -> None: ...

    with pytest.raises(DeclarationError, match=r"often.*plain function"):

        @space.command
        def often(tx: Transaction, store: str) -> Iterator[int]:
            yield 1

    with pytest.raises(DeclarationError, match=r"both.*plain function"):

        @space.command
        async def both(tx: Transaction, store: str) -> AsyncIterator[int]:
            yield 1

    async def hidden(tx: Transaction, store: str) -> None: ...

    @functools.wraps(hidden)
    def plain(*arguments: Any, **named: Any) -> Any:
        return hidden(*arguments, **named)

    with pytest.raises(DeclarationError, match=r"hidden.*plain function"):
        space.command(plain)


def test_what_is_masked_changes_nothing_of_what_is_written_sent_or_merged() -> None:
    def patients(**options: Any) -> CollectionContract:
        space = App("clinic").space("ward", partitions=4)
        patient = type(
            "Patient",
            (Document,),
            {
                "__annotations__": {"ward": str, "number": str, "name": Register[str], "visits": Counter},
                "__module__": __name__,
                "name": field(default="", **options),
            },
        )
        space.collection(scope="ward", id="number")(patient)
        contract = space.contract
        words.append((contract.release, state_schema(contract.collections["Patient"])))
        return contract.collections["Patient"]

    words: list[tuple[str, str]] = []
    plain, masked, partly = patients(), patients(masked=True), patients(masked="last4")
    assert (plain.masked, masked.masked, partly.masked) == ({}, {"name": "all"}, {"name": "last4"})
    assert patients(masked=False).masked == {}
    assert set(words) == {words[0]}, "no new schema, no new release"


def test_a_release_is_named_by_what_it_lets_its_commands_write() -> None:
    def release(values: Any, touches: list[str] | None = None) -> str:
        space = App("shop").space("retail", partitions=4)
        goods = type(
            "Goods",
            (Document,),
            {
                "__annotations__": {"store": str, "sku": str, "stage": Register[values], "on_hand": Counter},
                "__module__": __name__,
                "stage": field(default=None if values == str | None else "open"),
            },
        )
        space.collection(scope="store", id="sku")(goods)

        def sell(tx: Transaction, store: str) -> None: ...

        space.command(touches=None if touches is None else {goods: touches})(sell)
        return space.contract.release

    open_or_done = release(Literal["open", "done"])
    others = [
        release(Literal["open", "done", "lost"]),
        release(str),
        release(str | None),
        release(Literal["open", "done"], ["stage"]),
        release(Literal["open", "done"], ["stage", "on_hand"]),
    ]
    assert release(Literal["open", "done"]) == open_or_done
    assert len({open_or_done, *others}) == 1 + len(others)
