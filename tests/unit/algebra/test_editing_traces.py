"""Real typing, tens of thousands of edits by one person and by two at once, comes out on every replica as it was recorded."""

from __future__ import annotations

from random import Random

import pytest

from driftlog_crdt import DocumentState, Op, Outcome
from driftlog_crdt.yjs_client import client_of
from tests.unit.algebra.editing_trace import IN_ORDER, NOTE, Session, read_trace

CHECKPOINT = 5_000

pytestmark = pytest.mark.slow  # to read what was typed takes seconds by itself


@pytest.fixture(scope="module", params=[pytest.param("friendsforever", marks=pytest.mark.slow), "sveltecomponent"])
def played(request: pytest.FixtureRequest) -> Session:
    session = Session(read_trace(request.param))
    session.play()
    session.catch_up()
    return session


def test_every_author_ends_with_the_recorded_text_and_the_same_bytes(played: Session) -> None:
    assert len(played.ops) == len(played.trace.transactions)
    assert {NOTE.values(view)["body"] for view in played.views.values()} == {played.trace.end}
    assert len({NOTE.encode(view) for view in played.views.values()}) == 1


def test_a_replica_that_stops_and_starts_from_its_bytes_ends_with_the_same_bytes(played: Session) -> None:
    state = NOTE.new()
    for number, op in enumerate(_ops(played)):
        if number % CHECKPOINT == 0:
            state = NOTE.decode(NOTE.encode(state))
        NOTE.check(op)
        assert NOTE.apply(state, op).outcome is Outcome.APPLIED
    assert NOTE.values(state)["body"] == played.trace.end
    assert NOTE.encode(state) == NOTE.encode(_anyone(played))


def test_mail_in_any_order_ends_with_the_same_bytes(played: Session) -> None:
    """Each author's ops arrive in bursts; an op that comes before what its author saw waits for it."""
    random = Random(7)
    queues = {author: [op for op in _ops(played) if op.replica == author] for author in played.views}
    at = dict.fromkeys(queues, 0)
    state = NOTE.new()
    gaps = 0
    while any(at[author] < len(queue) for author, queue in queues.items()):
        author = random.choice(sorted(queues))
        for op in queues[author][at[author] : at[author] + random.randint(1, 200)]:
            outcome = NOTE.apply(state, op).outcome
            if outcome is Outcome.GAP:
                gaps += 1
                break
            at[author] += 1
    assert gaps > 0 or len(queues) == 1
    assert NOTE.encode(state) == NOTE.encode(_anyone(played))


def test_two_halves_join_to_the_whole(played: Session) -> None:
    ops = _ops(played)
    first, other = NOTE.new(), NOTE.new()
    for op in ops[: len(ops) // 2]:
        NOTE.apply(first, op)
        NOTE.apply(other, op)
    for op in ops[len(ops) // 2 :]:
        NOTE.apply(other, op)
    before = NOTE.encode(first)
    assert NOTE.encode(NOTE.join(first, other)) == NOTE.encode(NOTE.join(other, first)) == NOTE.encode(_anyone(played))
    assert NOTE.encode(first) == before


def test_with_the_other_order_of_names_only_the_tied_run_moves() -> None:
    trace = read_trace("friendsforever", tuple(reversed(IN_ORDER)))
    session = Session(trace)
    session.play()
    session.catch_up()
    (body,) = {str(NOTE.values(view)["body"]) for view in session.views.values()}
    assert len({NOTE.encode(view) for view in session.views.values()}) == 1
    assert body != trace.end
    assert body.replace(", hh?u", "", 1) == trace.end.replace(", huh?", "", 1)


def test_the_authors_client_ids_ascend() -> None:
    assert [client_of(name) for name in IN_ORDER] == sorted(client_of(name) for name in IN_ORDER)


def _ops(session: Session) -> list[Op]:
    return [op for made in session.ops for op in made]


def _anyone(session: Session) -> DocumentState:
    return next(iter(session.views.values()))
