"""Rules from past decisions: what explains them is proposed, what does not is not, and each exception is told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

import pytest

from driftlog import App, Custom, Document, Ranked, Register, field
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_streams.reading.conflict_rules import LEAST, MOST, Studied, study
from driftlog_streams.reading.rule_declarations import REPLAY, change_of

app = App("rules")
space = app.space("rules", partitions=1)


def merged(base: int, left: int, right: int) -> int:
    return left + right - base


@space.collection(scope="store", id="sku")
class Thing(Document):
    store: str
    sku: str
    price: Register[int] = field(default=7, on_conflict="review", deadline="48h", masked=True)
    cost: Register[Decimal] = field(default=Decimal("1.50"), on_conflict="review")
    stage: Register[str] = field(default="open", on_conflict="review")
    mood: Ranked[Literal["good", "bad"]] = field(on_conflict="review")
    level: Custom[int] = field(default=0, on_conflict="review", merge=merged)


CONTRACT: AppContract = app.contract


def decided(
    number: int, stood: Any, lost: Any, picked: Any, place: str = "price", rule: str = "register", **more: Any
) -> Conflict:
    """What stood was written by the later clock."""
    first = Version("a.b2c3d4e5", 1, 2_000 << 16, 2_000, stood)
    second = Version("b.b2c3d4e5", 1, 1_000 << 16, 1_000, lost)
    by = Version("c.b2c3d4e5", number, 9_000 << 16, 9_000 + number, picked, actor="Anna", how="page")
    facts: dict[str, Any] = {"policy": "review", "rule": rule, "status": ConflictStatus.RESOLVED, "decided_by": by}
    document = DocumentId("Thing", "s1", f"thing-{number}")
    facts |= {"opened_ms": 1, "detected_ms": 2_000, "deadline_ms": 0}
    return Conflict(f"c-{place}-{number}", document, place, (first, second), **(facts | more))


def larger_ones(count: int, **more: Any) -> list[Conflict]:
    """The larger was picked, which was now the earlier, now the later."""
    return [decided(n, n, n + (5 if n % 2 else -5), n + (5 if n % 2 else 0), **more) for n in range(10, 10 + count)]


def studied(conflicts: list[Conflict]) -> Studied:
    (one,) = study(conflicts, CONTRACT)
    return one


def test_the_rule_that_explains_the_decisions_is_proposed_and_its_exceptions_are_told() -> None:
    odd = decided(99, 400, 300, 300)
    third = decided(98, 400, 300, 350)
    one = studied([*larger_ones(38), odd, third])
    assert one.proposal is not None
    assert (one.proposal.rule, one.proposal.agreeing, one.decisions) == ("larger", 38, 40)
    assert [judged.conflict for judged in one.proposal.exceptions] == [odd, third]
    assert [None if j.chosen is None else j.chosen.value for j in one.proposal.exceptions] == [400, 400]
    assert studied([*larger_ones(37), odd, third]).proposal is None  # 37 of 39 is less


@pytest.mark.parametrize(("count", "proposed"), [(LEAST - 1, False), (LEAST, True)])
def test_nothing_is_proposed_from_few_decisions(count: int, proposed: bool) -> None:
    assert (studied(larger_ones(count)).proposal is not None) is proposed


def test_nothing_is_proposed_where_people_pick_now_this_and_now_that() -> None:
    conflicts = [decided(n, "red", "blue", "red" if n % 2 else "blue", "stage") for n in range(40)]
    one = studied(conflicts)
    assert one.proposal is None and {tried.rule: tried.agreeing for tried in one.tried} == {"standing": 20}


def test_what_stood_anyway_is_the_least_change_and_comes_before_what_explains_as_many() -> None:
    one = studied([decided(n, n + 5, n, n + 5) for n in range(20)])
    assert [tried.rule for tried in one.tried][:2] == ["standing", "larger"]
    assert one.proposal is not None and one.proposal.rule == "standing"


def test_decimals_are_compared_as_numbers_and_what_is_none_cannot_be_told() -> None:
    conflicts = [decided(n, "9.50", "10.25", "10.25", "cost") for n in range(20)]
    strange = decided(50, "NaN", "sNaN", "NaN", "cost")
    one = studied([*conflicts, strange, decided(51, "x", "1", "1", "cost")])
    larger = one.rule("larger")
    assert larger is not None and larger.agreeing == 20
    assert [judged.chosen for judged in larger.exceptions] == [None, None]
    assert studied([decided(n, True, 0, True) for n in range(20)]).rule("larger") is None  # no numbers


def test_an_order_follows_from_what_was_picked_over_what() -> None:
    pairs = [("open", "packed"), ("packed", "shipped"), ("open", "shipped")]
    conflicts = [
        decided(n, *(pairs[n % 3] if n % 2 else pairs[n % 3][::-1]), pairs[n % 3][1], "stage") for n in range(30)
    ]
    one = studied(conflicts)
    assert one.proposal is not None
    assert (one.proposal.rule, one.proposal.order) == ("ranked", ("open", "packed", "shipped"))


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "b"), ("b", "c"), ("c", "a")],  # a circle
        [("a", "b"), ("a", "c")],  # nobody said which of b and c
        [(f"v{n}", f"v{n + 1}") for n in range(9)],  # more values than an order is made of
    ],
)
def test_no_order_is_made_up(pairs: list[tuple[str, str]]) -> None:
    conflicts = [decided(n, *pairs[n % len(pairs)], pairs[n % len(pairs)][1], "stage") for n in range(90)]
    assert studied(conflicts).rule("ranked") is None


def test_the_later_one_where_the_present_rule_is_another() -> None:
    pairs = [("bad", "good"), ("good", "bad")]
    conflicts = [decided(n, *pairs[n % 2], pairs[n % 2][1], "mood", "ranked") for n in range(20)]
    swapped = [replace(c, versions=(replace(c.versions[0], hlc=1), c.versions[1])) for c in conflicts]
    proposal = studied(swapped).proposal
    assert proposal is not None
    assert proposal.rule == "later"
    assert studied(larger_ones(20)).rule("later") is None


def test_only_what_people_were_asked_and_decided_counts() -> None:
    one, *others = larger_ones(LEAST)
    assert one.decided_by is not None
    left = [
        replace(one, policy="record"),
        replace(one, status=ConflictStatus.OPEN),
        replace(one, status=ConflictStatus.SETTLED),
        replace(one, decided_by=replace(one.decided_by, how="")),
        replace(one, decided_by=None),
    ]
    for instead in left:
        assert studied([instead, *others]).proposal is None
    assert study(left, CONTRACT) == []


def test_what_is_not_known_whole_is_left_out_and_told() -> None:
    one = studied([*larger_ones(LEAST), replace(decided(70, 1, 2, 1), omitted=3)])
    assert (one.decisions, one.left_out) == (LEAST, 1)
    assert one.proposal is not None and one.proposal.exceptions == []


def test_the_newest_are_looked_at_and_no_more() -> None:
    old = [decided(n, 400, 300, 300) for n in range(5)]
    new = [decided(n, 300, 400, 400) for n in range(5, 5 + MOST)]
    one = studied([*old, *new])
    assert one.decisions == MOST
    assert one.proposal is not None and one.proposal.exceptions == []


def test_a_map_and_a_record_have_no_rule_but_to_ask_nobody() -> None:
    for place in ("", "labels.k"):
        one = studied([decided(n, n + 5, n, n + 5, place) for n in range(20)])
        assert [tried.rule for tried in one.tried] == ["standing"]


def declared_by(lines: tuple[str, ...]) -> AppContract:
    """The lines as an app has them."""
    *before, line = lines
    made = App("proposed")
    names: dict[str, Any] = {
        "Document": Document, "Custom": Custom, "Ranked": Ranked, "Register": Register, "field": field, "Decimal": Decimal,
        "Literal": Literal, "collection": made.space("proposed", partitions=1).collection,
    }  # fmt: skip
    text = "\n".join(
        (
            *before,
            '@collection(scope="store", id="sku")',
            "class Thing(Document):",
            "    store: str",
            "    sku: str",
            f"    {line}",
        )
    )
    exec(compile(text, "app", "exec", dont_inherit=True), names)  # what a page tells people to write
    return made.contract


@pytest.mark.parametrize(
    ("conflicts", "begins", "replayed"),
    [
        ([decided(n, n + 5, n, n + 5) for n in range(20)], "price: Register[int] = field(default=7, masked=True, on_conflict=", True),
        (larger_ones(20), "price_larger: Custom[int] = field(default=7,", False),
        ([decided(n, n + 5, n, n) for n in range(20)], "price_smaller: Custom[int]", False),
        ([decided(n, "9.5", "10.5", "10.5", "cost") for n in range(20)], "cost_larger: Custom[Decimal] = field(default=Decimal(", False),
        ([decided(n, "b", "a", "a", "stage") for n in range(20)], "stage_ranked: Ranked[str] = field(order=['b', 'a']", False),
        (larger_ones(20, place="level", rule="custom"), "level: Custom[int] = field(default=0,", True),
    ],
)  # fmt: skip
def test_what_is_to_be_declared_can_be_declared(conflicts: list[Conflict], begins: str, replayed: bool) -> None:
    one = studied(conflicts)
    assert one.proposal is not None
    change = change_of(CONTRACT, one.collection, one.field, one.proposal)
    assert change.lines[-1].startswith(begins)
    name = change.lines[-1].partition(":")[0]
    found = declared_by(change.lines).collection("Thing").document.fields[name]
    assert (found.on_conflict, found.deadline_ms) == ("record", 0)
    assert change.check == (REPLAY if replayed else "")


def test_a_merge_that_is_proposed_does_what_the_rule_says() -> None:
    proposal = studied(larger_ones(20)).proposal
    assert proposal is not None
    contract = declared_by(change_of(CONTRACT, "Thing", "price", proposal).lines)
    field_type = contract.collection("Thing").document.fields["price_larger"].type
    assert isinstance(field_type.merge(0, 3, 9), int) and field_type.merge(0, 3, 9) == field_type.merge(0, 9, 3) == 9


def test_what_no_declaration_says_is_told() -> None:
    for place in ("", "gone"):
        one = studied([decided(n, n + 5, n, n + 5, place) for n in range(20)])
        assert one.proposal is not None
        change = change_of(CONTRACT, one.collection, one.field, one.proposal)
        assert change.lines == () and change.how
