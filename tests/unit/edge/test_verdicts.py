"""The row of our chain: what it says of our batches, and when it says that this life is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_edge.errors import NotFound
from driftlog_edge.ports import Family, Sealed
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.lives import FOREIGN_DOT, FORKED
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import ChainEntry, ChainRow, CommandOutcome, Notice, RefusalNotice, Verdict
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")


def row(replica: Replica, sent: Sealed, *outcomes: CommandOutcome, **changes: object) -> ChainRow:
    """A row whose newest batch is `sent`."""
    entry = ChainEntry(sent.number, sent.digest[:8], 7, outcomes)
    told = ChainRow(
        "store-1", replica.lives.replica, "retail", S1, sent.number, sent.digest, sent.number, (entry,), offset=7
    )
    return replace(told, **changes)  # type: ignore[arg-type]  # members by name


def later(told: ChainRow) -> ChainRow:
    """Its command had waited, until record 20."""
    return replace(told, entries=tuple(replace(entry, decided_at=20) for entry in told.entries))


def pull(replica: Replica, cloud: Cloud, told: ChainRow) -> None:
    cloud.publish_row(told)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)


def sent_one(replica: Replica, command_id: str = "c1") -> Sealed:
    replica.do("receive", command_id, store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    return sealed


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (None, Status.MERGED),
        (CommandOutcome("c1", Verdict.NO_EFFECT, "nothing_there"), Status.NO_EFFECT),
        (CommandOutcome("c1", Verdict.REJECTED, "recount"), Status.REJECTED),
    ],
)
def test_a_verdict_is_final_and_closes_the_batch(
    replica: Replica, cloud: Cloud, outcome: CommandOutcome | None, status: Status
) -> None:
    pull(replica, cloud, row(replica, sent_one(replica), *([outcome] if outcome else [])))

    entry = replica.entry("c1")
    assert (entry.status, entry.code) == (status, outcome.code if outcome else "")
    assert replica.outbox.sealed.all() == []
    assert entry.asked is None, "nothing will run it again"


def test_a_parked_command_stays_until_the_row_says_more(replica: Replica, cloud: Cloud) -> None:
    sent = sent_one(replica)
    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.PARKED, "gap")))
    assert replica.entry("c1").status is Status.PARKED
    assert [b.number for b in replica.outbox.sealed.all()] == [1], "the floor stays with it"

    pull(replica, cloud, row(replica, sent))
    assert replica.entry("c1").status is Status.MERGED
    assert replica.outbox.sealed.all() == []


@pytest.mark.parametrize("seen_parked", [True, False])
def test_a_command_that_was_parked_and_purged_unseen_waits_for_no_state(
    replica: Replica, cloud: Cloud, seen_parked: bool
) -> None:
    """Released by record 20, deleted and purged by record 30. Until the states are read up to there its own may come."""
    sent = sent_one(replica)
    if seen_parked:
        pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.PARKED, "gap")))
    pull(replica, cloud, later(row(replica, sent)))
    for number, waits in ((10, True), (30, False)):
        marks = [*groups.headers(number, last=True), groups.purged(number)]
        cloud.publish("retail.state", S1, document_key(TEA), None, marks)
        replica.pull_states(cloud.of("retail.state", S1)[-1:], S1)
        assert bool(list(replica.store.scan(Family.PENDING, b""))) is waits
        assert (len(replica.views.backlog) > 0) is waits


def test_a_command_that_was_given_up_waits_for_its_dot(replica: Replica, cloud: Cloud) -> None:
    """It is seen when no earlier one is missing, whenever that is; until then the dot is taken."""
    sent = sent_one(replica)
    told = CommandOutcome("c1", Verdict.REJECTED, "dropped", "a person gave it up")
    pull(replica, cloud, later(row(replica, sent, told)))
    cloud.write(TEA, "on_hand", "increment", 1)
    cloud.publish_group("retail", S1, [TEA], number=30)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    replica.do("receive", "c2", store="s1", sku="tea", qty=1)
    assert [op.seq for _, op in replica.views.command(replica.entry("c2").lsn).ops] == [2]


def test_a_parked_command_that_is_given_up_is_told_and_its_effects_leave_the_view(
    replica: Replica, cloud: Cloud
) -> None:
    sent = sent_one(replica)
    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.PARKED, "gap")))
    assert replica.on_hand("tea") == 5
    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.REJECTED, "dropped", "a person gave it up")))
    entry = replica.entry("c1")
    assert (entry.status, entry.code) == (Status.REJECTED, "dropped")
    with pytest.raises(NotFound):
        replica.on_hand("tea")
    assert replica.outbox.sealed.all() == []


def test_what_is_deferred_is_sealed_again_after_a_while_and_all_behind_it_waits(replica: Replica, cloud: Cloud) -> None:
    sent = sent_one(replica)
    replica.do("receive", "behind", store="s1", sku="tea", qty=1)
    replica.do("receive", "aside", store="s1", sku="milk", qty=1)
    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.DEFERRED, "undeclared")))
    replica.shipper.deferred("retail", S1, now=0.0)
    replica.do("reprice", "later", store="s1", sku="tea", price=3)

    entry = replica.entry("c1")
    assert (entry.status, entry.code) == (Status.PENDING, "undeclared")
    assert [[replica.views.command(lsn).id for lsn in b.lsns] for b in replica.ship()] == [["aside"]]
    replica.shipper.tick(10.0)
    assert [[replica.views.command(lsn).id for lsn in b.lsns] for b in replica.ship()] == [["c1", "behind", "later"]]


def test_a_row_of_another_digest_decides_nothing_and_ends_the_life(replica: Replica, cloud: Cloud) -> None:
    told = row(replica, sent_one(replica))
    pull(replica, cloud, replace(told, entries=(ChainEntry(1, b"otherone", 7),), head=b"another one's..."))

    assert replica.entry("c1").status is Status.PENDING
    assert replica.lives.chain("retail", S1).fork == FORKED
    replica.do("receive", store="s1", sku="tea", qty=1)
    assert replica.ship() == [], "nothing more is sealed on this chain"


def test_a_refusal_as_forked_ends_the_life_if_it_is_of_our_batch(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives()
    first = sent_one(replica)
    second = sent_one(replica, "c2")
    told = row(replica, first, notice=Notice(2, b"a clone's", 9, "forked", ""))
    pull(replica, cloud, told)
    assert replica.lives.chain("retail", S1).fork == "", "it is the other copy that was refused"

    pull(replica, cloud, replace(told, notice=Notice(2, second.digest[:8], 9, "forked", "")))
    assert lives().lives.chain("retail", S1).fork == FORKED, "and that is known after a restart"


def test_a_refusal_is_known_though_a_later_notice_stands_over_it(replica: Replica, cloud: Cloud) -> None:
    first = sent_one(replica)
    pull(replica, cloud, row(replica, first))
    chain = replica.lives.chain("retail", S1)
    damaged = replica.lives.written("retail", S1, replace(chain, head=b"a flipped bit..."))
    replica.journal.stage(damaged, sync=True)
    sent_one(replica, "c2")
    third = sent_one(replica, "c3")

    pull(replica, cloud, row(replica, first, notice=Notice(3, third.digest[:8], 9, "early", "")))

    assert replica.lives.chain("retail", S1).fork == FORKED


@pytest.mark.parametrize("ended", ["ended", "retired"])
def test_an_end_that_we_did_not_write_ends_the_life(replica: Replica, cloud: Cloud, ended: str) -> None:
    pull(replica, cloud, row(replica, sent_one(replica), ended=ended))

    assert replica.entry("c1").status is Status.MERGED
    assert replica.lives.chain("retail", S1).fork == ended


def test_more_batches_than_we_sealed_end_the_life(replica: Replica, cloud: Cloud) -> None:
    told = row(replica, sent_one(replica))
    pull(replica, cloud, replace(told, last=2, head=b"x" * 16, entries=(*told.entries, ChainEntry(2, b"otherone", 8))))

    assert replica.entry("c1").status is Status.MERGED, "our own is in it all the same"
    assert replica.lives.chain("retail", S1).fork == FORKED


def test_a_confirmed_dot_that_was_never_made_here_ends_the_life(replica: Replica, cloud: Cloud) -> None:
    cloud.merge(sent_one(replica))
    replica.pull_states(cloud.of("retail.state", S1), S1)
    assert replica.lives.chain("retail", S1).fork == ""

    cloud.write(TEA, "on_hand", "increment", 1, replica=replica.lives.replica)
    replica.pull_states(cloud.of("retail.state", S1), S1)

    assert replica.lives.chain("retail", S1).fork == FOREIGN_DOT


@pytest.mark.parametrize("code", ["early", "window_full"])
def test_a_row_says_up_to_where_it_has_come_and_that_something_came_too_early_ends_no_life(
    replica: Replica, cloud: Cloud, code: str
) -> None:
    first, second = sent_one(replica), sent_one(replica, "c2")
    answer = row(replica, first, notice=Notice(2, second.digest[:8], 9, code, ""))
    for told, offset in ((answer, 9), (replace(answer, offset=11), 11), (replace(answer, notice=None), answer.offset)):
        cloud.publish_row(told)
        pulled = replica.pull_receipts(cloud.of("retail.receipts", S1)[-1:], S1)
        assert [step.told for step in pulled.answered if step.told] == [(1, offset)]
        assert replica.lives.chain("retail", S1).fork == ""


def test_rows_of_other_lives_and_devices_are_passed_over(replica: Replica, cloud: Cloud) -> None:
    told = row(replica, sent_one(replica))
    for other in ("store-1.zzzzzzzz", "store-2.zzzzzzzz"):
        pull(replica, cloud, replace(told, replica=other))

    assert replica.entry("c1").status is Status.PENDING


def test_a_refusal_before_the_signature_is_said_and_decides_nothing(replica: Replica, cloud: Cloud) -> None:
    sent_one(replica)
    notice = RefusalNotice("store-1", "unknown_device", "not enrolled", 7, 9)
    told = cloud.publish_refusal("retail", S1, notice)

    pulled = replica.pull_receipts([told], S1)

    assert pulled.refused == (("retail", S1, notice),)
    assert replica.entry("c1").status is Status.PENDING
    assert [b.number for b in replica.outbox.sealed.all()] == [1]


def test_a_refused_change_has_no_effect_in_the_view_before_its_state_comes(replica: Replica, cloud: Cloud) -> None:
    sent = sent_one(replica)
    replica.do("receive", "later", store="s1", sku="tea", qty=1)
    assert replica.on_hand("tea") == 6

    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.REJECTED, "recount")))

    assert replica.on_hand("tea") == 1
    dots = replica.do("receive", store="s1", sku="tea", qty=1).entry.dots
    assert [seq for _, _, seq in dots] == [3], "its dot stays taken"


def test_a_final_status_stays_whatever_later_rows_say(replica: Replica, cloud: Cloud) -> None:
    sent = sent_one(replica)
    pull(replica, cloud, row(replica, sent, CommandOutcome("c1", Verdict.REJECTED, "recount")))
    pull(replica, cloud, row(replica, sent))

    entry = replica.entry("c1")
    assert (entry.status, entry.code) == (Status.REJECTED, "recount")
