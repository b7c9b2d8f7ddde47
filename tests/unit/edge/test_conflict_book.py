"""Which conflicts a document is in: the same as looking through all of them, without looking."""

from __future__ import annotations

import pytest

from driftlog_edge.asking import pages
from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.errors import DiskFull, NotFound
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ConflictStatus
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_linear import in_one_turn
from tests.unit.edge.test_puller import S1, TEA, dispute

COFFEE = DocumentId("Stock", "s1", "coffee")


@pytest.fixture
def book(replica: Replica, ids: FixedIds) -> ConflictBook:
    book = ConflictBook(replica.journal, RecordCodecs(ids))
    replica.puller.on_staged(lambda pulled: book.pulled(pulled.writes))
    return book


@pytest.mark.parametrize("asked_before", [True, False])
def test_it_follows_what_is_pulled(replica: Replica, cloud: Cloud, book: ConflictBook, asked_before: bool) -> None:
    if asked_before:
        assert book.of(TEA) == ()
    for number, document in enumerate((TEA, COFFEE, TEA)):
        replica.pull_conflicts([cloud.publish_conflict(dispute(document, conflict_id=f"x{number}"))], S1)
    assert (book.of(TEA), book.of(COFFEE), len(book)) == (("x0", "x2"), ("x1",), 3)

    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA, ConflictStatus.RESOLVED, "x0"))], S1)
    replica.pull_conflicts([cloud.publish("retail.conflicts", S1, b"x1", None)], S1)

    assert (book.of(TEA), book.of(COFFEE), len(book)) == (("x2",), (), 1)
    assert [c.id for c in book.all()] == ["x2"]
    assert [c.id for c in book.all(everything=True)] == ["x0", "x2"]
    assert book.get("x0").status is ConflictStatus.RESOLVED
    with pytest.raises(NotFound):
        book.get("x1")


@pytest.mark.parametrize("asked_before", [True, False])
def test_each_that_comes_is_told_also_one_that_is_over(
    replica: Replica, cloud: Cloud, book: ConflictBook, asked_before: bool
) -> None:
    told: list[tuple[str, ConflictStatus]] = []
    book.on_pulled(lambda conflict: told.append((conflict.id, conflict.status)))
    if asked_before:
        assert book.of(TEA) == ()
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA, ConflictStatus.RESOLVED, "x0"))], S1)
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA, conflict_id="x1"))], S1)
    replica.pull_conflicts([cloud.publish("retail.conflicts", S1, b"x0", None)], S1)

    assert told == [("x0", ConflictStatus.RESOLVED), ("x1", ConflictStatus.OPEN)]
    assert book.of(TEA) == ("x1",)


def test_what_could_not_be_kept_is_not_shown(replica: Replica, cloud: Cloud, book: ConflictBook) -> None:
    assert len(book) == 0
    replica.store.full = True
    with pytest.raises(DiskFull):
        replica.pull_conflicts([cloud.publish_conflict(dispute(TEA))], S1)

    assert (book.of(TEA), len(book), book.all()) == ((), 0, [])


async def test_a_list_comes_in_pages_that_are_bounded_in_number_and_in_bytes_and_lets_others_run(
    replica: Replica, cloud: Cloud, book: ConflictBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        status = ConflictStatus.RESOLVED if number % 2 else ConflictStatus.OPEN
        replica.pull_conflicts([cloud.publish_conflict(dispute(TEA, status, f"x{number:03d}"))], S1)

    async def walked(limit: int, *, everything: bool) -> tuple[list[str], int]:
        seen, after, count = [], "", 0
        while True:
            found, more = await book.page(limit, after, everything=everything)
            seen += [conflict.id for conflict in found]
            count += 1
            if not more:
                return seen, count
            after = seen[-1]

    for everything in (True, False):
        wanted = [conflict.id for conflict in book.all(everything=everything)]
        assert await walked(7, everything=everything) == (wanted, -(-len(wanted) // 7))
        assert await walked(1000, everything=everything) == (wanted, 1)
        with monkeypatch.context() as small:
            small.setattr(pages, "PAGE_BYTES", 1)
            assert await walked(1000, everything=everything) == (wanted, len(wanted))
    turns = in_one_turn(monkeypatch, RecordCodecs, "decode_conflict")
    await book.page(1000, "", everything=True)
    assert max(turns) <= 2 * pages.READ_AT_ONCE, "the end of one page and the begin of the next are one turn"
    for limit, after in ((0, ""), (1001, ""), (1, "\0")):
        with pytest.raises(InvalidInput):
            await book.page(limit, after)
