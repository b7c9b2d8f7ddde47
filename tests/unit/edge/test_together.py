"""The classes of commands that come into the queue together: as declared, but that order within a document holds."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from driftlog_crdt import Op
from driftlog_edge.outgoing.together import classes_of
from driftlog_edge.store import keys
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, DocumentOp

CRITICAL, HIGH, NORMAL, LOW = range(4)
FIVE_MINUTES, ON_WIFI = keys.WAITING + 600, keys.WAITING + 900


def on(*documents: str) -> Command:
    ops = tuple(
        DocumentOp(DocumentId("Stock", "s1", name), Op("store-1.1", 1, 1, "on_hand", "increment", 1))
        for name in documents
    )
    return Command("c", "receive", "s1", 1, ops)


def sorted_out(*given: tuple[int, Command]) -> list[int]:
    """The classes of these (class by what is declared, command), in order."""
    commands = {lsn: command for lsn, (_, command) in enumerate(given, 1)}
    declared = {id(command): urgency for urgency, command in given}
    found = classes_of(commands, lambda command: declared[id(command)])
    return [found[lsn] for lsn in commands]


def test_each_waits_where_it_is_declared() -> None:
    assert sorted_out((NORMAL, on("a")), (CRITICAL, on("b")), (LOW, on("c")), (FIVE_MINUTES, on("d"))) == [
        *(NORMAL, CRITICAL, LOW, FIVE_MINUTES)
    ]


def test_an_urgent_one_takes_the_earlier_ones_of_its_documents_along_and_theirs_in_turn() -> None:
    found = sorted_out((LOW, on("a")), (NORMAL, on("a", "b")), (LOW, on("c")), (CRITICAL, on("b")), (LOW, on("b")))
    assert found == [CRITICAL, CRITICAL, LOW, CRITICAL, LOW]


def test_what_waits_for_moments_waits_together_where_it_hangs_together() -> None:
    found = sorted_out((FIVE_MINUTES, on("a")), (ON_WIFI, on("a", "b")), (ON_WIFI, on("b")), (ON_WIFI, on("c")))
    assert found == [FIVE_MINUTES, FIVE_MINUTES, FIVE_MINUTES, ON_WIFI]
    assert sorted_out((ON_WIFI, on("a")), (HIGH, on("a")), (FIVE_MINUTES, on("a"))) == [HIGH, HIGH, FIVE_MINUTES]


@pytest.mark.parametrize("seed", range(50))
def test_order_within_a_document_holds_whatever_comes_together(seed: int) -> None:
    chance = Random(seed)
    given = [
        (
            chance.choice((CRITICAL, HIGH, NORMAL, LOW, FIVE_MINUTES, ON_WIFI)),
            on(*chance.sample("abcdef", chance.randint(1, 3))),
        )
        for _ in range(chance.randint(1, 30))
    ]
    found = sorted_out(*given)
    assert all(urgency <= declared for urgency, (declared, _) in zip(found, given, strict=True))
    for name in "abcdef":
        classes = [
            urgency
            for urgency, (_, command) in zip(found, given, strict=True)
            if any(document.id == name for document, _ in command.ops)
        ]
        assert all(one <= other for one, other in pairwise(classes))
        assert len({urgency for urgency in classes if urgency >= keys.WAITING}) <= 1
