"""What is left out of the histories of four ops shows nothing that those played do not show: checked where all can be played."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.brute_force.cast import NAMED, changes, documents
from tests.brute_force.play import Played, all_of
from tests.brute_force.shapes import Shape, shapes, unordered
from tests.reference_model.history import text

DOCUMENTS = dict(documents())
OPS = 3
OTHER_WAY_ROUND = str.maketrans("xy", "yx")


@pytest.mark.parametrize("name", ["counter", "register", "add_wins_set", "grow_set"])
@pytest.mark.parametrize("policy", ["delete-wins", "update-wins"])
def test_the_histories_played_once_show_all_that_there_is(name: str, policy: str) -> None:
    document = DOCUMENTS[f"{name}, {policy}"]
    chosen = shapes(OPS) if name in NAMED else unordered(OPS)

    def shown(which: Iterable[Shape], *, once: bool) -> set[tuple[object, ...]]:
        return {_shown(played) for shape in which for played in all_of(document, shape, changes(document), once=once)}

    assert shown(chosen, once=True) == shown(shapes(OPS), once=False)


def _shown(played: Played) -> tuple[object, ...]:
    """Without the names of values, and of the ops that had no effect."""
    state = played.fold(played.all)
    values = text(played.document.values(state))
    named = min(values, values.translate(OTHER_WAY_ROUND))
    believed = sorted(len(event.believed) for event in played.events)
    refused = sorted(event.refused or "" for event in played.events)
    return named, played.document.exists(state), played.document.deleted(state), *believed, *refused
