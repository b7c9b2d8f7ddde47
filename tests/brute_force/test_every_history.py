"""Every history of up to two ops, and a fixed part of those of three and four; with `--every-history` all of them (hours)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

import pytest

from driftlog_crdt import DocumentType
from tests.brute_force.cast import changes, documents
from tests.brute_force.judge import judge
from tests.brute_force.play import Impossible, Played, play
from tests.brute_force.shapes import Shape, shapes

OPS = 4
PARTS = {3: 1_500, 4: 1_500}
"""How many histories of a length are played, where not all are."""

DOCUMENTS = documents()


@pytest.mark.parametrize("length", range(1, OPS + 1))
@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_every_small_history_is_as_the_reference_model_says(
    name: str, document: DocumentType, length: int, request: pytest.FixtureRequest
) -> None:
    part = 0 if request.config.getoption("--every-history") else PARTS.get(length, 0)
    count = 0
    for shape, chosen in _histories(document, length, part):
        try:
            played = play(document, shape, chosen)
        except Impossible:
            continue
        count += 1
        try:
            judge(played)
        except AssertionError as error:
            error.add_note(_told(played, shape))
            raise
    assert count, "no history of this length was possible"


def _histories(document: DocumentType, length: int, part: int) -> Iterator[tuple[Shape, tuple[object, ...]]]:
    every = list(changes(document))
    if not part:
        yield from product(shapes(length), product(every, repeat=length))
        return
    source = Random(length)
    for _ in range(part):
        yield source.choice(shapes(length)), tuple(source.choices(every, k=length))


def _told(played: Played, shape: Shape) -> str:
    lines = [f"{event!r} -> {place}" for event, place in zip(played.events, shape, strict=True)]
    return "\n".join([f"{played.document.on_delete}, in the order in which they were made:", *lines])
