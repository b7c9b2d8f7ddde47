"""A folder that was restored or copied goes on under a new life, and every command it answered counts exactly once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.lives import Chain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
OPS, STATE, RECEIPTS = "retail.ops", "retail.state", "retail.receipts"


class Folders:
    """Replicas of one device in folders that are copied."""

    def __init__(self, root: Path, identity: Identity, ids: FixedIds) -> None:
        self._root, self._identity, self._ids = root, identity, ids
        self._open: dict[str, Replica] = {}

    def open(self, name: str, identity: Identity | None = None) -> Replica:
        self._open[name] = Replica(self._root / name, identity or self._identity, self._ids)
        return self._open[name]

    def copy(self, name: str, to: str) -> None:
        """As a backup does it; the replica itself goes on."""
        self._open.pop(name).close()
        shutil.copytree(self._root / name, self._root / to)

    def close(self) -> None:
        for replica in self._open.values():
            replica.close()


@pytest.fixture
def folders(tmp_path: Path, identity: Identity, ids: FixedIds) -> Iterator[Folders]:
    made = Folders(tmp_path, identity, ids)
    yield made
    made.close()


def ship(replica: Replica, cloud: Cloud) -> None:
    """Everything out and merged; nothing back in."""
    for sealed in replica.ship():
        cloud.merge(sealed)
        replica.shipper.delivered(sealed, 0.0)


def pull(replica: Replica, cloud: Cloud, *kinds: str) -> None:
    """What is new of these topics."""
    for topic in kinds or (RECEIPTS, STATE):
        at = keys.unpack_number(replica.store.get(Family.META, keys.cursor_key(topic, S1)))
        new = cloud.of(topic, S1)[at:]
        if topic == RECEIPTS:
            replica.pull_receipts(new, S1)
        else:
            replica.pull_states(new, S1)


def settle(replica: Replica, cloud: Cloud) -> None:
    """Until nothing of it is open any more, through as many lives as it takes."""
    for _ in range(6):
        ship(replica, cloud)
        pull(replica, cloud)
        while replica.renewal.due:
            replica.renew(cloud.of(OPS, S1))
        if not replica.views.backlog:
            return
    raise AssertionError("it does not come to rest")


def receive(replica: Replica, command_id: str, qty: int) -> None:
    replica.do("receive", command_id, store="s1", sku="tea", qty=qty)


def merged(cloud: Cloud) -> int:
    """What the cloud counts."""
    rows = cloud.states[TEA].fields["on_hand"]
    return sum(up - down for up, down in (sums[:2] for sums in rows.values()))


def test_a_restored_older_copy_counts_everything_once(folders: Folders, cloud: Cloud) -> None:
    first = folders.open("a")
    receive(first, "settled", 1)
    settle(first, cloud)
    receive(first, "sealed", 10)
    first.ship()  # on its way when the backup is made
    receive(first, "unsealed", 100)
    folders.copy("a", "backup")
    first = folders.open("a")
    receive(first, "after", 1000)
    settle(first, cloud)
    old_life = first.lives.replica

    restored = folders.open("backup")
    receive(restored, "offline", 10_000)
    assert restored.on_hand("tea") == 10_111
    settle(restored, cloud)

    assert merged(cloud) == 11_111
    assert restored.on_hand("tea") == 11_111
    for command in ("settled", "sealed", "unsealed", "offline"):
        assert restored.entry(command).status is Status.MERGED
    life = restored.lives.newest
    assert (life.replica != old_life, life.rebased, life.review) == (True, 1, 0)


def test_two_copies_that_both_run_count_everything_once(folders: Folders, cloud: Cloud) -> None:
    one = folders.open("a")
    receive(one, "shared", 1)
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(one, "mine", 10)
    receive(other, "theirs", 100)
    ship(one, cloud)
    ship(other, cloud)  # forked: both sealed a first batch
    settle(other, cloud)
    receive(other, "later", 1000)
    settle(other, cloud)
    settle(one, cloud)
    pull(other, cloud)

    assert merged(cloud) == 1111
    assert one.on_hand("tea") == other.on_hand("tea") == 1111
    assert len(one.lives.all()) == 1, "the one that was heard goes on as it was"
    assert len(other.lives.all()) == 2


def test_a_batch_of_the_old_life_that_comes_late_is_not_taken(folders: Folders, cloud: Cloud) -> None:
    one = folders.open("a")
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(other, "slow", 1)
    (late,) = other.ship()
    receive(one, "quick", 10)
    settle(one, cloud)
    settle(other, cloud)
    assert merged(cloud) == 11

    cloud.merge(late)
    settle(other, cloud)

    assert merged(cloud) == 11
    assert len(other.lives.all()) == 2


def test_one_flipped_bit_in_the_stored_head_costs_a_life_and_nothing_else(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "before", 1)
    settle(replica, cloud)
    chain = replica.lives.chain("retail", S1)
    flipped = bytes((chain.head[0] ^ 1,)) + chain.head[1:]
    damaged = Chain(chain.replica, chain.number, flipped, chain.settled, chain.settled_head, chain.offset)
    replica.journal.stage(replica.lives.written("retail", S1, damaged), sync=True)
    receive(replica, "after", 10)
    settle(replica, cloud)
    receive(replica, "later", 100)
    settle(replica, cloud)

    assert merged(cloud) == replica.on_hand("tea") == 111
    assert len(replica.lives.all()) == 2


def test_an_emptied_folder_is_a_new_replica_at_once(folders: Folders, cloud: Cloud) -> None:
    first = folders.open("a")
    receive(first, "lost-with-the-folder", 1)
    settle(first, cloud)
    emptied = folders.open("empty")
    receive(emptied, "c1", 10)
    settle(emptied, cloud)

    assert emptied.lives.replica != first.lives.replica
    assert merged(cloud) == emptied.on_hand("tea") == 11


def test_a_rebased_write_keeps_what_its_writer_had_seen(folders: Folders, cloud: Cloud) -> None:
    """A price set before the copy was restored is beside the one that came meanwhile, not over it."""
    first = folders.open("a")
    first.do("reprice", "old", store="s1", sku="tea", price=1)
    settle(first, cloud)
    folders.copy("a", "backup")
    first = folders.open("a")
    first.do("reprice", "newer", store="s1", sku="tea", price=2)
    settle(first, cloud)
    restored = folders.open("backup")
    restored.do("reprice", "mine", store="s1", sku="tea", price=3)
    settle(restored, cloud)

    (op,) = [op for batch in cloud.batches[-1:] for command in batch.commands for _, op in command.ops]
    assert op.replica == restored.lives.replica
    assert op.context == {first.lives.replica: 1}, "it had seen the first price, not the second"


def test_what_can_still_be_taken_is_not_taken_along(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "c1", 1)
    (sent,) = replica.ship()
    chain = replica.lives.chain("retail", S1)
    replica.journal.stage(replica.lives.written("retail", S1, replace(chain, fork="forked")), sync=True)
    assert not replica.renewal.ready("retail", S1), "nobody knows yet what becomes of the batch that was sent"
    cloud.merge(sent)
    pull(replica, cloud)
    assert replica.renewal.ready("retail", S1)
    replica.renew(cloud.of(OPS, S1))
    settle(replica, cloud)
    assert merged(cloud) == 1


def test_what_nobody_can_tell_any_more_goes_to_a_person(folders: Folders, cloud: Cloud) -> None:
    """The log no longer has the batches between our copy and the head."""
    first = folders.open("a")
    receive(first, "maybe", 1)
    folders.copy("a", "backup")
    first = folders.open("a")
    settle(first, cloud)
    receive(first, "more", 10)
    settle(first, cloud)
    restored = folders.open("backup")
    receive(restored, "maybe-not", 100)
    receive(restored, "surely-not", 1000)
    pull(restored, cloud)
    restored.renew([])
    settle(restored, cloud)

    said = {name: restored.entry(name) for name in ("maybe", "maybe-not", "surely-not")}
    assert [entry.status for entry in said.values()] == [Status.REVIEW, Status.REVIEW, Status.MERGED]
    assert said["maybe"].code == "maybe_counted"
    assert merged(cloud) == restored.on_hand("tea") == 1011
    assert (restored.lives.newest.rebased, restored.lives.newest.review) == (1, 2)


def test_a_folder_given_to_another_device_goes_on_under_its_name(folders: Folders, cloud: Cloud) -> None:
    first = folders.open("a")
    receive(first, "merged-unknown-to-it", 1)
    ship(first, cloud)
    receive(first, "unsent", 10)
    folders.copy("a", "moved")
    moved = folders.open("moved", Identity.create("store-2"))
    pull(moved, cloud, STATE)
    moved.renew([])
    receive(moved, "later", 100)
    settle(moved, cloud)

    assert moved.lives.replica.startswith("store-2.")
    assert moved.entry("merged-unknown-to-it").status is Status.REVIEW
    assert merged(cloud) == moved.on_hand("tea") == 111
