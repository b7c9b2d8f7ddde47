"""What is published about conflicts is what the partial order says, for each policy: no conflict more, none fewer.

The records are made by the worker's own function from what `apply` answers, op by op in a random order of arrival, and folded by
their ids as anybody does who reads the topic.
"""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DOCUMENT, DocumentState, DocumentType
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import Collection
from tests.properties.cases import DOCUMENTS, case_of
from tests.properties.histories import Sample, deliver, samples
from tests.properties.test_reference import expected_conflicts
from tests.reference_model.history import Dot

SAMPLE = DocumentId("Sample", "here", "1")
COMMAND = Command("c", "", "here", 0, ())
APPENDED_MS = 1_000
WITH_CONFLICTS = {
    case: names
    for case, names in DOCUMENTS.items()
    if not names or any(case_of(name).type.conflicting for name in names)
}


@pytest.mark.parametrize("names", WITH_CONFLICTS.values(), ids=WITH_CONFLICTS.keys())
@given(data=st.data())
def test_the_published_conflicts_are_those_of_the_partial_order(names: list[str], data: st.DataObject) -> None:
    sample = data.draw(samples(names))
    policies = _policies(sample.document)
    published, ever_open, state = _published(sample, policies)
    left = expected_conflicts(sample.history, sample.history.everything)
    fields = {event.dot: _place(sample.document, event.field) for event in sample.history.events}
    told = {conflict_id(SAMPLE, fields[min(pair)], *sorted(pair)): pair for pair in ever_open}
    told = {identifier: pair for identifier, pair in told.items() if fields[min(pair)] in policies}
    assert published.keys() == told.keys()
    for identifier, conflict in published.items():
        pair = told[identifier]
        policy = policies[fields[min(pair)]]
        standing = ConflictStatus.OPEN if policy == "review" else ConflictStatus.RECORDED
        assert conflict.policy == policy
        assert conflict.status is (standing if pair in left else ConflictStatus.RESOLVED)
        assert {_dot(conflict.winner), _dot(conflict.loser)} == pair
    _assert_winners_stand(sample.document, state, published)


def _published(
    sample: Sample, policies: dict[str, str]
) -> tuple[dict[str, Conflict], set[frozenset[Dot]], DocumentState]:
    """The latest record of every conflict id, and every pair that was in conflict at some time in this order of arrival."""
    document, history = sample.document, sample.history
    collection = Collection("Sample", document, cast(Any, None), (), 0, policies, lambda op: None)
    state = document.new()
    latest: dict[str, Conflict] = {}
    ever_open: set[frozenset[Dot]] = set()
    done: set[Dot] = set()
    for op, event in history.delivery(history.everything, Random(sample.seed)):
        applied = deliver(document, state, op, event)
        done.add(event.dot)
        ever_open |= expected_conflicts(history, frozenset(done))
        if applied is not None and (applied.beside or applied.closed):
            for conflict in conflicts.changed(SAMPLE, collection, COMMAND, op, applied, state, APPENDED_MS):
                assert (conflict.status is ConflictStatus.RESOLVED) == (conflict.resolved_by is not None)
                assert conflict.resolved_by is None or _dot(conflict.resolved_by) == event.dot
                latest[conflict.id] = conflict
    return latest, ever_open, state


def _assert_winners_stand(document: DocumentType, state: DocumentState, published: dict[str, Conflict]) -> None:
    """Where a published conflict involves the write that stands, that one is the winner, under the name of its place."""
    for found in document.conflicts(state):
        for loser in found.losers:
            identifier = conflict_id(SAMPLE, found.field, found.winner[:2], loser[:2])
            if identifier in published:
                conflict = published[identifier]
                assert _dot(conflict.winner) == found.winner[:2]
                assert (conflict.winner.value, conflict.loser.value) == (found.winner.value, loser.value)
                assert conflict.field == conflicts.place_name(found.field, found.key)


def _policies(document: DocumentType) -> dict[str, str]:
    """Those of the declaration; a whole record falls under the strictest of its fields."""
    declared = {name: field.on_conflict for name, field in document.fields.items()}
    if document.unit == "record":
        declared = {DOCUMENT: max(declared.values(), key=["silent", "record", "review"].index)}
        assert document.declared(DOCUMENT).on_conflict == declared[DOCUMENT]
    return {name: policy for name, policy in declared.items() if policy != "silent"}


def _place(document: DocumentType, field: str) -> str:
    return DOCUMENT if document.unit == "record" else field


def _dot(version: Any) -> Dot:
    return (version.replica, version.seq)
