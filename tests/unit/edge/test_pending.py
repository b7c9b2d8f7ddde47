"""The entries of the pending index."""

from __future__ import annotations

import pytest

from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.pending import Fate, Mark, mark_of
from tests.unit.edge.replica import Replica

DOCUMENT = b"Stock/s1/tea"


@pytest.mark.parametrize("offset", [-1, 0, 7])
def test_an_entry_is_read_as_it_was_written(replica: Replica, offset: int) -> None:
    mark = Mark(5, Fate.TAKEN, "store-1.abcdefgh", 3, 2, offset)
    replica.store.write({(Family.PENDING, keys.pending_key(DOCUMENT, 5)): mark.encode()}, sync=False)
    assert mark_of(replica.store, DOCUMENT, 5) == mark


def test_an_entry_of_the_release_before_waits_for_its_state(replica: Replica) -> None:
    before = b"a" + keys.pack_pair(3, 2) + b"store-1.abcdefgh"
    replica.store.write({(Family.PENDING, keys.pending_key(DOCUMENT, 5)): before}, sync=False)
    found = mark_of(replica.store, DOCUMENT, 5)
    assert found == Mark(5, Fate.TAKEN, "store-1.abcdefgh", 3, 2)
    assert not found.shown_by(1 << 40)
