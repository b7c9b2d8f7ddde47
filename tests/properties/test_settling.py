"""A settlement ends a conflict for good: for every field type, wherever in a history it falls, and whatever comes behind it.

Writers here never see a settlement, so every op behind one races with it. What stands in the end is told from the history alone: the
writes that would stand without any settlement, less those that one has settled; and the last settlement of a place, unless somebody who had seen
all for which it stands has written there or deleted the document.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, SETTLER, DocumentState, Op, Place
from driftlog_crdt.settling import settled_by
from tests.properties.cases import DOCUMENTS, case_of
from tests.properties.histories import Sample, deliver, samples
from tests.reference_model.history import Dot, Event

WITH_CONFLICTS = {
    case: names
    for case, names in DOCUMENTS.items()
    if not names or any(case_of(name).type.conflicting for name in names)
}


class Settled:
    """A history with settlements in it, in the order of a log."""

    def __init__(self, sample: Sample) -> None:
        self._document, chance = sample.document, Random(sample.seed)
        self.state = self._document.new()
        self.prefixes = [self._document.new()]
        self.gone: dict[Place, set[Dot]] = {}
        self.last: dict[Place, tuple[set[Dot], int]] = {}
        """The writes for which the last settlement stands, and how many ops were before it."""
        history = sample.history
        for at, (op, event) in enumerate(zip(history.ops, history.events, strict=True), 1):
            deliver(self._document, self.state, op, event)
            if chance.random() < 0.5:
                self._settle(at)
            self.prefixes.append(self._document.copy(self.state))

    def _settle(self, at: int) -> None:
        for conflict in self._document.conflicts(self.state):
            place = Place(conflict.field, conflict.key)
            stands_for = {one[:2] for write in conflict.writes for one in settled_by(write) or (write,)}
            before = self._document.values(self.state)
            settled = self._document.settle(self.state, place, 1000 + at)
            assert settled == conflict
            if self._document.merge_type(place.field).picks:
                assert self._document.values(self.state) == before, "what stood becomes final"
            self.gone.setdefault(place, set()).update(stands_for)
            self.last[place] = stands_for, at


@pytest.mark.parametrize("names", WITH_CONFLICTS.values(), ids=WITH_CONFLICTS.keys())
@given(data=st.data())
def test_what_stands_is_what_the_history_says(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    run, document = Settled(sample), sample.document
    log = list(zip(sample.history.ops, sample.history.events, strict=True))
    without = sample.history.fold()
    for place, (stands_for, at) in run.last.items():
        standing = {write[:2] for write in document.writes_at(run.state, place)}
        expected = {write[:2] for write in document.writes_at(without, place)} - run.gone[place]
        assert {dot for dot in standing if dot[0] != SETTLER} == expected
        overruled = any(_replaces(*one, document.on_delete, place, stands_for) for one in log[at:])
        assert (SETTLER in {replica for replica, _ in standing}) is not overruled
    assert document.exists(run.state) is document.exists(without), "a settlement makes no document be there"


@pytest.mark.parametrize("names", WITH_CONFLICTS.values(), ids=WITH_CONFLICTS.keys())
@given(data=st.data())
def test_of_two_states_of_a_log_a_join_is_the_later_one(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    run, document = Settled(sample), sample.document
    early, late = sorted(data.draw(st.lists(st.integers(0, len(run.prefixes) - 1), min_size=2, max_size=2)))
    one, other = run.prefixes[early], run.prefixes[late]
    for joined in (document.join(one, other), document.join(other, one)):
        assert document.encode(joined) == document.encode(other)
    _comes_back(document.encode(other), sample)


def _comes_back(encoded: bytes, sample: Sample) -> None:
    decoded: DocumentState = sample.document.decode(encoded)
    assert sample.document.encode(decoded) == encoded


def _replaces(op: Op, event: Event, policy: str, place: Place, stands_for: set[Dot]) -> bool:
    """Does this op, behind a settlement, take its place?"""
    if event.refused:
        return False
    if op.field == DOCUMENT and op.kind == DELETE:
        return policy == "delete-wins" or stands_for <= event.past
    return op.field == place.field and place.key in ("", _key(op)) and stands_for <= event.past


def _key(op: Op) -> object:
    return op.value[0] if isinstance(op.value, list) else None
