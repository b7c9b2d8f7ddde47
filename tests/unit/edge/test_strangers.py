"""What a stranger has written into the topics that an agent reads: passed over and counted where it cannot be the cloud's, and never in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_edge.incoming.groups import GroupAssembler
from driftlog_edge.incoming.intake import Intake
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.link.op_logs import NEAR, OpLogs
from driftlog_edge.ports import Chunk, Extent, Family, Record, Unreachable
from driftlog_edge.store.changes import ChangeLog
from driftlog_edge.store.committer import Committer
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import ChainRow, Notice
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
STATES = ("retail.state", S1)


# -- rows


def shipped(replica: Replica, cloud: Cloud) -> ChainRow:
    """A batch is merged, and its row not read yet."""
    replica.do("receive", store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    return cloud.merge(sealed)


@pytest.mark.parametrize(
    "bent",
    [
        lambda row: replace(row, last=-3, notice=Notice(1, b"x" * 8, 0, "early", "")),
        lambda row: replace(row, partition=-1),
        lambda row: replace(row, partition=S1 + 1),
        lambda row: replace(row, space="audit"),
        lambda row: replace(row, replica="store-1.elsewhere"),
        lambda row: replace(row, append_ms=1 << 62),
        lambda row: replace(row, skew_ms=-1),
        lambda row: replace(row, entries=(replace(row.entries[0], offset=-2),)),
    ],
)
def test_a_row_that_no_worker_writes_there_is_passed_over(
    replica: Replica, cloud: Cloud, bent: Callable[[ChainRow], ChainRow]
) -> None:
    row = shipped(replica, cloud)
    value = cloud._records.encode_chain_row(bent(row))
    pulled = replica.pull_receipts([Record(0, row.replica.encode(), value, (), 0)], S1)
    assert (pulled.unreadable, pulled.answered) == (1, ())

    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert replica.shipper.settled


# -- states


@pytest.mark.parametrize(
    ("key", "space", "partition"),
    [
        (document_key(TEA), "retail", (S1 + 1) % PARTITIONS),
        (document_key(TEA), "audit", 0),
        (b"Stock/s1/te%61", "retail", S1),
        (b"Gone/s1/tea", "retail", (S1 + 1) % PARTITIONS),
    ],
    ids=["another partition", "another space", "another way to write it", "of a newer release, another partition"],
)
def test_a_state_that_lies_where_it_does_not_belong_is_passed_over(
    replica: Replica, cloud: Cloud, key: bytes, space: str, partition: int
) -> None:
    """Its scope would differ from what the cloud says, for good."""
    cloud.write(TEA, "on_hand", "increment", 5)
    (genuine,) = cloud.of(*STATES)
    pulled = replica.pull_states([genuine._replace(key=key)], partition, space)
    assert pulled.unreadable == 1
    assert [*replica.store.scan(Family.CONFIRMED, b"")] == [*replica.store.scan(Family.UNREAD, b"")] == []


def test_a_state_that_makes_too_large_a_one_with_ours_is_passed_over(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    cloud.write(TEA, "name", "set", "ours")
    cloud.write(TEA, "tags", "add", "o" * 3000)
    replica.pull_states(cloud.of(*STATES), S1)
    other = Cloud(ids)
    other.write(TEA, "tags", "add", "x" * 3000, replica="elsewhere.1")
    pulled = replica.pull_states(other.of(*STATES), S1)
    assert pulled.unreadable == 1 and replica.value("Stock", "s1", "tea")["tags"] == ["o" * 3000]


@pytest.mark.parametrize("at_ms", [(1 << 63) - 1, 1 << 47, 1 << 46, -(1 << 62), -1])
def test_no_stamp_and_no_time_of_a_record_keeps_a_device_from_writing(
    replica: Replica, cloud: Cloud, at_ms: int
) -> None:
    rules = cloud._codecs["Stock"].collection.document
    state = cloud.states.setdefault(TEA, rules.new())
    rules.apply(state, rules.prepare(state, "office.1", (1 << 63) - 1, "name", "set", "late"))
    cloud.publish_group("retail", S1, [TEA], number=0)
    replica.pull_states([record._replace(timestamp_ms=at_ms) for record in cloud.of(*STATES)], S1)
    assert shipped(replica, cloud).last == 1


# -- numbers of groups that the op log does not have


class Followed:
    """What comes in of one partition of states, as it comes from a feed."""

    def __init__(self, replica: Replica, cloud: Cloud, ids: FixedIds) -> None:
        self.cloud, self.route = cloud, CloudRoute(cloud)
        self.committer = Committer(replica.journal, replica.store, ChangeLog(replica.store, "a"))
        self.logs = OpLogs(self.route.ask)
        self.pulled: list[Pulled] = []
        topics = {STATES[0]: ("retail", "state")}
        self.intake = Intake(topics, replica.puller, self.committer, ids, self.pulled.append, op_logs=self.logs)  # type: ignore[arg-type]
        self.intake.follow([STATES])
        self._read = 0

    async def read(self) -> bool:
        """What is new; is the replica in step?"""
        found = self.cloud.of(*STATES)[self._read :]
        self._read += len(found)
        return await self.intake.take(Chunk(*STATES, found, at_end=True))

    def looked(self) -> None:
        """The broker was asked for all that is followed."""
        ops = ("retail.ops", S1)
        self.logs.told({ops: Extent("", 0, len(self.cloud.of(*ops)))})

    async def close(self) -> None:
        await self.committer.drained()
        self.committer.close()


@pytest.mark.parametrize("number", [b"7" * 19, b"9" * 19, b"40", str(NEAR + 1).encode()])
@pytest.mark.parametrize("last", [True, False])
async def test_a_group_of_a_number_that_the_op_log_does_not_have_holds_nothing_up(
    replica: Replica, cloud: Cloud, ids: FixedIds, number: bytes, last: bool
) -> None:
    """An open one would wait for it; an ended one would make late all that the cloud says after it."""
    followed = Followed(replica, cloud, ids)
    cloud.write(TEA, "on_hand", "increment", 5)
    followed.looked()
    assert await followed.read()

    headers = [(groups.GROUP, number), *([(groups.LAST, b"1")] if last else []), groups.digest(4711)]
    cloud.publish(*STATES, b"Stock/s1/other", cloud.state_value(TEA), headers)
    assert await followed.read(), "nothing waits for that number"
    for _ in range(50):
        cloud.write(TEA, "on_hand", "increment", 1)
    assert await followed.read()
    assert replica.on_hand("tea") == 55
    digest = replica.puller.agreement.of("retail", S1, "s1")
    assert digest.told == cloud.digest("retail", "s1") and digest.number == 50
    await followed.close()


async def test_what_is_near_the_end_that_was_told_is_believed_unasked(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    followed = Followed(replica, cloud, ids)
    followed.looked()
    for _ in range(3):
        cloud.write(TEA, "on_hand", "increment", 1)
        assert await followed.read()
    assert followed.route.asked == 0
    await followed.close()


async def test_a_group_that_a_worker_is_still_writing_is_waited_for(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    followed = Followed(replica, cloud, ids)
    followed.looked()
    cloud.write(TEA, "on_hand", "increment", 1)
    cloud.topics[STATES][-1] = cloud.of(*STATES)[-1]._replace(headers=tuple(groups.headers(0, last=False)))
    assert not await followed.read()
    cloud.write(TEA, "on_hand", "increment", 1)
    assert await followed.read() and replica.on_hand("tea") == 2
    await followed.close()


async def test_while_the_broker_does_not_say_what_a_number_is_worth_nothing_is_taken(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    followed = Followed(replica, cloud, ids)
    cloud.publish(*STATES, b"Stock/s1/other", b"", [(groups.GROUP, b"7" * 19)])
    followed.route.cut()
    with pytest.raises(Unreachable):
        await followed.read()
    assert replica.everything().get((Family.META, b"cursor/retail.state/%d" % S1)) is None
    await followed.close()


def test_what_waited_with_a_number_that_is_none_makes_groups_of_its_own() -> None:
    assembler = GroupAssembler()
    genuine = Record(1, b"k", b"v", tuple(groups.headers(5, last=False)), 0)
    assert [*assembler.add(Record(0, b"k", b"v", ((groups.GROUP, b"900"),), 0)), *assembler.add(genuine)] == []
    assert [(r.offset, r.headers) for r in assembler.bounded(6)] == [(0, ())]
    assert (len(assembler), assembler.number) == (1, 5)
