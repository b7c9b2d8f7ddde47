"""Where the cloud ends the lives of many partitions at once, a folder goes on under one new life, and each command counts once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_edge.store import lives as reasons
from driftlog_edge.store.lives import SHARED
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.life_watch import MAX_LIVES
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

OWN = (reasons.FORKED, reasons.FOREIGN_DOT, reasons.PURGED, reasons.GIVEN_UP, reasons.UNSEEN, reasons.CROWDED)
SCOPES = {partition_of(scope, PARTITIONS): scope for scope in (f"s{number}" for number in range(50))}


@pytest.fixture
def replica(lives: Callable[..., Replica]) -> Replica:
    """With something that waits in each partition."""
    made = lives(scopes=tuple(SCOPES.values()))
    for partition, scope in SCOPES.items():
        made.do("receive", f"of {partition}", store=scope, sku="tea", qty=1)
    return made


def end(replica: Replica, why: str, partition: int) -> None:
    """The life that writes in a partition cannot go on."""
    chain = replace(replica.lives.chain("retail", partition), fork=why)
    replica.journal.stage(replica.lives.written("retail", partition, chain), sync=True)
    replica.commit()


def followed(replica: Replica, cloud: Cloud, partition: int) -> str:
    """Which life follows there, once the cloud knows that the one before is over."""
    last = replica.end_the_old_life(partition)
    assert last is not None
    cloud.merge(last)
    replica.pull_receipts(cloud.of("retail.receipts", partition), partition)
    for step in replica.renewal.gathered("retail", partition, replica.renewal.known("retail", partition, [])):
        replica.renewed(partition, step)
    work = replica.renewal.begun("retail", partition, replica.renewal.known("retail", partition, []))
    while True:
        try:
            next(work)
        except StopIteration as done:
            replica.renewed(partition, done.value)
            break
    replica.take_along(partition)
    return replica.lives.writing("retail", partition)


@pytest.mark.parametrize("why", sorted(SHARED))
def test_one_life_follows_in_all_partitions(replica: Replica, cloud: Cloud, ids: FixedIds, why: str) -> None:
    assert len(SCOPES) == PARTITIONS > MAX_LIVES, "as many lives would be taken for those of a copied folder"
    first = replica.lives.replica
    for partition in SCOPES:
        end(replica, why, partition)
    found = {followed(replica, cloud, partition) for partition in SCOPES}
    assert found == {replica.lives.replica} and first not in found
    assert [life.why for life in replica.lives.all()] == ["", why]
    assert replica.lives.newest.rebased == len(SCOPES)
    for sealed in replica.ship():
        batch = decode_body(BatchCodec(ids).open(sealed.value).body)
        assert batch.replica == replica.lives.replica and batch.ends == (first,)
        cloud.merge(sealed)
    counted = [command.id for batch in cloud.batches for command in batch.commands]
    assert sorted(counted) == sorted(f"of {partition}" for partition in SCOPES)


@pytest.mark.parametrize("why", sorted(SHARED))
def test_where_that_life_ends_too_another_one_follows(replica: Replica, cloud: Cloud, why: str) -> None:
    one, other, *_ = SCOPES
    end(replica, why, one)
    second = followed(replica, cloud, one)
    for partition in (one, other):
        replica.do("receive", f"again {partition}", store=SCOPES[partition], sku="tea", qty=1)
        end(replica, why, partition)
    third = followed(replica, cloud, one)
    assert third not in {second, replica.lives.all()[0].replica}
    assert followed(replica, cloud, other) == third


@pytest.mark.parametrize("why", OWN)
def test_what_one_partition_has_met_alone_says_nothing_of_the_others(replica: Replica, cloud: Cloud, why: str) -> None:
    """Another folder may speak under the newest name as well."""
    for partition in SCOPES:
        end(replica, why, partition)
    assert len({followed(replica, cloud, partition) for partition in SCOPES}) == len(SCOPES)


def test_a_life_of_another_reason_is_not_taken_up(replica: Replica, cloud: Cloud) -> None:
    one, other, *_ = SCOPES
    end(replica, reasons.FORKED, one)
    end(replica, reasons.MADE_ANEW, other)
    assert followed(replica, cloud, one) != followed(replica, cloud, other)


def test_a_life_that_somebody_else_speaks_for_is_not_taken_up_again(replica: Replica, cloud: Cloud) -> None:
    """As where the folder was restored, and went on before under the same names."""
    one, other, *_ = SCOPES
    for partition in (one, other):
        end(replica, reasons.AWAY, partition)
    second = followed(replica, cloud, one)
    device = device_of(second)
    cloud.publish_row(ChainRow(device, second, "retail", other, 1, b"theirs", 1, (), offset=3))
    refused = replica.end_the_old_life(other)
    assert refused is not None and replica.lives.replica == second
    cloud.merge(refused)
    replica.pull_receipts(cloud.of("retail.receipts", other), other)
    assert replica.renewal.succession("retail", other) is None
    third = followed(replica, cloud, other)
    assert third == replica.lives.replica != second


def test_it_stays_so_over_a_restart(replica: Replica, lives: Callable[..., Replica], cloud: Cloud) -> None:
    one, other, *_ = SCOPES
    for partition in (one, other):
        end(replica, reasons.MADE_ANEW, partition)
    first = replica.end_the_old_life(one)
    assert first is not None
    again = lives(scopes=tuple(SCOPES.values()))
    assert followed(again, cloud, other) == followed(again, cloud, one) == again.lives.replica
