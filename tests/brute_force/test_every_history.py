"""Every history of up to two ops, and a fixed part of those of three and four; with `--every-history` all of them (hours).

All of them are many tests, each of a slice of the shapes, so that they can be divided and taken up again: `--part=2/5` plays the second fifth, and with
`--book=FILE` nothing is played twice on the same code (see `book`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from driftlog_crdt import DocumentType
from tests.brute_force.book import Book
from tests.brute_force.cast import NAMED, changes, documents
from tests.brute_force.judge import judge
from tests.brute_force.play import Impossible, Played, all_of, play
from tests.brute_force.shapes import Shape, shapes, unordered

OPS = 4
FEW, PART, FULL = 150, 500, 1_500
"""How many histories of three and of four ops are played, where not all are."""

SLICE = 100
"""How many shapes a test takes where all are played."""

DOCUMENTS = documents()


class Case(NamedTuple):
    """What one test plays."""

    name: str
    document: DocumentType
    length: int
    shapes: Sequence[Shape] = ()
    """All histories of these; a part of all histories if there are none."""

    def histories(self, part: int) -> Iterator[Played]:
        every = changes(self.document)
        for shape in self.shapes:
            yield from all_of(self.document, shape, every, once=self.length == OPS)
        if not self.shapes:
            yield from _some(self.document, self.length, part)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        option = metafunc.config.getoption
        cases = part_of(option("--part"), all_cases(every=option("--every-history")))
        metafunc.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def book(request: pytest.FixtureRequest) -> Book | None:
    path = request.config.getoption("--book")
    return Book(Path(path)) if path else None


@pytest.mark.deepens
def test_every_small_history_is_as_the_reference_model_says(
    case: Case, full: bool, deep: bool, book: Book | None
) -> None:
    if book is not None and case.name in book:
        pytest.skip("was played on this code")
    count = 0
    for played in case.histories(FULL if full else PART if deep else FEW):
        count += 1
        try:
            judge(played)
        except AssertionError as error:
            error.add_note(_told(played))
            raise
    assert count, "no history of this length was possible"
    if book is not None:
        book.add(case.name)


def part_of(text: str, cases: Iterable[Case]) -> list[Case]:
    """Every so many of them: `2/5` is the second of five parts."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise pytest.UsageError(f"--part={text}: expected for example 2/5")
    return list(cases)[number - 1 :: parts]


def all_cases(*, every: bool) -> Iterator[Case]:
    """The short histories first."""
    for length in range(1, OPS + 1):
        for name, document in DOCUMENTS:
            if length < 3:
                yield Case(f"{name}-{length}", document, length, shapes(length))
            elif not every:
                yield Case(f"{name}-{length}", document, length)
            else:
                yield from _slices(name, document, length)


def _slices(name: str, document: DocumentType, length: int) -> Iterator[Case]:
    """Of four ops none twice: where nothing depends on names and clocks, neither do we ask for all of them."""
    named = length < OPS or any(part in NAMED for part in (document.unit, *document.fields))
    found = shapes(length) if named else unordered(length)
    for first in range(0, len(found), SLICE):
        last = min(first + SLICE, len(found))
        yield Case(
            f"{name}-{length}, shapes {first + 1} to {last} of {len(found)}", document, length, found[first:last]
        )


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
