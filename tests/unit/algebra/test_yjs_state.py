"""A text as bytes: lighter than in pycrdt itself, and pages of it within the default bound."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc

from driftlog_crdt import BadEncoding, DocumentType, Field, List, Text, TooLarge
from driftlog_crdt.yjs_client import client_of
from driftlog_crdt.yjs_state import pack, unpack
from tests.few import few
from tests.properties.encodings import of_field
from tests.unit.algebra.editing_trace import NOTE, Session, read_trace

PAGE = 3_000
MEBIBYTE = 1 << 20


@pytest.mark.parametrize("transactions", few([2000, 6000], 1))
@pytest.mark.parametrize("name", ["sveltecomponent", "friendsforever"])
def test_a_stored_session_takes_three_quarters_of_the_bytes_that_pycrdt_takes(name: str, transactions: int) -> None:
    """pycrdt repeats the 53 bits of its client's id with each run; stored, each stands there once. Nothing of it is a matter of chance."""
    session = Session(read_trace(name))
    session.play(transactions)
    state, raw = NOTE.new(), Doc[Any]()
    for made in session.ops:
        for op in made:
            NOTE.apply(state, op)
    data = NOTE.encode(state)
    raw.apply_update(state.fields["body"].doc.get_update())
    assert len(data) <= 0.75 * len(raw.get_update())
    again = NOTE.decode(data)
    assert (NOTE.values(again), NOTE.encode(again)) == (NOTE.values(state), data)


def test_every_client_is_named_once() -> None:
    kind = DocumentType("Note", {"body": Field(Text())})
    views = {name: kind.new() for name in ("ann", "bob")}
    for turn in range(40):
        name = ("ann", "bob")[turn % 2]
        op = kind.prepare(views[name], name, turn, "body", "insert", [turn // 2, "xy"])
        for view in views.values():
            kind.apply(view, op)
    data = kind.encode(views["ann"])
    assert kind.encode(views["bob"]) == data
    for name in views:
        assert data.count(client_of(name).to_bytes(8, "big")) == 1


@pytest.mark.parametrize("text", ["x", "é", "本"])
def test_many_pages_fit_and_twice_as_many_bytes_still_fit_a_record(text: str) -> None:
    kind = DocumentType("Note", {"body": Field(Text())})
    state = kind.new()
    for page in range(40):
        op = kind.prepare(state, "ann", page, "body", "insert", [page * PAGE, text * PAGE])
        kind.apply(state, op)
    data = kind.encode(state)
    assert len(data) < kind.max_bytes and 2 * kind.max_bytes < MEBIBYTE - 16 * 1024
    assert kind.values(kind.decode(data))["body"] == text * PAGE * 40


def test_over_its_bound_a_text_is_refused_with_both_figures() -> None:
    kind = DocumentType("Note", {"body": Field(Text())})
    state = kind.new()
    for _ in range(2):
        kind.apply(state, kind.prepare(state, "ann", 1, "body", "insert", [0, "x" * 300_000]))
    with pytest.raises(TooLarge, match=r"60\d{4} bytes of state, at most 491520"):
        kind.encode(state)


def test_elements_and_what_was_deleted_come_back() -> None:
    kind = DocumentType("Tour", {"stops": Field(List())})
    state = kind.new()
    kind.apply(state, kind.prepare(state, "a", 1, "stops", "insert", [0, ["Ulm", {"city": "Köln"}, 7]]))
    kind.apply(state, kind.prepare(state, "b", 1, "stops", "delete", [1, 1]))
    again = kind.decode(kind.encode(state))
    assert kind.values(again) == {"stops": ["Ulm", 7]}
    kind.apply(again, kind.prepare(again, "a", 2, "stops", "insert", [2, [8]]))
    assert kind.values(again) == {"stops": ["Ulm", 7, 8]}


def test_every_truncation_and_every_other_client_is_refused() -> None:
    doc: Doc[Any] = Doc(client_id=client_of("ann"))
    from pycrdt import Text as YText

    doc.get("s", type=YText).insert(0, "hello")
    update = doc.get_update()
    data = pack(update, [client_of("ann")])
    assert unpack(data) == (update, {}, b"")
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            unpack(data[:length])
    with pytest.raises(ValueError, match="not listed"):
        pack(update, [client_of("bob")])
    kind = DocumentType("Note", {"body": Field(Text())})
    with pytest.raises(BadEncoding):
        kind.decode(of_field("body", "text"))
