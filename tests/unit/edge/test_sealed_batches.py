"""Which open batch of a partition is the lowest: what the cloud may forget of a chain depends on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_edge.errors import DiskFull
from driftlog_edge.ports import Family, Place
from driftlog_edge.store.sealed import Open
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)


def opened(replica: Replica, *numbers: int) -> dict[int, Open]:
    made = {number: Open("retail", S1, number, bytes(16), (number,)) for number in numbers}
    for batch in made.values():
        replica.journal.stage(replica.outbox.sealed.opening(batch, b"body"), sync=True)
    return made


def closed(replica: Replica, batch: Open) -> dict[Place, bytes | None]:
    writes = replica.outbox.sealed.settling(batch, ())
    replica.journal.stage(writes, sync=True)
    return writes


def floor(replica: Replica, number: int) -> int:
    return replica.outbox.sealed.floor("retail", S1, number)


def test_it_is_the_lowest_that_is_open_whatever_is_closed_first(replica: Replica) -> None:
    batches = opened(replica, 1, 2, 3)
    assert floor(replica, 4) == 1
    closed(replica, batches[2])
    assert floor(replica, 4) == 1
    closed(replica, batches[1])
    assert floor(replica, 4) == 3
    closed(replica, batches[3])
    assert floor(replica, 4) == 4
    opened(replica, 4)
    assert floor(replica, 5) == 4


def test_what_a_failed_write_has_opened_again_counts_again(replica: Replica) -> None:
    batches = opened(replica, 1, 2)
    replica.commit()
    closed(replica, batches[1])
    assert floor(replica, 3) == 2
    replica.store.full = True
    with pytest.raises(DiskFull):
        replica.commit()
    assert floor(replica, 3) == 1


def test_another_life_begins_with_the_first_again(replica: Replica) -> None:
    batches = opened(replica, 7)
    assert floor(replica, 8) == 7
    closed(replica, batches[7])
    assert floor(replica, 1) == 1
    opened(replica, 1)
    assert floor(replica, 2) == 1


def test_what_is_closed_is_not_looked_at_again(lives: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    replica = lives()
    for number, batch in opened(replica, *range(1, 101)).items():
        closed(replica, batch)
        assert floor(replica, number + 1) == min(number + 1, 100) or number == 100
    opened(replica, 101)
    assert floor(replica, 102) == 101
    looked = []
    keys = replica.journal._over.keys

    def counted(family: Family, prefix: bytes, after: bytes) -> list[bytes]:
        found = keys(family, prefix, after)
        looked.extend(found)
        return found

    monkeypatch.setattr(replica.journal._over, "keys", counted)
    assert floor(replica, 102) == 101
    assert len(looked) == 1
