"""What is stored or sent for decades and must never change its meaning: names, client ids, the text of values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from driftlog_crdt import FIELD_TYPES, BadOperation, DocumentType, Field, Max, Min, canonical, differ
from driftlog_crdt.yjs_client import client_of
from tests.properties.cases import CASES, document
from tests.properties.encodings import parts

NAMES = {
    *("add_wins_set", "bounded_counter", "counter", "custom", "flag", "grow_counter", "grow_set", "list", "map", "max"),
    *("min", "multi_value", "ranked", "register", "remove_wins_set", "text"),
}


def test_every_type_has_the_name_that_stands_in_schemas() -> None:
    assert set(FIELD_TYPES) == NAMES
    assert all(kind.name == name for name, kind in FIELD_TYPES.items())


def test_every_type_runs_under_the_laws() -> None:
    assert {case.type.name for case in CASES.values()} == NAMES


@pytest.mark.parametrize(("field", "kind"), [("grow_counter", "decrement"), ("grow_set", "remove")])
def test_what_only_grows_cannot_be_taken_back(field: str, kind: str) -> None:
    growing = document([field])
    with pytest.raises(BadOperation, match=rf"^{field}: a {field} takes (increment|add), not '{kind}'"):
        growing.prepare(growing.new(), "a", 0, field, kind, 1)


def test_the_client_id_of_a_replica_stays_what_it_was() -> None:
    assert [client_of(name) for name in ("ann", "ben", "")] == [4969087869903998, 5400387159302652, client_of("")]
    assert all(0 < client_of(f"till-{number}") < 2**53 for number in range(1_000))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        ("é\n😀", '"é\\n😀"'),
        ({"b": [1, {}], "a": None}, '{"a":null,"b":[1,{}]}'),
    ],
)
def test_the_canonical_text_of_a_value(value: Any, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_what_is_not_finite_has_no_text(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ([1], [1.0]), ({"a": 1}, {"a": True}), (0.0, -0.0)])
def test_values_that_read_otherwise_differ(one: Any, other: Any) -> None:
    assert differ(one, other)
    assert differ(other, one)
    assert not differ(one, one)


@pytest.mark.parametrize(("kind", "op"), [(Max(), "raise"), (Min(), "lower")])
def test_there_is_no_minus_zero_among_extremes(kind: Any, op: str) -> None:
    sample = DocumentType("Sample", {"n": Field(kind)})
    plain, negative = sample.new(), sample.new()
    sample.apply(plain, sample.prepare(plain, "a", 0, "n", op, 0.0))
    sample.apply(negative, sample.prepare(negative, "a", 0, "n", op, -0.0))
    assert sample.encode(plain) == sample.encode(negative)
    assert str(sample.values(negative)["n"]) == "0.0"


def test_pruned_extremes_keep_the_peak_and_what_somebody_has_not_seen() -> None:
    sample = DocumentType("Sample", {"n": Field(Max())})
    state = sample.new()
    for number in (9, 7, 5, 3):
        sample.apply(state, sample.prepare(state, "a", 0, "n", "raise", number))
    sample.prune(state, {"a": 3})
    plain, _ = parts(sample.encode(state))
    assert plain[1]["fields"] == {"n": {"a": [[1, 9], [4, 3]]}}


def test_a_conflict_falls_under_its_field_and_that_of_a_whole_record_under_its_strictest() -> None:
    chosen = {"street": "record", "city": "review"}
    record = document(["record"], on_conflict=chosen)
    assert record.declared("").on_conflict == "review"
    assert document(["register"], on_conflict={"register": "record"}).declared("register").on_conflict == "record"
    with pytest.raises(BadOperation, match=r"^colour: "):
        record.declared("colour")
