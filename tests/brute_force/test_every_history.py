"""Every history of up to two ops, and a fixed part of those of three and four; with `--every-history` all of them (hours)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from driftlog_crdt import DocumentType
from tests.brute_force.cast import NAMED, changes, documents
from tests.brute_force.judge import judge
from tests.brute_force.play import Impossible, Played, all_of, play
from tests.brute_force.shapes import shapes, unordered

OPS = 4
PART, FULL = 500, 1_500
"""How many histories of three and of four ops are played, where not all are."""

DOCUMENTS = documents()


@pytest.mark.parametrize("length", range(1, OPS + 1))
@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_every_small_history_is_as_the_reference_model_says(
    name: str, document: DocumentType, length: int, full: bool, request: pytest.FixtureRequest
) -> None:
    every = length < 3 or request.config.getoption("--every-history")
    count = 0
    for played in _every(document, length) if every else _some(document, length, FULL if full else PART):
        count += 1
        try:
            judge(played)
        except AssertionError as error:
            error.add_note(_told(played))
            raise
    assert count, "no history of this length was possible"


def _every(document: DocumentType, length: int) -> Iterator[Played]:
    """Of four ops none twice: where nothing depends on names and clocks, neither do we ask for all of them."""
    every = changes(document)
    named = length < OPS or any(name in NAMED for name in (document.unit, *document.fields))
    for shape in shapes(length) if named else unordered(length):
        yield from all_of(document, shape, every, once=length == OPS)


def _some(document: DocumentType, length: int, part: int) -> Iterator[Played]:
    every = changes(document)
    source = Random(length)
    for _ in range(part):
        with suppress(Impossible):
            yield play(document, source.choice(shapes(length)), source.choices(every, k=length))


def _told(played: Played) -> str:
    lines = [
        f"{event!r}, told {event.seq - 1 - op.unsure}" for event, op in zip(played.events, played.ops, strict=True)
    ]
    return "\n".join([f"{played.document.on_delete}, in the order in which they were made:", *lines])
