"""Nobody can tell that replicas were forgotten: not a reader, not an op that still names them, not a late duplicate, not a join."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftlog_crdt import (
    PAST,
    AddWinsSet,
    BadOperation,
    BadValue,
    BoundedCounter,
    Counter,
    Custom,
    DocumentState,
    DocumentType,
    EverybodyBut,
    Field,
    Flag,
    Map,
    Max,
    Op,
    Outcome,
    Register,
    RemoveWinsSet,
    Text,
    changes_in,
    epoch_of,
)
from tests.properties.cases import DOCUMENTS, documents
from tests.properties.encodings import parts
from tests.properties.histories import REPLICAS, History, histories
from tests.reference_model.history import Dot

HEIR = "g"
"""Somebody who is there and has written nothing yet."""


class Fate:
    """A history in which some have stopped, and what the others did after everybody had seen that."""

    def __init__(self, before: History, after: History, retired: list[str]) -> None:
        self.document, self.before, self.after = before.document, before, after
        self.retired = dict.fromkeys(retired, HEIR)

    def folded(self, state: DocumentState) -> DocumentState:
        result = self.document.copy(state)
        self.document.fold(result, self.retired)
        return result

    def go_on(self, state: DocumentState, cut: frozenset[Dot], order: Random | None = None) -> DocumentState:
        """What came later, merged by somebody who knows who is retired."""
        for op, event in self.after.delivery(cut - self.before.everything, order, self.before.fold().vector):
            if event.refused:
                self.document.see(state, op)
            else:
                self.document.permit(state, op)
                assert self.document.apply(state, op, self.retired).outcome in (Outcome.APPLIED, Outcome.NO_EFFECT)
        return state


@st.composite
def fates(draw: st.DrawFn, names: list[str]) -> Fate:
    document = draw(documents(names))
    before = draw(histories(document))
    writers = sorted({event.replica for event in before.events}) or ["a"]
    retired = draw(st.lists(st.sampled_from(writers), min_size=1, max_size=3, unique=True))
    after = draw(histories(document, start=before, without=retired))
    return Fate(before, after, retired)


def what_is_read_stays(fate: Fate) -> None:
    whole = fate.before.fold()
    _same(fate.document, fate.folded(whole), whole)


def only_standing_writes_keep_their_names(fate: Fate) -> None:
    document, state = fate.document, fate.folded(fate.before.fold())
    kept = {name for field, stored in state.fields.items() for name in document.merge_type(field).holds(stored)}
    listed = set(state.vector) | set(state.presence or {}) | set(state.grave or {}) | set(state.refused)
    assert not (listed - kept) & set(fate.retired)
    assert sum(state.vector.values()) == sum(fate.before.fold().vector.values())


def bytes_stay_canonical(fate: Fate) -> None:
    document, state = fate.document, fate.folded(fate.before.fold())
    again = document.decode(document.encode(state))
    assert document.encode(again) == document.encode(state)
    assert document.encode(fate.folded(again)) == document.encode(state)


def in_two_steps_or_in_one(fate: Fate) -> None:
    document, state = fate.document, fate.before.fold()
    for name in fate.retired:
        document.fold(state, {name: HEIR})
    document.fold(state, fate.retired)
    assert document.values(state) == document.values(fate.folded(fate.before.fold()))
    if _same_bytes(document):
        assert document.encode(state) == document.encode(fate.folded(fate.before.fold()))


def forgetting_commutes_with_what_others_do(fate: Fate) -> None:
    document, everything = fate.document, fate.after.everything
    later = fate.after.fold()
    early = fate.go_on(fate.folded(fate.before.fold()), everything)
    shuffled = fate.go_on(fate.folded(fate.before.fold()), everything, Random(7))
    _same(document, early, later)
    assert document.encode(shuffled) == document.encode(early)
    if _same_bytes(document):
        assert document.encode(fate.folded(early)) == document.encode(fate.folded(later))


def a_join_with_an_earlier_state_resurrects_nothing(fate: Fate) -> None:
    document = fate.document
    whole = fate.go_on(fate.folded(fate.before.fold()), fate.after.everything)
    for cut in (fate.before.cuts[len(fate.before.cuts) // 2], fate.before.everything):
        earlier = fate.before.fold(cut)
        for joined in (document.join(whole, earlier), document.join(earlier, whole)):
            assert document.encode(joined) == document.encode(whole)


def joins_among_those_who_have_forgotten_agree(fate: Fate) -> None:
    document = fate.document
    cuts = [cut for cut in fate.after.cuts if fate.before.everything <= cut]
    ours, theirs = cuts[len(cuts) // 2], cuts[-1]
    start = fate.folded(fate.before.fold())
    left, right = (fate.go_on(document.copy(start), cut) for cut in (ours, theirs))
    union = fate.go_on(document.copy(start), ours | theirs)
    assert document.encode(document.join(left, right)) == document.encode(union)
    assert document.encode(document.join(right, left)) == document.encode(union)


def nothing_late_has_an_effect(fate: Fate) -> None:
    document, state = fate.document, fate.folded(fate.before.fold())
    before = document.encode(state)
    for op in fate.before.ops:
        if op.replica in fate.retired:
            for late in (op, op._replace(seq=op.seq + 100), op._replace(seq=1)):
                assert document.apply(state, late, fate.retired).outcome is Outcome.DUPLICATE
    assert document.encode(state) == before


def an_edge_takes_its_own_ops_that_name_the_forgotten(fate: Fate) -> None:
    """It knows no list of the retired; what its own ops name, it had seen."""
    document, everything = fate.document, fate.after.everything
    state, other = fate.folded(fate.before.fold()), fate.folded(fate.before.fold())
    for op, event in fate.after.delivery(everything - fate.before.everything):
        if event.refused:
            document.see(state, op)
            document.see(other, op)
        else:
            document.apply(state, op, EverybodyBut(op.replica))
            document.apply(other, op, fate.retired)
    assert document.encode(state) == document.encode(other)


LAWS = [
    what_is_read_stays,
    only_standing_writes_keep_their_names,
    bytes_stay_canonical,
    in_two_steps_or_in_one,
    forgetting_commutes_with_what_others_do,
    a_join_with_an_earlier_state_resurrects_nothing,
    joins_among_those_who_have_forgotten_agree,
    nothing_late_has_an_effect,
    an_edge_takes_its_own_ops_that_name_the_forgotten,
]


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_nobody_can_tell_that_replicas_were_forgotten(names: list[str], data: st.DataObject) -> None:
    fate = data.draw(fates(names))
    for law in LAWS:
        law(fate)


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_what_is_written_on_a_folded_view_means_the_same(names: list[str], data: st.DataObject) -> None:
    fate = data.draw(fates(names))
    document, whole = fate.document, fate.before.fold()
    folded = fate.folded(whole)
    for event in fate.after.events[len(fate.before.events) :]:
        made = []
        for state in (whole, folded):
            try:
                made.append(document.prepare(state, event.replica, event.hlc, event.field, event.kind, event.value))
            except (BadOperation, BadValue):
                made.append(None)
        one, other = made
        if one is None or other is None:
            assert one is other or event.field.startswith("bounded_counter")
            continue
        document.apply(whole, one)
        document.apply(folded, other, fate.retired)
        _same(document, folded, whole)


def _same_bytes(document: DocumentType) -> bool:
    """Who inherits how many rights depends on when, and a custom write keeps what its writer had seen under the names it had then."""
    return not any(isinstance(field.type, BoundedCounter | Custom) for field in document.fields.values())


def _same(document: DocumentType, one: DocumentState, other: DocumentState) -> None:
    assert document.values(one) == document.values(other)
    assert (document.exists(one), document.deleted(one)) == (document.exists(other), document.deleted(other))
    assert _conflicts(document, one) == _conflicts(document, other)


def _conflicts(document: DocumentType, state: DocumentState) -> list[Any]:
    """As a person sees them."""
    return [(c.field, c.key, [write._replace(branch=None) for write in c.writes]) for c in document.conflicts(state)]


@given(data=st.data())
def test_rights_of_those_who_are_over_come_back(data: st.DataObject) -> None:
    fate = data.draw(fates(["bounded_counter"]))
    document, counter = fate.document, fate.document.fields["bounded_counter"].type
    assert isinstance(counter, BoundedCounter)
    whole, folded = fate.before.fold(), fate.folded(fate.before.fold())
    left = [name for name in [*REPLICAS, HEIR] if name not in fate.retired]
    for state, names in ((whole, [*REPLICAS, HEIR]), (folded, left)):
        rows: Any = state.fields.get("bounded_counter", {})
        value = document.values(state)["bounded_counter"]
        assert counter.lower is not None
        assert counter.upper is not None
        if rows:
            assert sum(counter.rights(rows, name) or 0 for name in names) == value - counter.lower
            assert sum(counter.room(rows, name) or 0 for name in names) == counter.upper - value


SCRIBE_BYTES = 24
"""What each life that has written into a text leaves in it, at most, were all of it deleted since."""


@pytest.mark.slow
def test_ten_thousand_short_lives_leave_a_document_as_small_as_ten() -> None:
    visit = DocumentType(
        "Visit",
        {
            "count": Field(Counter()),
            "name": Field(Register()),
            "open": Field(Flag()),
            "tags": Field(AddWinsSet()),
            "blocked": Field(RemoveWinsSet()),
            "peak": Field(Max()),
            "bins": Field(Map(Counter())),
            "seats": Field(BoundedCounter()),
            "total": Field(Custom(lambda base, left, right: left + right - base, 0)),
            "note": Field(Text()),
        },
    )
    writes: list[tuple[str, str, Any]] = [
        ("count", "increment", 1),
        ("name", "set", "x"),
        ("open", "enable", None),
        ("tags", "add", "new"),
        ("blocked", "add", "eve"),
        ("peak", "raise", 7),
        ("bins", "increment", ["k", 1]),
        ("seats", "increment", 1),
        ("total", "set", 5),
        ("note", "insert", [0, "x"]),
    ]
    state, over, sizes = visit.new(), dict[str, str](), []
    for number in range(10_000):
        replica = f"store-{number}.aaaaaaaa"
        field, kind, value = writes[number % len(writes)]
        visit.apply(state, visit.prepare(state, replica, number, field, kind, value))
        if field == "note":
            visit.apply(state, visit.prepare(state, replica, number, field, "delete", [0, 1]))
        over[replica] = "store-0.bbbbbbbb"
        if number % 100 == 99:
            visit.fold(state, over)
            over = {name: heir for name, heir in over.items() if name in state.vector}
            scribes = number // len(writes) + 1
            sizes.append(len(visit.encode(state)) - SCRIBE_BYTES * scribes)
    assert visit.values(state)["count"] == visit.values(state)["seats"] == 1_000
    assert max(sizes) < 1.2 * sizes[0] + 100
    assert len(state.vector) < 20


def test_a_deleted_document_keeps_nothing_of_who_wrote_its_texts() -> None:
    visit = DocumentType("Visit", {"note": Field(Text())})
    state, over = visit.new(), dict[str, str]()
    for number in range(200):
        replica = f"store-{number}.aaaaaaaa"
        visit.apply(state, visit.prepare(state, replica, number, "note", "insert", [0, "x"]))
        over[replica] = ""
    visit.fold(state, over)
    assert len(visit.encode(state)) > 200 * 16
    visit.apply(state, visit.prepare(state, "office.aaaaaaaa", 200, "", "delete", None))
    assert len(visit.encode(state)) < 100


def test_a_counter_of_the_past_is_one_cell() -> None:
    counted = DocumentType("Counted", {"n": Field(Counter())}, "update-wins")
    state = counted.new()
    for name, amount in (("a", 5), ("b", 3), ("c", 2)):
        counted.apply(state, counted.prepare(state, name, 0, "n", "increment", amount))
    counted.fold(state, {"a": "c", "b": "c"})
    plain, _ = parts(counted.encode(state))
    assert plain == [{PAST: 2, "c": 1}, {"fields": {"n": {PAST: [8, 0], "c": [2, 0]}}}]
    counted.apply(state, counted.prepare(state, "c", 0, "", "delete", None))
    assert counted.values(state) == {"n": 0}
    assert not counted.exists(state)


def test_nobody_writes_as_the_past_and_nobody_gives_to_those_who_are_over() -> None:
    seats = DocumentType("Seats", {"free": Field(BoundedCounter())})
    with pytest.raises(BadOperation, match="no replica is called"):
        seats.check(Op(PAST, 1, 0, "free", "increment", 1))
    state = seats.new()
    seats.apply(state, seats.prepare(state, "a", 0, "free", "increment", 5))
    for nobody in ("", PAST, "a b", "x" * 81, "\u00e9", "a\x00"):
        with pytest.raises(BadValue, match="no replica is called so"):
            seats.prepare(state, "a", 0, "free", "transfer", [nobody, 1])
    gift = seats.prepare(state, "a", 0, "free", "transfer", ["b", 1])
    seats.permit(state, gift)
    with pytest.raises(BadOperation, match="b is over"):
        seats.permit(state, gift, {"b"})


def test_a_document_that_begins_after_a_purge_is_later_than_all_that_was_before_it() -> None:
    counted = DocumentType("Counted", {"n": Field(Counter())})
    old, new = counted.new(), counted.new()
    for _ in range(3):
        counted.apply(old, counted.prepare(old, "a", 0, "n", "increment", 5))
    counted.begin(new, 70)
    assert counted.blank(new)
    assert not counted.exists(new)
    counted.apply(new, counted.prepare(new, "b", 0, "n", "increment", 1))
    assert counted.exists(new)
    assert epoch_of(new.vector) == 70
    assert counted.encode(counted.join(old, new)) == counted.encode(counted.join(new, old)) == counted.encode(new)


def test_the_beginning_of_a_document_is_none_of_its_ops() -> None:
    counted = DocumentType("Counted", {"n": Field(Counter())})
    state = counted.new()
    counted.begin(state, 70)
    counted.see(state, Op("a", 1, 0, "n", "increment", 5))
    assert not counted.exists(state)
    counted.apply(state, counted.prepare(state, "a", 0, "n", "increment", 5))
    assert counted.values(state) == {"n": 5}
    assert changes_in(state.vector) == 2
    counted.fold(state, {"a": "b"})
    assert state.vector == {PAST: (70 << 24) + 2}
    assert counted.exists(state)
    counted.apply(state, counted.prepare(state, "b", 0, "", "delete", None))
    assert counted.deleted(state)


def test_a_past_that_is_full_takes_no_more() -> None:
    counted = DocumentType("Counted", {"n": Field(Counter())})
    state = counted.new()
    state.vector = {PAST: (3 << 24) + (1 << 24) - 2, "a": 2}
    assert not counted.fold(state, {"a": "b"})
    assert state.vector["a"] == 2
