"""What must hold of every small history. Each law is a function that raises AssertionError."""

from __future__ import annotations

from typing import Any

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, DocumentType, Outcome, dominates
from tests.brute_force.founding import founded_anew
from tests.brute_force.play import Played
from tests.brute_force.shapes import REPLICAS, Cut
from tests.properties.cases import case_of
from tests.properties.histories import deliver
from tests.reference_model import founding, sequence
from tests.reference_model.fields import record
from tests.reference_model.history import Event, surviving, text


def judge(played: Played) -> None:
    _decisions_are_right(played)
    whole = played.fold(played.all)
    _state_is_right(played, whole)
    _refused_ops_are_remembered_until_their_writers_know(played, whole)
    _another_order_gives_the_same_bytes(played, whole)
    _joins_give_what_the_union_gives(played)
    _pruned_between_the_ops_it_comes_to_the_same(played, whole)
    _folded_between_the_ops_it_comes_to_the_same(played, whole)
    _founded_anew_between_the_ops_it_holds_what_it_should(played)
    for last in played.latest:
        _a_pruned_state_takes_the_last_op_like_the_whole_one(played, whole, last)
        _a_folded_state_takes_the_last_op_like_the_whole_one(played, whole, last)


def _decisions_are_right(played: Played) -> None:
    """Just what cannot stand without a refused op is refused; only that has no right."""
    for event in played.events:
        if event.refused == "guard":
            continue
        stands = not event.believed or _founded(played, event)
        assert event.refused == (None if stands else "builds_on_refused"), event


def _founded(played: Played, event: Event) -> bool:
    document, policy = played.document, played.document.on_delete
    seen = [e for e in played.events if e.dot in event.past]
    if event.field == DOCUMENT:
        return policy == "delete-wins" or not any(case_of(name).type.claims for name in document.fields)
    if document.unit == "record":
        return False
    if event.field in ("text", "list"):
        return sequence.founded(event, seen, policy)
    founded = case_of(event.field).founded or founding.always
    return founded(event, [e for e in surviving(seen, policy) if e.field == event.field])


def _state_is_right(played: Played, state: DocumentState) -> None:
    document, policy = played.document, played.document.on_delete
    alive = surviving(played.events, policy)
    if document.unit == "record":
        start = dict.fromkeys(document.fields, "none")
        past = lambda event: surviving([e for e in played.events if e.dot in event.past], policy)  # noqa: E731
        assert document.values(state) == record(start)(alive, past)
    for name in document.fields if document.unit == "field" else ():
        _field_is_right(played, name, [e for e in alive if e.field == name], document.field_value(state, name))
    held = [e for e in alive if not _idle(played, e)]
    deletes = [e for e in played.events if (e.field, e.kind) == (DOCUMENT, DELETE) and not e.refused]
    assert document.exists(state) == bool(held)
    assert document.deleted(state) == (bool(deletes) and not held)


def _field_is_right(played: Played, name: str, alive: list[Event], value: Any) -> None:
    if name in ("text", "list"):
        assert sorted(value) == sorted(sequence.elements(alive, played.edits))
        assert sequence.agree([*played.views, list(value)])
        return
    answer = case_of(name).value
    assert answer is not None
    policy = played.document.on_delete

    def past(event: Event) -> list[Event]:
        return [e for e in surviving([o for o in played.events if o.dot in event.past], policy) if e.field == name]

    assert text(value) == text(answer(alive, past))


def _idle(played: Played, event: Event) -> bool:
    """Was all that an edit took brought by refused ones?"""
    if event.kind != "delete" or event.field == DOCUMENT:
        return False
    brought = {x for e in played.events if e.kind == "insert" and not e.refused for x in played.edits[e.dot]}
    return not brought & set(played.edits[event.dot])


def _refused_ops_are_remembered_until_their_writers_know(played: Played, state: DocumentState) -> None:
    told = {op.replica: op.seq - 1 - op.unsure for op in played.ops}
    expected = {e.dot for e in played.events if e.refused and e.seq > told[e.replica]}
    held = {
        (replica, seq)
        for replica, runs in state.refused.items()
        for first, last, _ in runs
        for seq in range(first, last + 1)
    }
    assert held == expected


def _another_order_gives_the_same_bytes(played: Played, whole: DocumentState) -> None:
    """The order that takes always the latest op that can be taken."""
    document, state = played.document, played.document.new()
    waiting = list(played.all)
    done: list[Event] = []
    while waiting:
        number = max(
            i
            for i in waiting
            if state.vector.get(played.ops[i].replica, 0) == played.ops[i].seq - 1
            and dominates(state.vector, played.ops[i].context or {})
        )
        waiting.remove(number)
        event = played.events[number]
        applied = deliver(document, state, played.ops[number], event)
        done.append(event)
        if applied is not None:
            alive = surviving(done, document.on_delete)
            effect = (event.field, event.kind) == (DOCUMENT, DELETE) or (event in alive and not _idle(played, event))
            assert applied.outcome is (Outcome.APPLIED if effect else Outcome.NO_EFFECT), event
    assert document.encode(state) == document.encode(whole)
    assert document.encode(document.decode(document.encode(state))) == document.encode(whole)


def _joins_give_what_the_union_gives(played: Played) -> None:
    document = played.document
    latest: dict[str, Cut] = {op.replica: cut for op, cut in zip(played.ops, played.cuts, strict=True)}
    sides = [(cut, played.fold(played.within(cut))) for cut in latest.values()]
    for i, (left_cut, left) in enumerate(sides):
        for right_cut, right in sides[i + 1 :]:
            union = tuple(map(max, left_cut, right_cut))
            expected = document.encode(played.fold(played.within(union)))
            assert document.encode(document.join(left, right)) == expected
            assert document.encode(document.join(right, left)) == expected


def _a_pruned_state_takes_the_last_op_like_the_whole_one(played: Played, whole: DocumentState, last: int) -> None:
    """Everybody has seen what the last op's writer has; that op is the only one on its way."""
    document, earlier = played.document, [i for i in played.all if i != last]
    state = played.fold(earlier)
    seen = played.cuts[last]
    document.prune(state, {r: count for r, count in zip(REPLICAS, seen, strict=True) if count})
    assert document.values(state) == document.values(played.fold(earlier))
    deliver(document, state, played.ops[last], played.events[last])
    _same(document, state, whole)
    _same(document, document.join(state, played.fold(earlier)), whole)


def _a_folded_state_takes_the_last_op_like_the_whole_one(played: Played, whole: DocumentState, last: int) -> None:
    """Those are over whose ops the last op's writer has all seen."""
    document, earlier = played.document, [i for i in played.all if i != last]
    op, cut = played.ops[last], played.cuts[last]
    totals = played.fold(earlier).vector
    over = {
        r: op.replica for r, count in zip(REPLICAS, cut, strict=True) if r != op.replica and count == totals.get(r, 0)
    }
    state = played.fold(earlier)
    document.fold(state, over)
    _same(document, state, played.fold(earlier))
    if played.events[last].refused:
        document.see(state, op)
    else:
        document.permit(state, op, () if document.limited else over)  # what is given to those who are over is refused
        document.apply(state, op, over)
    _same(document, state, whole)
    _same(document, document.join(state, played.fold(earlier)), whole)


def _pruned_between_the_ops_it_comes_to_the_same(played: Played, whole: DocumentState) -> None:
    """After each op goes what all writers of later ones have seen."""
    document, state = played.document, played.document.new()
    for number in played.all:
        deliver(document, state, played.ops[number], played.events[number])
        document.prune(state, _seen_by_later(played, number, state))
    _same(document, state, whole)
    _same(document, document.join(state, whole), whole)


def _folded_between_the_ops_it_comes_to_the_same(played: Played, whole: DocumentState) -> None:
    """After each op those are over who write no more, and all of whose ops the writers of later ones have seen. What is kept for who
    had not goes as well.
    """
    document, state = played.document, played.document.new()
    over: dict[str, str] = {}
    for number in played.all:
        op = played.ops[number]
        if played.events[number].refused:
            document.see(state, op)
        else:
            document.apply(state, op, over)
        later = {played.ops[i].replica for i in played.all if i > number}
        seen = _seen_by_later(played, number, state)
        gone = {r for r, count in seen.items() if r not in later and count == state.vector.get(r)}
        over |= dict.fromkeys(gone, min(later, default=""))
        if document.fold(state, {r: over[r] for r in gone}):
            document.prune(state, {})
    _same(document, state, whole)


def _founded_anew_between_the_ops_it_holds_what_it_should(played: Played) -> None:
    for anew, state in founded_anew(played):
        _state_is_right(anew, state)


def _seen_by_later(played: Played, number: int, state: DocumentState) -> dict[str, int]:
    """What every writer of a later op knew with it, of what is in the state."""
    cuts = [played.cuts[i] for i in played.all if i > number]
    known = map(min, *cuts) if len(cuts) > 1 else cuts[0] if cuts else ()
    least = {r: min(count, state.vector.get(r, 0)) for r, count in zip(REPLICAS, known, strict=bool(cuts))}
    return {r: count for r, count in least.items() if count}


def _same(document: DocumentType, one: DocumentState, other: DocumentState) -> None:
    assert document.values(one) == document.values(other)
    assert (document.exists(one), document.deleted(one)) == (document.exists(other), document.deleted(other))
