"""What waits for the network: in order, in bounded batches, and the same bytes again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_edge.outgoing.outbox import SEALED_OPS
from driftlog_edge.ports import Family, Sealed
from driftlog_edge.store.sealed import Open
from driftlog_schemas.batch_codec import MAX_BATCH_OPS, BatchCodec, batch_digest, decode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity, verify
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import CONTRACT, PARTITIONS


def opened(batches: list[Sealed], identity: Identity, ids: FixedIds) -> list[Batch]:
    """What the cloud will read, its signature checked."""
    result = []
    for sealed in batches:
        signed = BatchCodec(ids).open(sealed.value)
        assert verify(identity.public_key, signed.signature, signed.body)
        result.append(decode_body(signed.body))
    return result


def ids_of(batches: list[Batch]) -> list[list[str]]:
    return [[command.id for command in batch.commands] for batch in batches]


def test_commands_go_out_in_the_order_they_were_given(replica: Replica, identity: Identity, ids: FixedIds) -> None:
    for number in range(20):
        replica.do("receive", f"c{number}", store="s1", sku=f"sku-{number % 3}", qty=1)

    (batch,) = opened(replica.ship(), identity, ids)

    assert [c.id for c in batch.commands] == [f"c{n}" for n in range(20)]
    assert (batch.replica, batch.number, batch.partition) == (replica.lives.replica, 1, partition_of("s1", PARTITIONS))
    assert len(replica.outbox.queue) == 0


def test_a_device_in_step_is_never_behind_however_long_it_wrote_nothing(
    replica: Replica, cloud: Cloud, identity: Identity, ids: FixedIds
) -> None:
    """What a batch says it has read is what was applied when its oldest command was written, not when the last one was sent."""
    tea, s1 = DocumentId("Stock", "s1", "tea"), partition_of("s1", PARTITIONS)
    cloud.write(tea, "price", "set", 3)
    replica.pull_states(cloud.publish_group("retail", s1, [tea], 40), s1)
    replica.do("receive", "first", store="s1", sku="tea", qty=1)
    replica.pull_states(cloud.publish_group("retail", s1, [tea], 900), s1)
    replica.do("receive", "later", store="s1", sku="tea", qty=1)
    assert [batch.read for batch in opened(replica.ship(), identity, ids)] == [40], "the oldest of the batch counts"
    replica.pull_states(cloud.publish_group("retail", s1, [tea], 5000), s1)
    replica.do("receive", "much later", store="s1", sku="tea", qty=1)
    assert [batch.read for batch in opened(replica.ship(), identity, ids)] == [5000]


def test_a_batch_holds_whole_commands_and_is_sealed_without_holding_up_others(
    replica: Replica, identity: Identity, ids: FixedIds
) -> None:
    for number in range(4):
        replica.do("fill", f"c{number}", store="s1", prefix=f"p{number}-", count=SEALED_OPS * 2 // 5)

    batches = opened(replica.ship(), identity, ids)

    assert ids_of(batches) == [["c0", "c1"], ["c2", "c3"]]
    assert all(sum(len(c.ops) for c in b.commands) <= SEALED_OPS for b in batches)
    assert [b.number for b in batches] == [1, 2]


def test_a_command_of_exactly_500_ops_goes_alone(replica: Replica, identity: Identity, ids: FixedIds) -> None:
    replica.do("fill", "c0", store="s1", prefix="p", count=MAX_BATCH_OPS)
    replica.do("receive", "c1", store="s1", sku="tea", qty=1)

    assert ids_of(opened(replica.ship(), identity, ids)) == [["c0"], ["c1"]]


def test_partitions_have_batches_and_numbers_of_their_own(
    lives: Callable[..., Replica], identity: Identity, ids: FixedIds
) -> None:
    scopes = [f"place-{n}" for n in range(12)]
    replica = lives(scopes=scopes)
    for scope in scopes:
        replica.do("receive", scope, store=scope, sku="tea", qty=1)

    batches = opened(replica.ship(), identity, ids)

    assert [b.partition for b in batches] == sorted({partition_of(scope, PARTITIONS) for scope in scopes})
    for batch in batches:
        assert batch.number == 1
        assert {partition_of(c.scope, PARTITIONS) for c in batch.commands} == {batch.partition}
    assert sorted(name for names in ids_of(batches) for name in names) == sorted(scopes)


def test_spaces_have_topics_of_their_own(replica: Replica) -> None:
    from driftlog_schemas.identity import DocumentId

    replica.do("receive", store="s1", sku="tea", qty=1)
    executed = replica.executor.write(DocumentId("Remark", "s1", "r1"), [("text", "set", ["quiet"])])
    replica.journal.stage(executed.writes or {}, sync=True)

    assert sorted(b.topic for b in replica.ship()) == ["audit.ops", "retail.ops"]


def test_an_urgent_command_overtakes_others_and_takes_its_own_documents_along(
    replica: Replica, identity: Identity, ids: FixedIds
) -> None:
    replica.do("rename", "low", store="s1", sku="coffee", name="arabica")
    replica.do("receive", "same-document", store="s1", sku="tea", qty=5)
    replica.do("sell", "ties-both", store="s1", sku="tea", qty=1)
    replica.do("receive", "other-document", store="s1", sku="milk", qty=1)
    replica.do("reprice", "urgent", store="s1", sku="tea", price=3)

    (batch,) = opened(replica.ship(), identity, ids)

    assert [c.id for c in batch.commands] == ["same-document", "ties-both", "urgent", "other-document", "low"]
    last: dict[tuple[object, str], int] = {}
    for command in batch.commands:
        for document, op in command.ops:
            assert op.seq == last.get((document, op.replica), 0) + 1, "the order of a document always holds"
            last[document, op.replica] = op.seq


def test_an_urgent_command_pulls_what_its_documents_companions_need(
    replica: Replica, identity: Identity, ids: FixedIds
) -> None:
    replica.do("receive", "a", store="s1", sku="milk", qty=9)
    replica.do("receive", "b", store="s1", sku="tea", qty=9)
    replica.do("sell", "milk-and-ledger", store="s1", sku="milk", qty=1)
    replica.do("sell", "tea-and-ledger", store="s1", sku="tea", qty=1)
    replica.do("reprice", "urgent", store="s1", sku="tea", price=3)

    (first,) = opened(replica.ship(limit=1), identity, ids)

    assert [c.id for c in first.commands] == ["a", "b", "milk-and-ledger", "tea-and-ledger", "urgent"]


def test_after_a_crash_a_sealed_batch_goes_out_again_byte_for_byte(lives: Callable[..., Replica]) -> None:
    replica = lives()
    for number in range(3):
        replica.do("receive", f"c{number}", store="s1", sku="tea", qty=1)
    sent = replica.ship()
    replica.do("receive", "later", store="s1", sku="tea", qty=1)

    reborn = lives()
    again = reborn.ship()

    assert again[0] == sent[0]._replace(urgency=0), "but for its class, which nobody remembers"
    assert [b.number for b in again] == [1, 2], "what came later is in a batch of its own"


def test_a_closed_batch_never_goes_out_again(lives: Callable[..., Replica]) -> None:
    replica = lives()
    replica.do("receive", store="s1", sku="tea", qty=1)
    (sent,) = replica.ship()
    (batch,) = replica.outbox.sealed.all()
    replica.journal.stage(replica.outbox.sealed.settling(batch, ()), sync=False)
    replica.commit()

    assert replica.outbox.sealed.get("retail", sent.partition, 1) is None
    assert replica.outbox.sealed.body(batch) == b""
    assert lives().ship() == []


def test_a_batch_names_the_one_before_it_and_the_oldest_that_is_open(
    replica: Replica, identity: Identity, ids: FixedIds
) -> None:
    for number in range(3):
        replica.do("fill", store="s1", prefix=f"{number}-", count=500)
    sent = replica.ship()
    first, second, third = opened(sent, identity, ids)

    assert (first.prev, second.prev, third.prev) == (b"", sent[0].digest, sent[1].digest)
    assert [batch.floor for batch in (first, second, third)] == [1, 1, 1]
    assert [batch_digest(BatchCodec(ids).open(sealed.value).body) for sealed in sent] == [s.digest for s in sent]


def test_a_batch_of_another_key_goes_out_again_under_the_device_s_new_one(
    lives: Callable[..., Replica], ids: FixedIds
) -> None:
    replica = lives()
    replica.do("receive", "sealed", store="s1", sku="tea", qty=1)
    (sent,) = replica.ship()
    replica.do("receive", "unsent", store="s1", sku="tea", qty=1)

    enrolled_again = Identity.create("store-1")
    again = opened(lives(identity=enrolled_again).ship(), enrolled_again, ids)

    assert [[c.id for c in batch.commands] for batch in again] == [["sealed"], ["unsent"]]
    assert again[1].prev == sent.digest, "the chain goes on: a key is not a life"


def test_a_release_with_more_spaces_finds_its_queue_as_it_was(
    lives: Callable[..., Replica], identity: Identity, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_audit = replace(CONTRACT, spaces={"retail": CONTRACT.spaces["retail"]})
    monkeypatch.setattr("tests.unit.edge.replica.CONTRACT", without_audit)
    lives().do("receive", "c1", store="s1", sku="tea", qty=1)
    monkeypatch.undo()

    (batch,) = opened(lives().ship(), identity, ids)

    assert (batch.space, [c.id for c in batch.commands]) == ("retail", ["c1"])


def test_numbers_go_on_after_a_restart(lives: Callable[..., Replica]) -> None:
    replica = lives()
    replica.do("receive", store="s1", sku="tea", qty=1)
    replica.ship()
    reborn = lives()
    reborn.do("receive", store="s1", sku="tea", qty=1)

    assert [b.number for b in reborn.ship()] == [1, 2]


def test_the_count_of_what_waits_is_right_after_a_restart_and_after_a_failure(lives: Callable[..., Replica]) -> None:
    replica = lives()
    for _ in range(3):
        replica.do("receive", store="s1", sku="tea", qty=1)
    replica.run("receive", store="s1", sku="tea", qty=1)
    assert len(replica.outbox.queue) == 4
    replica.journal.failed(RuntimeError("the disk"))
    assert len(replica.outbox.queue) == 3

    assert len(lives().outbox.queue) == 3


def test_a_batch_names_the_release_that_wrote_its_commands_whichever_seals_it(
    lives: Callable[..., Replica], identity: Identity, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that was taken back to an older release does not speak for the newer one."""
    lives().do("receive", "own", store="s1", sku="tea", qty=1)
    with monkeypatch.context() as newer:
        newer.setattr(SpaceContract, "release", "newer")
        lives().do("receive", "newer", store="s1", sku="tea", qty=1)
    replica = lives()
    replica.do("receive", "own again", store="s1", sku="tea", qty=1)

    batches = opened(replica.ship(), identity, ids)
    own = CONTRACT.spaces["retail"].release
    assert ids_of(batches) == [["own"], ["newer"], ["own again"]]
    assert [batch.app_version for batch in batches] == [own, "newer", own]


def sums(replica: Replica) -> tuple[object, ...]:
    """All that is counted of what waits."""
    outbox, backlog = replica.outbox, replica.views.backlog
    return (
        *(outbox.queue.moments._waiting, outbox.queue.bytes, outbox.queue.held._queues),
        *(outbox.sealed.commands, outbox.sealed.bytes),
        *(len(backlog), backlog.after(0, 10_000), backlog._first, backlog._last),
    )


@pytest.mark.parametrize("at", range(12))
def test_what_a_failed_write_takes_back_is_counted_as_the_store_has_it(
    lives: Callable[..., Replica], cloud: Cloud, at: int
) -> None:
    """Whatever was going on: new commands, an urgent one, a batch sealed, answered, deferred, taken back to run again."""
    replica = lives()
    cloud.rejects = {"c3": "undeclared", "c5": "not_enough"}
    steps = iter(range(100))

    def let() -> None:
        """The disk takes what waits, until the step that it does not."""
        if next(steps) == at:
            replica.journal.failed(RuntimeError("the disk"))
        elif replica.journal.waiting:
            replica.commit()

    for number in range(8):
        replica.run("receive", f"c{number}", store="s1", sku=f"sku-{number % 3}", qty=9)
    let()
    replica.run("receive", "more", store="s1", sku="sku-3", qty=9)
    let()
    replica.run("reprice", "urgent", store="s1", sku="sku-1", price=3)
    let()
    found = replica.shipper.next()
    if found is not None:
        replica.journal.stage(found[1], sync=True)
        before = replica.journal.waiting
        let()
        if replica.outbox.sealed.all():
            cloud.merge(found[0])
        assert before
    for name in ("late", "later"):
        replica.run("receive", name, store="s1", sku="sku-2", qty=9)
    let()
    partition = partition_of("s1", PARTITIONS)
    rows = cloud.of("retail.receipts", partition)
    for pulled in replica.puller.receipts("retail.receipts", partition, rows) if rows else ():
        replica.journal.stage(pulled.writes, sync=False)
        replica.puller.staged(pulled)
        for answer in pulled.answered:
            replica.journal.stage(replica.again.take_back(answer.space, answer.partition, answer.refused), sync=True)
        let()
    replica.run("receive", "behind what is held", store="s1", sku="sku-0", qty=9)
    let()
    replica.pull_states(cloud.of("retail.state", partition), partition)
    if replica.journal.waiting:
        replica.commit()

    counted = sums(replica)
    assert counted == sums(lives())


class NoRegistry(FixedIds):
    """A registry that is not there."""

    down = True

    def id_of(self, text: str) -> int:
        if self.down:
            raise RegistryUnreachable("nobody answers")
        return super().id_of(text)


def test_a_batch_that_cannot_be_sealed_waits_on_and_is_still_counted(tmp_path: object, identity: Identity) -> None:
    from pathlib import Path

    registry = NoRegistry()
    replica = Replica(Path(str(tmp_path)) / "r", identity, registry)
    for _ in range(3):
        replica.do("receive", store="s1", sku="tea", qty=1)

    for _ in range(5):
        with pytest.raises(RegistryUnreachable):
            replica.shipper.next()

    assert len(replica.outbox.queue) == 3
    registry.down = False
    (batch,) = replica.ship()
    assert (batch.number, len(batch.lsns)) == (1, 3)
    replica.close()


def test_a_number_that_no_batch_has_holds_nothing(replica: Replica) -> None:
    assert replica.outbox.sealed.get("retail", 0, 7) is None
    assert replica.outbox.sealed.get("retail", 0, -1) is None


def test_a_command_is_held_until_it_is_sealed(replica: Replica) -> None:
    lsn = replica.do("receive", store="s1", sku="tea", qty=1).entry.lsn
    place = ("retail", partition_of("s1", PARTITIONS))
    assert replica.outbox.queue.entries.holds(lsn, place)

    (sent,) = replica.ship()

    assert not replica.outbox.queue.entries.holds(lsn, place)
    assert replica.outbox.sealed.all() == [Open("retail", sent.partition, 1, sent.digest, (lsn,))]
    assert list(replica.store.scan(Family.OUTBOX, b"")) == []


LOW, HIGH = (next(s for s in (f"s{n}" for n in range(99)) if partition_of(s, PARTITIONS) == p) for p in (0, 2))


def test_no_partition_starves_another(lives: Callable[..., Replica], identity: Identity, ids: FixedIds) -> None:
    """Three batches' worth of one partition do not keep one command of the other waiting for all three."""
    replica = lives(scopes=(LOW, HIGH))
    for number in range(3):
        replica.do("fill", f"many-{number}", store=LOW, prefix=f"p{number}-", count=MAX_BATCH_OPS)
    replica.do("receive", "one", store=HIGH, sku="tea", qty=1)

    sent = ids_of(opened(replica.ship(), identity, ids))

    assert sent == [["many-0"], ["one"], ["many-1"], ["many-2"]]


BEHIND, FULL = 10_000, 100_000
"""Commands that wait already when a critical one comes, and at full depth."""


@pytest.mark.slow
def test_a_critical_command_behind_many_leaves_in_the_next_batch_with_its_documents_earlier_ones(
    replica: Replica, identity: Identity, ids: FixedIds, full: bool
) -> None:
    many = FULL if full else BEHIND
    ours = {0: "first", many // 2: "second", many - 1: "third"}
    for number in range(many):
        sku = "tea" if number in ours else f"sku-{number % 100}"
        replica.run("receive", ours.get(number, f"c{number}"), store="s1", sku=sku, qty=1)
    replica.run("recall", "now", store="s1", sku="tea")
    replica.commit()

    (batch,) = ids_of(opened(replica.ship(limit=1), identity, ids))

    assert batch[:4] == ["first", "second", "third", "now"]


def test_an_urgent_command_goes_first_whosever_turn_it_is(
    lives: Callable[..., Replica], identity: Identity, ids: FixedIds
) -> None:
    replica = lives(scopes=(LOW, HIGH))
    for scope in (LOW, HIGH):
        replica.do("receive", f"{scope}-normal", store=scope, sku="tea", qty=1)
        replica.do("reprice", f"{scope}-high", store=scope, sku="coffee", price=1)

    sent = ids_of(opened(replica.ship(), identity, ids))

    assert len(sent) == 2
    assert all(batch[0].endswith("high") for batch in sent)


def test_commands_that_take_more_on_the_wire_than_in_the_log_go_in_several_batches(
    replica: Replica, identity: Identity, ids: FixedIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("outbox", "shipper"):
        monkeypatch.setattr(f"driftlog_edge.outgoing.{module}.MAX_COMMAND_BYTES", 1 << 30)
    for number in range(20):
        replica.do("label", f"c{number}", store="s1", prefix=f"{number}-", sizes=[3900] * 15)

    batches = ids_of(opened(replica.ship(), identity, ids))

    assert [len(batch) for batch in batches] == [8, 12], "sixteen have ops for one batch, and bytes for two"
    assert [*batches[0], *batches[1]] == [f"c{n}" for n in range(20)]
