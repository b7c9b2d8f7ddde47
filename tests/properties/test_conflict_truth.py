"""What is published about conflicts is what the partial order says, for each policy: no conflict more, none fewer.

The records are made by the worker's own functions from what `apply` answers, op by op in a random order of arrival, and folded by
their ids as anybody does who reads the topic.
"""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DOCUMENT, DocumentState, DocumentType, Op, Place
from driftlog_schemas.devices import Device
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, Conflict, ConflictStatus, Version
from driftlog_streams.core import conflicts
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.rules import Collection
from tests.properties.cases import DOCUMENTS, case_of
from tests.properties.histories import Sample, deliver, samples
from tests.properties.test_reference import expected_conflicts
from tests.reference_model.history import Dot

SAMPLE = DocumentId("Sample", "here", "1")
BATCH, DEVICE = cast(Batch, None), cast(Device, None)
START_MS = 1_000
WITH_CONFLICTS = {
    case: names
    for case, names in DOCUMENTS.items()
    if not names or any(case_of(name).type.conflicting for name in names)
}


@pytest.mark.parametrize("names", WITH_CONFLICTS.values(), ids=WITH_CONFLICTS.keys())
@given(data=st.data())
def test_the_published_conflicts_are_those_of_the_partial_order(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    told = Told(sample, _policies(sample.document))
    fields = {event.dot: _place(sample.document, event.field) for event in sample.history.events}
    assert told.pairs == {pair for pair in told.ever_open if fields[min(pair)] in told.policies}
    left = {pair for pair in expected_conflicts(sample.history, sample.history.everything) if pair in told.pairs}
    open_now = [c for c in told.latest.values() if c.status is not ConflictStatus.RESOLVED]
    assert set().union(*map(_pairs, open_now)) == left
    found = {conflicts.place_name(c.field, c.key): c for c in sample.document.conflicts(told.state)}
    for conflict in told.latest.values():
        policy = told.policies[conflict.field.split(".")[0]]
        standing = ConflictStatus.OPEN if policy == "review" else ConflictStatus.RECORDED
        assert conflict.policy == policy
        assert conflict.status is (standing if conflict.field in found else ConflictStatus.RESOLVED)
        assert (conflict.status is ConflictStatus.RESOLVED) == (conflict.decided_by is not None)
        if conflict.field in found:
            assert list(map(_dot, conflict.versions)) == [w[:2] for w in found[conflict.field].writes]
            assert [v.value for v in conflict.versions] == [w.value for w in found[conflict.field].writes]


class Told:
    """What a worker tells while it merges a sample, one flight an op, and what was in conflict at any time."""

    def __init__(self, sample: Sample, policies: dict[str, str]) -> None:
        self.policies = policies
        self._collection = Collection("Sample", sample.document, cast(Any, None), (), 0, policies, lambda op: None)
        self.state: DocumentState = sample.document.new()
        self.latest: dict[str, Conflict] = {}
        self.pairs: set[frozenset[Dot]] = set()
        self.ever_open: set[frozenset[Dot]] = set()
        done: set[Dot] = set()
        history = sample.history
        for op, event in history.delivery(history.everything, Random(sample.seed)):
            arrival = Arrival(
                Command(f"c{op.replica}{op.seq}", "", "here", 0, (), op.replica), BATCH, DEVICE, START_MS, 0
            )
            op = op._replace(origin=arrival.command.origin(op, START_MS))
            applied = deliver(sample.document, self.state, op, event)
            done.add(event.dot)
            self.ever_open |= expected_conflicts(history, frozenset(done))
            if applied is not None:
                for before in applied.ended:
                    self._take(conflicts.ended(SAMPLE, self._collection, arrival, op, self.state, before), op)
                for place in applied.contested:
                    self._take(self._standing(place), op)

    def _standing(self, place: Place) -> Conflict | None:
        return conflicts.standing(SAMPLE, self._collection, self.state, place)

    def _take(self, conflict: Conflict | None, op: Op) -> None:
        if conflict is None:
            return
        for version in (*conflict.versions, *([conflict.decided_by] if conflict.decided_by else [])):
            assert (version.command_id, version.actor) == (f"c{version.replica}{version.seq}", version.replica)
        assert conflict.decided_by is None or _dot(conflict.decided_by) == (op.replica, op.seq)
        assert (conflict.opened_ms, conflict.detected_ms) == (START_MS, START_MS)
        self.latest[conflict.id] = conflict
        self.pairs |= _pairs(conflict)


def _pairs(conflict: Conflict) -> set[frozenset[Dot]]:
    versions = conflict.versions
    return {frozenset({_dot(x), _dot(y)}) for x in versions for y in versions if repr(x.value) != repr(y.value)}


def _policies(document: DocumentType) -> dict[str, str]:
    """Those of the declaration; a whole record falls under the strictest of its fields."""
    declared = {name: field.on_conflict for name, field in document.fields.items()}
    if document.unit == "record":
        declared = {DOCUMENT: max(declared.values(), key=["silent", "record", "review"].index)}
        assert document.declared(DOCUMENT).on_conflict == declared[DOCUMENT]
    return {name: policy for name, policy in declared.items() if policy != "silent"}


def _place(document: DocumentType, field: str) -> str:
    return DOCUMENT if document.unit == "record" else field


def _dot(version: Version) -> Dot:
    return (version.replica, version.seq)
