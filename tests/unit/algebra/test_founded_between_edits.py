"""A text that was founded anew between two edits: who had not read that names old elements, and what others have put between them since."""

from __future__ import annotations

from itertools import count

import pytest

from driftlog_crdt import DocumentState, DocumentType, Field, Op, Text, sequence

NOTE = DocumentType("Note", {"text": Field(Text())})


def insert(view: DocumentState, replica: str, hlc: int, place: int, run: str) -> Op:
    """Written by a replica that knows the outcome of all that it wrote."""
    op = NOTE.prepare(view, replica, hlc, "text", "insert", [place, run])
    NOTE.apply(view, op)
    return op


BETWEEN = {
    "its own old one and another's new one": (
        "b",
        [("a", 0, "ab"), ("b", 0, "cd")],
        [("c", 3, "ef"), ("a", 5, "gh")],
        "cdaefghb",
    ),
    "others' old ones, with an own run beside a new one": (
        "a",
        [("a", 0, "ab")],
        [("b", 0, "cd"), ("c", 0, "ef"), ("c", 5, "gh")],
        "efcdaghb",
    ),
}


@pytest.mark.parametrize(("over", "before", "after", "shown"), BETWEEN.values(), ids=BETWEEN)
def test_an_edit_stands_where_it_was_written(
    over: str,
    before: list[tuple[str, int, str]],
    after: list[tuple[str, int, str]],
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequence, "pays", lambda over, going_on: over > 0)
    view, cloud, heirs = NOTE.new(), NOTE.new(), {over: after[0][0]}
    hlc = count(1)
    for replica, place, run in before:
        NOTE.apply(cloud, insert(view, replica, next(hlc), place, run))
    assert NOTE.fold(cloud, heirs)
    NOTE.prune(cloud, {})
    NOTE.found(cloud, len(before), 0)
    for replica, place, run in after:
        NOTE.apply(cloud, insert(view, replica, next(hlc), place, run), heirs)
    assert NOTE.values(cloud) == NOTE.values(view) == {"text": shown}
