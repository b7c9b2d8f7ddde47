"""Confirmed states come in whole, with their cursor, and what they cover is no longer pending."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_edge.errors import DiskFull, NotFound
from driftlog_edge.ports import Family, Record
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.cursors import Cursor, cursor_of
from driftlog_edge.store.digests import digest_of
from driftlog_edge.store.lives import PURGED
from driftlog_schemas import groups
from driftlog_schemas.digests import document_digest
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.partitioning import partition_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, Replica, finished
from tests.unit.edge.shop import PARTITIONS

S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")


def exchange(replica: Replica, cloud: Cloud) -> None:
    """Everything out, merged, and back in."""
    before = {place: len(records) for place, records in cloud.topics.items()}
    for sealed in replica.ship():
        cloud.merge(sealed, replica.identity.public_key)
        replica.shipper.delivered(sealed, 0.0)
    for (topic, partition), records in cloud.topics.items():
        new = records[before.get((topic, partition), 0) :]
        space, _, kind = topic.partition(".")
        if kind == "state":
            replica.pull_states(new, partition, space)
        elif kind == "receipts":
            replica.pull_receipts(new, partition, space)


def row(document: DocumentId) -> bytes:
    return keys.confirmed_prefix("retail", S1, 0) + document_key(document)


def cursor(replica: Replica, topic: str) -> int:
    return cursor_of(replica.store, topic, S1).offset


def test_a_merged_command_is_confirmed_and_no_longer_pending(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    assert len(replica.views.backlog) == 1

    exchange(replica, cloud)

    assert replica.entry("c1").status is Status.MERGED
    assert replica.on_hand("tea") == 5
    assert list(replica.store.scan(Family.PENDING, b"")) == []
    assert len(replica.views.backlog) == 0
    assert replica.outbox.sealed.all() == []


def test_a_command_of_two_documents_is_pending_until_both_are_confirmed(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    exchange(replica, cloud)
    replica.do("sell", store="s1", sku="tea", qty=1)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    ledger, tea = sorted(cloud.of("retail.state", S1)[-2:], key=lambda r: r.key)

    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    replica.pull_states([ledger], S1)
    assert len(replica.views.backlog) == 1
    replica.pull_states([tea], S1)
    assert len(replica.views.backlog) == 0


def test_what_was_written_meanwhile_stays_on_top_of_what_comes(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    replica.do("receive", store="s1", sku="tea", qty=3)
    cloud.merge(sealed)
    cloud.write(TEA, "on_hand", "increment", 100)

    replica.pull_states(cloud.of("retail.state", S1), S1)
    assert len(replica.views.backlog) == 2, "a vector that covers a dot decides nothing"
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)

    assert replica.on_hand("tea") == 108
    assert len(replica.views.backlog) == 1
    assert replica.views.get(TEA).pending == [2]


def test_states_and_their_cursor_are_one_write(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 7)
    cloud.write(TEA, "on_hand", "increment", 1)
    records = cloud.of("retail.state", S1)
    pulled = finished(replica.puller.states("retail", "retail.state", S1, records))

    assert Cursor.decode(pulled.writes[Family.META, keys.cursor_key("retail.state", S1)] or b"").offset == 2
    assert pulled.writes[Family.CONFIRMED, row(TEA)] == records[-1].value

    replica.store.full = True
    with pytest.raises(DiskFull):
        replica.pull_states(records, S1)
    assert cursor(replica, "retail.state") == 0
    with pytest.raises(NotFound):
        replica.on_hand("tea")
    replica.store.full = False
    replica.pull_states(records, S1)
    assert (cursor(replica, "retail.state"), replica.on_hand("tea")) == (2, 8)


def test_reading_the_same_records_again_changes_nothing(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", store="s1", sku="tea", qty=5)
    exchange(replica, cloud)
    cloud.write(TEA, "on_hand", "increment", 1)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    before = replica.everything()

    replica.pull_states(cloud.of("retail.state", S1), S1)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)

    assert replica.everything() == before


def test_scopes_that_are_not_held_are_passed_over_but_read_past(replica: Replica, cloud: Cloud) -> None:
    foreign = next(s for s in (f"f{n}" for n in range(100)) if partition_of(s, PARTITIONS) == S1)
    cloud.write(DocumentId("Stock", foreign, "tea"), "on_hand", "increment", 7)

    pulled = replica.pull_states(cloud.of("retail.state", S1), S1)

    assert pulled.changed == ()
    assert list(replica.store.scan(Family.CONFIRMED, b"")) == []
    assert cursor(replica, "retail.state") == 1


def test_a_state_that_has_seen_less_never_takes_anything_back(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 7, replica="a.1")
    late = cloud.of("retail.state", S1)[0]
    cloud.write(TEA, "on_hand", "increment", 1, replica="b.1")
    replica.pull_states(cloud.of("retail.state", S1), S1)

    replica.pull_states([late._replace(offset=2)], S1)

    assert replica.on_hand("tea") == 8
    assert cursor(replica, "retail.state") == 3


def test_a_scope_has_the_same_digest_whichever_way_its_states_came(lives: Callable[..., Replica], cloud: Cloud) -> None:
    def digest(replica: Replica) -> int:
        return digest_of(replica.store, "retail", S1, 0, "s1").own

    replica = lives()
    for sku in ("tea", "coffee"):
        cloud.write(DocumentId("Stock", "s1", sku), "on_hand", "increment", 7)
    cloud.write(TEA, "on_hand", "increment", 1)
    records = cloud.of("retail.state", S1)
    for record in records:
        replica.pull_states([record], S1)
    one_by_one = digest(replica)
    for key, _ in list(replica.store.scan(Family.CONFIRMED, b"")):
        replica.store.write({(Family.CONFIRMED, key): None}, sync=False)
    replica.store.write({(Family.META, keys.digest_key("retail", S1, 0, "s1")): None}, sync=False)

    lives().pull_states(records[1:], S1)

    assert digest(lives()) == one_by_one
    assert one_by_one


def deleted(cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 7)
    cloud.write(TEA, DOCUMENT, DELETE, None)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_purged_document_is_gone_and_starts_fresh(replica: Replica, cloud: Cloud, at_once: bool) -> None:
    def digest() -> int:
        return digest_of(replica.store, "retail", S1, 0, "s1").own

    deleted(cloud)
    cloud.purge(TEA)
    records = cloud.of("retail.state", S1)
    for group in [records] if at_once else [[record] for record in records]:
        pulled = replica.pull_states(group, S1)

    assert pulled.changed == (TEA,)
    assert list(replica.store.scan(Family.CONFIRMED, b"")) == []
    assert digest() == 0, "who read the tombstone and who never did agree"
    with pytest.raises(NotFound):
        replica.on_hand("tea")

    replica.do("receive", store="s1", sku="tea", qty=5)
    cloud.write(TEA, "on_hand", "increment", 2)
    replica.pull_states(cloud.of("retail.state", S1)[3:], S1)
    assert replica.on_hand("tea") == 7
    exchange(replica, cloud)
    assert (replica.on_hand("tea"), replica.views.get(TEA).pending) == (7, [])
    assert cloud.states[TEA].vector == {"office.1": 1, replica.lives.chain("retail", S1).replica: 1}


def test_a_document_of_which_only_refused_changes_were_made_is_not_there_and_is_purged(
    replica: Replica, cloud: Cloud
) -> None:
    cloud.rejects["c"] = "recount"
    replica.do("receive", "c", store="s1", sku="tea", qty=5)
    exchange(replica, cloud)
    with pytest.raises(NotFound):
        replica.on_hand("tea")
    assert digest_of(replica.store, "retail", S1, 0, "s1").own == cloud.digest("retail", "s1") == 0

    cloud.purge(TEA)
    replica.pull_states(cloud.of("retail.state", S1)[1:], S1)
    assert list(replica.store.scan(Family.CONFIRMED, b"")) == []


def test_a_purge_and_a_new_beginning_in_one_write(replica: Replica, cloud: Cloud) -> None:
    deleted(cloud)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    cloud.purge(TEA)
    cloud.write(TEA, "on_hand", "increment", 2)

    replica.pull_states(cloud.of("retail.state", S1)[2:], S1)

    assert replica.on_hand("tea") == 2
    assert replica.views.get(TEA).state.vector == {"office.1": 1}


def test_a_purge_by_a_stranger_is_passed_over(replica: Replica, cloud: Cloud) -> None:
    deleted(cloud)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    before = replica.store.get(Family.CONFIRMED, row(TEA))
    cloud.purge(TEA, headers=[])

    assert replica.pull_states(cloud.of("retail.state", S1)[2:], S1).changed == ()

    assert replica.store.get(Family.CONFIRMED, row(TEA)) == before
    assert cursor(replica, "retail.state") == 3


def test_a_purge_takes_what_was_there_before_it_however_late_that_came(replica: Replica, cloud: Cloud) -> None:
    """A frozen worker's word on the document, before it was deleted, comes after the null; the owner says the null again."""
    deleted(cloud)
    late, *_ = cloud.of("retail.state", S1)
    cloud.purge(TEA)
    cloud.publish("retail.state", S1, late.key, late.value, late.headers)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    assert replica.on_hand("tea") == 7
    cloud.publish("retail.state", S1, late.key, None, [*groups.headers(9, last=True), groups.purged(3)])
    replica.pull_states(cloud.of("retail.state", S1)[-1:], S1)
    with pytest.raises(NotFound):
        replica.on_hand("tea")


def test_a_purge_takes_nothing_that_is_there(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 7)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    cloud.purge(TEA)

    replica.pull_states(cloud.of("retail.state", S1)[1:], S1)

    assert replica.on_hand("tea") == 7


@pytest.mark.parametrize("row_first", [True, False])
@pytest.mark.parametrize("anew", [True, False])
def test_a_change_that_came_and_went_unseen_waits_for_nothing(
    replica: Replica, cloud: Cloud, row_first: bool, anew: bool
) -> None:
    """Accepted, deleted with its document and purged: compaction has left nothing that would cover its dot."""
    replica.do("receive", "c", store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    cloud.write(TEA, DOCUMENT, DELETE, None)
    cloud.purge(TEA)
    if anew:
        cloud.write(TEA, "on_hand", "increment", 2)
    compacted = cloud.of("retail.state", S1)[-1:]

    if row_first:
        replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
        assert len(list(replica.store.scan(Family.PENDING, b""))) == 1, "its state may come"
    replica.pull_states(compacted, S1)
    if not row_first:
        assert replica.on_hand("tea") == (7 if anew else 5), "it is shown while nothing is decided"
        replica.pull_receipts(cloud.of("retail.receipts", S1), S1)

    assert list(replica.store.scan(Family.PENDING, b"")) == []
    assert (replica.entry("c").status, len(replica.views.backlog)) == (Status.MERGED, 0)
    assert replica.lives.chain("retail", S1).fork == ""
    if anew:
        assert replica.on_hand("tea") == 2
    else:
        with pytest.raises(NotFound):
            replica.on_hand("tea")


def test_a_purge_takes_along_what_was_decided_before_it(replica: Replica, cloud: Cloud) -> None:
    """Its tombstone was read from an older word of the topic, the change never."""
    deleted(cloud)
    older = cloud.of("retail.state", S1)[:2]
    replica.pull_states(older, S1)
    replica.do("receive", "c", store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    cloud.purge(TEA)

    replica.pull_states(cloud.of("retail.state", S1)[-1:], S1)

    assert list(replica.store.scan(Family.PENDING, b"")) == []
    assert replica.lives.chain("retail", S1).fork == "", "nothing that is undecided was lost"


def test_a_purge_under_changes_of_ours_costs_a_life_and_they_go_to_a_person(replica: Replica, cloud: Cloud) -> None:
    deleted(cloud)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    replica.do("receive", "c", store="s1", sku="tea", qty=5)
    cloud.purge(TEA)

    pulled = replica.pull_states(cloud.of("retail.state", S1)[2:], S1)

    assert pulled.forked == (("retail", S1),)
    assert replica.lives.chain("retail", S1).fork == PURGED
    assert replica.on_hand("tea") == 5, "it is shown while nothing is decided"
    end = replica.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    replica.renew(cloud.of("retail.ops", S1))
    assert (replica.entry("c").status, replica.entry("c").code) == (Status.REVIEW, "gone")
    with pytest.raises(NotFound):
        replica.on_hand("tea")


def test_what_was_forgotten_under_pending_changes_is_no_gap(replica: Replica, cloud: Cloud) -> None:
    """A price was set by somebody who had seen the office; the cloud has folded the office meanwhile."""
    cloud.write(TEA, "on_hand", "increment", 7)
    replica.pull_states(cloud.of("retail.state", S1), S1)
    replica.do("reprice", store="s1", sku="tea", price=3)
    fold(cloud)
    replica.pull_states(cloud.of("retail.state", S1)[1:], S1)
    assert replica.value("Stock", "s1", "tea")["price"] == 3
    assert replica.on_hand("tea") == 7


def fold(cloud: Cloud) -> None:
    """The office is forgotten."""
    assert COLLECTIONS["Stock"].document.fold(cloud.states[TEA], {"office.1": ""})
    cloud.publish_group("retail", S1, [TEA], number=20_000)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"not a document key", b"\x00\x00\x00\x00\x01x"),
        (b"Stock/s1/tea", b"no avro at all"),
        (b"Stock/s1/tea", b"\x00\x00\x00\x00\x01unknown schema"),
        (b"\xff/\xff/\xff", b""),
    ],
)
def test_a_record_that_cannot_be_read_is_passed_over_and_counted(
    replica: Replica, cloud: Cloud, key: bytes, value: bytes
) -> None:
    noise = cloud.publish("retail.state", S1, key, value)
    cloud.write(TEA, "on_hand", "increment", 7)

    pulled = replica.pull_states([noise, *cloud.of("retail.state", S1)[1:]], S1)

    assert pulled.unreadable == 1
    assert replica.on_hand("tea") == 7
    assert cursor(replica, "retail.state") == 2


def test_noise_among_receipts_and_conflicts_is_passed_over_and_counted(replica: Replica) -> None:
    noise = [Record(0, b"store-1", b"noise", (), 0), Record(1, b"id", b"\x00\x00\x00\x00\x09?", (), 0)]

    assert replica.pull_receipts(noise[:1], S1).unreadable == 1
    assert replica.pull_conflicts(noise, S1).unreadable == 2
    assert cursor(replica, "retail.receipts") == 1
    assert cursor(replica, "retail.conflicts") == 2


# -- receipts


def test_a_rejected_command_vanishes_and_later_ones_are_computed_anew(replica: Replica, cloud: Cloud) -> None:
    cloud.rejects["bad"] = "recount"
    replica.do("receive", "bad", store="s1", sku="tea", qty=100)
    replica.do("receive", "good", store="s1", sku="tea", qty=5)
    first = replica.ship()
    replica.do("receive", "later", store="s1", sku="tea", qty=1)
    assert replica.on_hand("tea") == 106

    for sealed in first:
        cloud.merge(sealed)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    rejected = replica.entry("bad")
    replica.pull_states(cloud.of("retail.state", S1), S1)

    assert (rejected.status, rejected.code) == (Status.REJECTED, "recount")
    assert rejected.reason == "recount says the guard"
    assert replica.entry("good").status is Status.MERGED
    assert replica.on_hand("tea") == 6
    assert replica.views.get(TEA).pending == [3]
    exchange(replica, cloud)
    assert replica.on_hand("tea") == 6
    assert replica.entry("bad").status is Status.REJECTED, "a duplicate's receipt does not undo it"


def test_receipt_and_state_may_come_in_either_order(replica: Replica, cloud: Cloud) -> None:
    replica.do("receive", "c1", store="s1", sku="tea", qty=5)
    (sealed,) = replica.ship()
    cloud.merge(sealed)

    replica.pull_states(cloud.of("retail.state", S1), S1)
    assert len(replica.views.backlog) == 1
    assert replica.entry("c1").status is Status.PENDING
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert replica.entry("c1").status is Status.MERGED
    assert len(replica.views.backlog) == 0


# -- conflicts


def dispute(document: DocumentId, status: ConflictStatus = ConflictStatus.OPEN, conflict_id: str = "x1") -> Conflict:
    mine, theirs = Version("store-1.1", 1, 5, 7, 10, "c1", "ann"), Version("office.1", 1, 6, 8, 12, "c2", "bob")
    decided = Version("office.1", 2, 9, 10, 11, "c3", "bob") if status is ConflictStatus.RESOLVED else None
    return Conflict(conflict_id, document, "price", (theirs, mine), "review", "register", 7, 8, 99, status, decided)


def test_conflicts_of_held_scopes_are_kept_as_they_came(replica: Replica, cloud: Cloud) -> None:
    foreign = next(s for s in (f"f{n}" for n in range(100)) if partition_of(s, PARTITIONS) == S1)
    opening = cloud.publish_conflict(dispute(TEA))
    elsewhere = cloud.publish_conflict(dispute(DocumentId("Stock", foreign, "tea"), conflict_id="x2"))
    replica.pull_conflicts([opening, elsewhere], S1)
    assert [k for k, _ in replica.store.scan(Family.CONFLICTS, b"")] == [b"x1"]

    closing = dispute(TEA, ConflictStatus.RESOLVED)
    replica.pull_conflicts([cloud.publish_conflict(closing)], S1)

    (kept,) = [cloud._records.decode_conflict(v) for _, v in replica.store.scan(Family.CONFLICTS, b"")]
    assert kept == closing


def test_a_conflict_that_the_topic_forgets_is_forgotten_here(replica: Replica, cloud: Cloud) -> None:
    replica.pull_conflicts([cloud.publish_conflict(dispute(TEA))], S1)
    replica.pull_conflicts([cloud.publish("retail.conflicts", S1, b"x1", None)], S1)

    assert list(replica.store.scan(Family.CONFLICTS, b"")) == []


# -- clocks


def test_a_write_is_stamped_later_than_all_that_its_writer_has_seen(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    from tests.unit.edge.replica import EPOCH_MS

    replica = lives()
    replica.clock.ms = EPOCH_MS - 3_600_000
    cloud.write(TEA, "name", "set", "black")
    replica.pull_states(cloud.of("retail.state", S1), S1)

    reborn = lives()
    reborn.clock.ms = EPOCH_MS - 3_600_000
    reborn.do("rename", store="s1", sku="tea", name="green")

    stamp = reborn.views.command(1).hlc
    assert stamp > EPOCH_MS << 16


def test_no_stamp_is_ever_given_again_or_goes_back(lives: Callable[..., Replica]) -> None:
    stamps = []
    for life in range(3):
        replica = lives()
        replica.clock.ms -= life * 1_000_000  # each life's clock is further behind
        for _ in range(3):
            lsn = replica.do("receive", store="s1", sku="tea", qty=1).entry.lsn
            stamps.append((lsn, replica.views.command(lsn).hlc))

    assert stamps == sorted(set(stamps))
    assert [lsn for lsn, _ in stamps] == list(range(1, 10))


def test_the_digest_of_a_document_tells_what_it_has_seen() -> None:
    """Two replicas with one digest have the same ops, so it may not be the same for two vectors."""
    tea, oat = b"Stock/s1/tea", b"Stock/s1/oat"
    seen = [document_digest(key, version) for key in (tea, oat) for version in (b'{"a.1":1}', b'{"a.1":2}')]
    assert len({*seen, 0}) == 5
