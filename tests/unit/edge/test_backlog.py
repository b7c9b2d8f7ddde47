"""How many commands are pending, and which is the oldest: the same as counting, without counting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.journal import Journal
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_journal import Memory


@settings(max_examples=200, deadline=None)
@given(gaps=st.lists(st.integers(1, 3), max_size=30), order=st.randoms(use_true_random=False))
def test_it_is_the_set_of_what_was_added_and_not_dropped(gaps: list[int], order: object) -> None:
    backlog, pending = Backlog(Journal(Memory())), set()
    lsn = 0
    for gap in gaps:
        lsn += gap
        backlog.added(lsn)
        pending.add(lsn)
        if order.random() < 0.5:  # type: ignore[attr-defined]
            gone = order.choice(sorted(pending))  # type: ignore[attr-defined]
            backlog.dropped(gone)
            pending.discard(gone)
        assert (len(backlog), backlog.oldest) == (len(pending), min(pending, default=None))
        assert backlog.after(0, 100) == sorted(pending)
        assert backlog.after(lsn - 2, 2) == sorted(n for n in pending if n > lsn - 2)[:2]


def test_it_is_counted_from_the_store_at_the_start(lives: Callable[..., Replica]) -> None:
    replica = lives()
    replica.do("receive", store="s1", sku="tea", qty=9)
    replica.do("sell", store="s1", sku="tea", qty=1)

    assert (len(lives().views.backlog), lives().views.backlog.oldest) == (2, 1)


def test_it_is_as_before_after_a_failed_write(replica: Replica) -> None:
    replica.do("receive", store="s1", sku="tea", qty=9)
    replica.run("sell", store="s1", sku="tea", qty=1)
    assert len(replica.views.backlog) == 2

    replica.journal.failed(RuntimeError("the disk"))

    assert len(replica.views.backlog) == 1


def test_it_keeps_few_numbers_however_long_the_backlog(tmp_path: Path) -> None:
    backlog = Backlog(Journal(Memory()))
    for lsn in range(1, 10_001):
        backlog.added(lsn)
    for lsn in range(1, 5_001):
        if lsn != 7:  # one is stuck
            backlog.dropped(lsn)

    assert (len(backlog), backlog.oldest) == (5_001, 7)
    assert len(backlog._first) == 2
