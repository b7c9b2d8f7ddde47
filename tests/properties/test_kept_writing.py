"""A state that keeps what was last made of its fields is written in the same bytes as one that keeps nothing, whatever happens to both."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, DocumentType, Place, canonical
from driftlog_crdt.document_state import Made
from tests.properties import cases
from tests.properties.cases import DOCUMENTS, documents
from tests.properties.histories import deliver, histories, merge


def columns(document: DocumentType, state: DocumentState) -> dict[str, bytes]:
    """What whoever writes rows makes of the fields, from what is kept where it is."""
    kept = {} if state.made is None else state.made.columns
    for name, stored in state.fields.items():
        if name not in kept:
            kept[name] = canonical(document.merge_type(name).value(stored)).encode()
    return {name: kept[name] for name in state.fields}


def written_alike(document: DocumentType, keeping: DocumentState, plain: DocumentState) -> None:
    keeping.made = keeping.made or Made({}, {})
    assert plain.made is None
    assert document.encode_with_version(keeping) == document.encode_with_version(plain)
    assert columns(document, keeping) == columns(document, plain)


@pytest.mark.parametrize("names", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@given(data=st.data())
def test_what_is_kept_changes_no_byte(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    history = data.draw(histories(document))
    order = Random(data.draw(st.integers(0, 2**32)))
    keeping, plain = document.new(), document.new()
    for op, event in history.delivery(history.everything, order):
        deliver(document, keeping, op, event)
        deliver(document, plain, op, event)
        if order.random() < 0.7:  # else the next op comes before it is written
            written_alike(document, keeping, plain)
        if order.random() < 0.2:
            keeping = document.copy(keeping)
    floor = dict(plain.vector)
    for change in (document.prune, lambda state, floor: document.fold(state, dict.fromkeys(floor, ""))):
        change(keeping, floor)
        change(plain, floor)
        written_alike(document, keeping, plain)
    delete = document.prepare(plain, "z", 9, DOCUMENT, DELETE, None)
    for state in (keeping, plain):
        merge(document, state, delete)
    written_alike(document, keeping, plain)


def test_a_settled_field_is_written_anew() -> None:
    document = cases.document(["register"])
    keeping, plain = document.new(), document.new()
    for state in (keeping, plain):
        for replica in "ab":
            merge(document, state, document.prepare(document.new(), replica, 1, "register", "set", replica))
    written_alike(document, keeping, plain)
    for state in (keeping, plain):
        assert document.settle(state, Place("register"), 1_000) is not None
    written_alike(document, keeping, plain)


def test_a_copy_keeps_for_itself() -> None:
    document = cases.document(["counter", "register"])
    state = document.new()
    for seq, field in enumerate(("counter", "register"), 1):
        kind, value = ("increment", 1) if field == "counter" else ("set", "x")
        merge(document, state, document.prepare(state, "a", seq, field, kind, value))
    state.made = Made({}, {})
    before = document.encode(state)
    copied = document.copy(state)
    merge(document, copied, document.prepare(copied, "a", 9, "counter", "increment", 5))
    assert document.encode(copied) != before
    assert document.encode(state) == before
    assert set(state.made.parts) == {"counter", "register"}
