"""What the cloud has forgotten does not stand in the way of an edge's own ops that are still on their way."""

from __future__ import annotations

import pytest

from driftlog_crdt import Op
from driftlog_edge.store.views import View, apply_own
from driftlog_schemas.identity import DocumentId, document_key
from tests.unit.edge.shop import app

STOCK = app.contract.collection("Stock")
TEA = DocumentId("Stock", "s1", "tea")


def view_of(*writers: str) -> View:
    state = STOCK.document.new()
    for writer in writers:
        STOCK.document.apply(state, Op(writer, 1, 1, "on_hand", "increment", 5))
    return View(TEA, document_key(TEA), STOCK, state, 0)


def test_an_own_op_that_names_who_was_forgotten_still_shows() -> None:
    view = view_of("gone.1", "other.1")
    STOCK.document.fold(view.state, {"gone.1": "gone"})
    apply_own(view, Op("me.1", 1, 2, "name", "set", "tea", {"gone.1": 1, "other.1": 1}))
    assert STOCK.document.values(view.state)["name"] == "tea"


def test_an_own_op_on_a_purged_document_shows_nowhere() -> None:
    late = Op("me.1", 3, 2, "on_hand", "increment", 7)
    nothing = view_of()
    apply_own(nothing, late)
    assert not STOCK.document.exists(nothing.state)
    anew = view_of()
    STOCK.document.begin(anew.state, 9)
    STOCK.document.apply(anew.state, Op("other.1", 1, 1, "on_hand", "increment", 5))
    apply_own(anew, late)
    assert STOCK.document.values(anew.state)["on_hand"] == 5


def test_anywhere_else_a_gap_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="over a gap"):
        apply_own(view_of("other.1"), Op("me.1", 3, 2, "on_hand", "increment", 7))
