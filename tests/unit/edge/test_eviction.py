"""What makes room on a disk with a budget, what never does, and what becomes of it while it is not here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from driftlog_edge.errors import Deleted, Evicted, NotFound
from driftlog_edge.incoming.recount import recount
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.digests import ScopeDigest, digest_of
from driftlog_edge.store.evicted import Marker, Trace, marker_of, traced
from driftlog_edge.store.eviction import Eviction
from driftlog_edge.store.generations import serving
from driftlog_edge.store.uses import APART_MS, REMEMBERED, Uses
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import codecs_of
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, EPOCH_MS, SCOPES, Replica, finished
from tests.unit.edge.shop import CONTRACT, PARTITIONS
from tests.unit.edge.test_going_up import sync
from tests.unit.edge.test_returning import look, read, tidy

S1 = partition_of("s1", PARTITIONS)
PLACE = ("retail.state", S1)
TEA, OAT, RYE = (DocumentId("Stock", "s1", name) for name in ("tea", "oat", "rye"))
TODAY = DocumentId("Ledger", "s1", "today")
ALL = 1 << 30
"""Bytes: as many as there are."""


class Room:
    """Makes room in a replica."""

    def __init__(self, replica: Replica, ids: FixedIds, contract: AppContract = CONTRACT) -> None:
        self.replica = replica
        self.uses = Uses(replica.journal, replica.views.generations, replica.clock)
        self.disputed: set[DocumentId] = set()
        self._eviction = Eviction(
            contract,
            codecs_of(COLLECTIONS, ids),
            Versions(ids),
            replica.journal,
            self.uses,
            self.disputed.__contains__,
            replica.clock,
        )

    def make(self, need: int = ALL) -> list[str]:
        """The ids of what goes, in order."""
        chosen = [one.row for one in finished(self._eviction.choose(need))]
        writes = self._eviction.evict(chosen)
        self.replica.journal.stage(writes, sync=True)
        self.replica.commit()
        gone = [keys.document_of_confirmed(row) for row in chosen if (Family.CONFIRMED, row) in writes]
        for key in gone:
            self.replica.views.forget(key)
        return [key.decode().rsplit("/", 1)[1] for key in gone]


def known(replica: Replica) -> ScopeDigest:
    return digest_of(replica.journal, "retail", S1, serving(replica.journal, "retail", S1), "s1")


def marker(replica: Replica, document: DocumentId) -> Marker | None:
    return marker_of(replica.journal, replica.views.generations.key(replica.journal, document))


def evicted_keys(replica: Replica) -> list[bytes]:
    return [key for key, _ in replica.store.scan(Family.META, keys.EVICTED)]


def declared(**how: Any) -> AppContract:
    """The app with `Stock` declared otherwise."""
    retail = CONTRACT.spaces["retail"]
    stock = replace(retail.collections["Stock"], **how)
    return replace(
        CONTRACT,
        spaces={**CONTRACT.spaces, "retail": replace(retail, collections={**retail.collections, "Stock": stock})},
    )


@pytest.fixture
def replica(lives: Callable[..., Replica], cloud: Cloud) -> Replica:
    """With three documents of one collection and one of another."""
    replica = lives()
    for document in (TEA, OAT, RYE):
        cloud.write(document, "on_hand", "increment", 3)
    cloud.write(TODAY, "sold", "increment", 3)
    read(replica, cloud)
    return replica


@pytest.fixture
def room(replica: Replica, ids: FixedIds) -> Room:
    return Room(replica, ids)


def test_what_is_confirmed_goes_and_is_evicted_not_missing(replica: Replica, room: Room, cloud: Cloud) -> None:
    before = known(replica)
    assert sorted(room.make()) == ["oat", "rye", "tea", "today"]
    assert list(replica.store.scan(Family.CONFIRMED, b"")) == []
    with pytest.raises(Evicted, match="Stock/s1/tea is evicted") as told:
        replica.value(*TEA)
    assert "online" in told.value.remedy and told.value.document == TEA
    with pytest.raises(NotFound):
        replica.value("Stock", "s1", "spelt")
    assert known(replica) == before._replace(evicted=4, moves=1), "the digest is of what is known, not of what is here"
    assert ScopeDigest.decode(known(replica).encode()) == known(replica)
    ids = [document.id for document in replica.views.documents("Stock", "s1")]
    assert ids == ["oat", "rye", "tea"], "whoever lists them meets them"


def test_counting_the_rows_finds_those_that_are_evicted(replica: Replica, room: Room, ids: FixedIds) -> None:
    room.make()
    assert finished(recount(replica.journal, Versions(ids), "retail", S1, 0, SCOPES)) == {}
    ((key, raw), *_) = replica.store.scan(Family.META, keys.EVICTED)
    wrong = Marker.decode(raw)._replace(digest=1)
    replica.journal.stage({(Family.META, key): wrong.encode()}, sync=True)
    assert finished(recount(replica.journal, Versions(ids), "retail", S1, 0, SCOPES)) != {}


def test_what_commands_wait_on_never_goes(replica: Replica, room: Room, cloud: Cloud, ids: FixedIds) -> None:
    replica.do("sell", store="s1", sku="tea", qty=1)
    assert sorted(room.make()) == ["oat", "rye"], "tea and the ledger are changed here"
    (batch,) = replica.ship()
    assert room.make() == [], "sent, but not known to be merged"
    row = cloud.merge(batch)
    replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert row.entries and room.make() == [], "merged, but the state that shows it is not here"
    read(replica, cloud)
    assert sorted(room.make()) == ["tea", "today"]


def test_what_runs_again_or_waits_for_a_person_never_goes(replica: Replica, room: Room, cloud: Cloud) -> None:
    executed = replica.do("receive", store="s1", sku="tea", qty=1)
    lsn = replica.entry(executed.command_id).lsn
    for key in (keys.again_key(lsn), keys.review_key(lsn), keys.left_key("retail", S1, "store-1.1", 1, lsn)):
        waits = {
            (Family.META, key): executed.command_id.encode(),
            **{(Family.PENDING, there): None for there, _ in replica.store.scan(Family.PENDING, b"")},
        }
        replica.journal.stage(waits, sync=True)
        replica.commit()
        assert "tea" not in room.make()
        replica.journal.stage({(Family.META, key): None}, sync=True)
        replica.commit()
    assert room.make() == ["tea"]


def test_what_is_in_a_conflict_never_goes(room: Room) -> None:
    room.disputed.add(TEA)
    assert "tea" not in room.make()
    room.disputed.clear()
    assert room.make() == ["tea"]


def test_a_deletion_is_kept(replica: Replica, room: Room, cloud: Cloud) -> None:
    cloud.write(TEA, "", "delete", None)
    read(replica, cloud)
    assert "tea" not in room.make()
    with pytest.raises(Deleted):
        replica.value(*TEA)


# -- in which order


def test_those_go_first_that_were_used_longest_ago(replica: Replica, room: Room) -> None:
    for document in (OAT, TODAY, RYE, TEA):
        replica.clock.pass_seconds(1)
        room.uses.note([document])
    assert room.make(1) == ["oat"]
    replica.clock.pass_seconds(1)
    room.uses.note([TODAY])
    assert room.make(1) == ["rye"]
    assert room.make() == ["tea", "today"]


def test_no_more_goes_than_makes_the_room(replica: Replica, room: Room) -> None:
    sizes = {key: len(key) + len(value) for key, value in replica.store.scan(Family.CONFIRMED, b"")}
    assert len(room.make(max(sizes.values()) + 1)) == 2


@pytest.mark.parametrize(("how", "order"), [("first", 0), ("last", -1)])
def test_the_declaration_says_which_collection_goes_first(
    replica: Replica, ids: FixedIds, how: str, order: int
) -> None:
    room = Room(replica, ids, declared(evict=how))
    room.uses.note([TODAY] if how == "last" else [TEA, OAT, RYE])
    gone = room.make()
    assert gone[3 if how == "first" else 0] == "today"


def test_what_is_declared_so_never_goes(replica: Replica, ids: FixedIds) -> None:
    assert Room(replica, ids, declared(evict="never")).make() == ["today"]


def test_what_nobody_has_used_for_so_long_goes_before_the_rest_of_its_class(
    replica: Replica, ids: FixedIds, cloud: Cloud
) -> None:
    room = Room(replica, ids, declared(evict_after=60.0))
    room.uses.note([TEA, OAT, RYE])
    replica.clock.pass_seconds(61)
    room.uses.note([RYE])
    assert room.make()[:2] == ["oat", "tea"], "although the ledger, which has no such time, was never used here"


def test_uses_are_written_together_and_seldom(
    replica: Replica, room: Room, lives: Callable[..., Replica], ids: FixedIds
) -> None:
    replica.clock.pass_seconds(APART_MS / 1000)
    room.uses.note([TEA])
    first = room.uses.written()
    assert len(first) == 1 and room.uses.written() == {}
    replica.journal.stage(first, sync=True)
    room.uses.note([TEA])
    assert room.uses.written() == {}, "it would say the same"
    room.uses.note([DocumentId("Stock", "s1", "spelt")])
    assert room.uses.written() == {}, "of what is not here nothing is kept"
    replica.commit()
    again = Room(lives(), ids)
    assert again.make()[-1] == "tea", "also after a restart"


def test_what_is_remembered_of_uses_is_bounded(replica: Replica, room: Room) -> None:
    room.uses.note(DocumentId("Stock", "s1", str(number)) for number in range(REMEMBERED + 10))
    assert len(room.uses) == REMEMBERED


def test_a_clock_that_was_ahead_keeps_nothing_for_years(replica: Replica, room: Room) -> None:
    row = replica.views.generations.key(replica.journal, OAT)
    replica.journal.stage(traced(row, Trace(0, EPOCH_MS * 2)), sync=True)
    room.uses.note([TEA, RYE, TODAY])
    replica.clock.pass_seconds(1)
    assert room.uses.last(OAT, Trace(0, EPOCH_MS * 2)) == replica.clock.ms


# -- what comes in of it meanwhile


def test_a_new_state_leaves_it_evicted_and_moves_its_marker(replica: Replica, room: Room, cloud: Cloud) -> None:
    room.make()
    cloud.write(TEA, "on_hand", "increment", 4)
    cloud.write(TEA, "on_hand", "increment", 5)
    read(replica, cloud)
    found = marker(replica, TEA)
    assert found is not None and found.offset == cloud.of(*PLACE)[-1].offset
    assert found.vector == cloud.states[TEA].vector
    assert replica.views.confirmed_vector(TEA) == found.vector
    assert known(replica).own == cloud.digest("retail", "s1") and not known(replica).differs
    assert known(replica).evicted == 4
    with pytest.raises(Evicted):
        replica.value(*TEA)


def test_a_deletion_that_comes_in_is_kept_as_a_row(replica: Replica, room: Room, cloud: Cloud) -> None:
    room.make()
    cloud.write(TEA, "", "delete", None)
    read(replica, cloud)
    with pytest.raises(Deleted):
        replica.value(*TEA)
    assert marker(replica, TEA) is None and known(replica).evicted == 3
    assert known(replica).own == cloud.digest("retail", "s1")
    cloud.purge(TEA)
    read(replica, cloud)
    with pytest.raises(NotFound):
        replica.value(*TEA)


def test_a_purge_without_its_deletion_takes_no_document_that_is_evicted(
    replica: Replica, room: Room, cloud: Cloud
) -> None:
    room.make()
    cloud.purge(TEA)
    read(replica, cloud)
    assert marker(replica, TEA) is not None


def test_a_late_state_does_not_stand_in_the_place_of_what_was_evicted(
    replica: Replica, room: Room, cloud: Cloud
) -> None:
    cloud.write(TEA, "on_hand", "increment", 1)
    read(replica, cloud)
    room.make()
    before = marker(replica, TEA)
    late = cloud.of(*PLACE)[0]
    cloud.publish(*PLACE, late.key, late.value, late.headers)
    read(replica, cloud)
    assert marker(replica, TEA) == before


# -- afterwards


def test_what_is_evicted_stays_so_over_a_restart(replica: Replica, room: Room, lives: Callable[..., Replica]) -> None:
    room.make()
    again = lives()
    with pytest.raises(Evicted):
        again.value(*TEA)
    assert known(again).evicted == 4


def test_a_partition_that_is_read_again_has_all_of_it_and_leaves_no_marker(
    replica: Replica, room: Room, cloud: Cloud
) -> None:
    cloud.topic_ids["retail.state"] = "first"
    look(replica, cloud)
    room.make()
    cloud.topic_ids["retail.state"] = "second"
    assert look(replica, cloud)
    with pytest.raises(Evicted):
        replica.value(*TEA)
    read(replica, cloud)
    replica.views.forget_all()
    assert replica.on_hand("tea") == 3 and known(replica).evicted == 0
    tidy(replica)
    assert evicted_keys(replica) == []


def test_what_only_goes_up_leaves_by_its_own_way_and_is_never_evicted(
    replica: Replica, cloud: Cloud, ids: FixedIds
) -> None:
    """No marker could fetch it again: records of it are read only where there is a row, or changes of ours are pending."""
    replica.do("sense", store="s1", name="heat", note="warm")
    replica.do("receive", store="s1", sku="tea", qty=1)
    sync(replica, cloud)
    reading = DocumentId("Reading", "s1", "heat")
    gone = Room(replica, ids).make()
    assert "tea" in gone
    assert "heat" not in gone
    assert marker(replica, reading) is None
    assert replica.value("Reading", "s1", "heat")["times"] == 1
