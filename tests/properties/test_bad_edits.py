"""An edit of a text or list that did not come from `prepare` is read to the last byte, and refused if it says anything else."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pycrdt import Array, Doc
from pycrdt import Text as YText

from driftlog_crdt import AlgebraError, BadOperation, BadValue, Op
from driftlog_crdt.yjs_client import client_of
from tests.properties.cases import document

everything = document(["text", "list"])


def edit(field: str, kind: str, carried: str) -> Op:
    return Op("a", 1, 0, field, kind, carried, {})


def crafted(client: int, root: Any, name: str, *runs: Any) -> str:
    """What an op of a text or list would carry if its writer went around `prepare`: each run put at the end."""
    doc: Doc[Any] = Doc(client_id=client)
    held = doc.get(name, type=root)
    edits: list[bytes] = []
    watch = doc.observe(lambda event: edits.append(event.update))
    with doc.transaction():
        for run in runs:
            held += run
    doc.unobserve(watch)
    return base64.b64encode(edits[0]).decode()


@pytest.mark.parametrize(
    "element", ["not json", "NaN", '{"a": 1}', '{"b":1,"a":1}', "1e999", "1.00", '"\\ud800"', "[" * 50 + "]" * 50]
)
def test_an_element_that_is_no_canonical_plain_value_is_refused(element: str) -> None:
    with pytest.raises(BadValue, match=r"^list: an element that is "):
        everything.check(edit("list", "insert", crafted(client_of("a"), Array, "s", [element])))


def test_an_element_in_canonical_form_passes() -> None:
    everything.check(edit("list", "insert", crafted(client_of("a"), Array, "s", ['{"a":[1,1.5,null,"é"]}', "true"])))


@pytest.mark.parametrize(
    ("field", "carried", "complaint"),
    [
        ("text", crafted(client_of("b"), YText, "s", "hi"), "in the name of another"),
        ("list", crafted(client_of("b"), Array, "s", ["1"]), "in the name of another"),
        ("text", crafted(client_of("a"), YText, "t", "hi"), "another root"),
        ("text", crafted(client_of("a"), Array, "s", ["1"]), "elements cannot stand in a text"),
        ("list", crafted(client_of("a"), YText, "s", "hi"), "a text cannot stand in a list"),
        ("list", crafted(client_of("a"), Array, "s", [1.0]), "an element that is not a text"),
        ("list", crafted(client_of("a"), Array, "s", [b"1"]), "neither text nor elements|not a text"),
    ],
)
def test_an_edit_that_goes_around_its_author_is_refused(field: str, carried: str, complaint: str) -> None:
    with pytest.raises(AlgebraError, match=rf"^{field}: .*({complaint})"):
        everything.check(edit(field, "insert", carried))


def test_a_delete_is_no_insert_and_an_insert_no_delete() -> None:
    state = everything.new()
    insert = everything.prepare(state, "a", 0, "text", "insert", [0, "hi"])
    everything.apply(state, insert)
    delete = everything.prepare(state, "a", 0, "text", "delete", [0, 1])
    for made, kind in ((insert, "delete"), (delete, "insert")):
        with pytest.raises(BadOperation, match=f"what this {kind} carries is not one"):
            everything.check(made._replace(kind=kind))


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_edit_with_a_byte_more_or_some_bytes_less_is_refused(cut: int) -> None:
    whole = base64.b64decode(crafted(client_of("a"), YText, "s", "hi"))
    for broken in (whole[:-cut], whole + b"\0" * cut):
        with pytest.raises(BadValue, match=r"^text: insert carries an edit as base64 text"):
            everything.check(edit("text", "insert", base64.b64encode(broken).decode()))
