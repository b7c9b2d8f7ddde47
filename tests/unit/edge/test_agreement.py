"""What differs from the cloud is found, counted and read again; what agrees, or is only late, never is."""

from __future__ import annotations

import pytest

from driftlog_edge.incoming.agreement import APART_MS, GRACE_SECONDS, Agreement
from driftlog_edge.incoming.recount import AT_ONCE, recount
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.digests import ScopeDigest, digest_of
from driftlog_edge.store.evicted import Marker, evicted
from driftlog_edge.store.generations import serving
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, partition_of_space
from tests.unit.edge.replica import Replica, finished

S1 = partition_of_space("retail", "s1")
TEA = DocumentId("Stock", "s1", "tea")
OAT = DocumentId("Stock", "s1", "oat")
STATES = "retail.state"


def known(replica: Replica, scope: str = "s1") -> ScopeDigest:
    return digest_of(replica.journal, "retail", S1, serving(replica.journal, "retail", S1), scope)


def agreement(replica: Replica) -> Agreement:
    return replica.puller.agreement


def compare(replica: Replica, at: float = 0.0) -> None:
    agreement(replica).in_step("retail", S1, at)


def heal(replica: Replica, at: float = GRACE_SECONDS) -> bool:
    """Does a partition begin to be read again now?"""
    writes = agreement(replica).heal(at, replica.clock.ms)
    replica.journal.stage(writes, sync=True)
    replica.commit()
    return bool(writes)


def read_again(replica: Replica, cloud: Cloud) -> None:
    """The whole partition, into fresh rows."""
    records = cloud.of(STATES, S1)
    replica.take(lambda: finished(replica.puller.states("retail", STATES, S1, records, at_end=True)))


def damage(replica: Replica, document: DocumentId, value: bytes | None) -> None:
    """Somebody changes a row behind the agent's back."""
    row = keys.confirmed_prefix("retail", S1, serving(replica.journal, "retail", S1)) + document_key(document)
    replica.store.write({(Family.CONFIRMED, row): value}, sync=True)


def count_again(replica: Replica, versions: Versions) -> dict[str, int]:
    work = recount(replica.journal, versions, "retail", S1, serving(replica.journal, "retail", S1), ["s1"])
    while True:
        try:
            next(work)
        except StopIteration as end:
            return dict(end.value)


def test_what_is_evicted_is_counted_in_turns(replica: Replica, ids: FixedIds) -> None:
    for number in range(5 * AT_ONCE):
        row = keys.confirmed_prefix("retail", S1, 0) + document_key(DocumentId("Stock", "s1", f"n{number}"))
        replica.journal.stage(evicted(row, Marker(-1, 1 << number % 64, {})), sync=False)
    replica.commit()
    turns = list(recount(replica.journal, Versions(ids), "retail", S1, 0, ["s1"]))
    assert len(turns) == 5


@pytest.fixture
def filled(replica: Replica, cloud: Cloud) -> Replica:
    for document in (TEA, OAT, TEA):
        cloud.write(document, "on_hand", "increment", 7)
    replica.pull_states(cloud.of(STATES, S1), S1)
    return replica


def test_a_replica_that_read_all_agrees(filled: Replica, cloud: Cloud) -> None:
    assert known(filled) == ScopeDigest(cloud.digest("retail", "s1"), 2, cloud.digest("retail", "s1"))
    compare(filled)
    assert not agreement(filled).due(1e9, filled.clock.ms) and not heal(filled, 1e9)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_row_that_was_dropped_is_noticed_counted_and_healed(replica: Replica, cloud: Cloud, lost: int) -> None:
    for document in (TEA, OAT):
        cloud.write(document, "on_hand", "increment", 7)
    records = cloud.of(STATES, S1)
    cloud.write(DocumentId("Stock", "s1", "rye"), "on_hand", "increment", 1)
    replica.pull_states([*records[:lost], *records[lost + 1 :], cloud.of(STATES, S1)[2]], S1)
    compare(replica)
    assert not heal(replica, GRACE_SECONDS - 1), "it may be late only"
    assert heal(replica) and agreement(replica).mismatches == 1
    assert "differs from the cloud's" in replica.puller.returns.status()[f"retail/{S1}"]["why"]

    read_again(replica, cloud)
    assert replica.on_hand("tea") == replica.on_hand("oat") == 7
    compare(replica, 100)
    assert not known(replica).differs and not heal(replica, 1e9) and agreement(replica).mismatches == 1
    assert agreement(replica).problem == ""


def test_what_stays_different_is_told_and_not_read_again_before_its_time(filled: Replica, cloud: Cloud) -> None:
    cloud.write(OAT, "on_hand", "increment", 1)
    record = cloud.of(STATES, S1)[-1]
    wrong = record._replace(headers=(*record.headers[:-1], ("driftlog.digest", b"00000000000000aa")))
    cloud.topics[STATES, S1][-1] = wrong
    filled.pull_states([wrong], S1)
    compare(filled)
    assert heal(filled)
    read_again(filled, cloud)
    compare(filled, 100)
    assert not heal(filled, 200) and agreement(filled).mismatches == 2
    assert "s1" in agreement(filled).problem
    assert not agreement(filled).due(300, filled.clock.ms), "once is enough"
    again = Agreement(filled.journal, filled.puller.returns, ["s1"])
    again.in_step("retail", S1, 0)
    assert not again.heal(GRACE_SECONDS, filled.clock.ms + APART_MS - 1), "a restart does not shorten it"
    assert again.heal(GRACE_SECONDS, filled.clock.ms + APART_MS)


def test_while_nothing_is_read_nobody_knows_whether_a_difference_stands(replica: Replica, cloud: Cloud) -> None:
    """A worker's record was lost and its successor sends it again; between the two the disk was full here, or the network away."""
    replica.do("receive", "c1", store="s1", sku="tea", qty=1)
    replica.do("receive", "c2", store="s1", sku="oat", qty=2)
    for sealed in replica.ship():
        cloud.merge(sealed)
    records = cloud.of(STATES, S1)
    replica.pull_states(records[1:], S1)
    compare(replica)
    agreement(replica).stopped()
    assert not agreement(replica).due(1e6, replica.clock.ms) and not heal(replica, 1e6)
    agreement(replica).looked_at("retail", S1, 1e6)
    assert not agreement(replica).due(1e6, replica.clock.ms), "that the rows were counted says nothing of the cloud"
    assert agreement(replica).mismatches == 0

    compare(replica, 2e6)
    assert heal(replica, 2e6) and agreement(replica).mismatches == 1, "it was read on to the end, and it stood"


def test_a_late_group_is_no_difference_and_what_it_says_is_outdated(replica: Replica, cloud: Cloud) -> None:
    cloud.write(TEA, "on_hand", "increment", 7)
    late = cloud.of(STATES, S1)[0]
    headers = (("driftlog.group", b"0"), *late.headers[1:])
    cloud.write(TEA, "on_hand", "increment", 1)
    replica.pull_states(cloud.of(STATES, S1), S1)
    before = known(replica)
    replica.pull_states([late._replace(offset=2, headers=headers)], S1)
    assert known(replica) == before


def test_a_late_state_that_changes_something_leaves_nothing_told(filled: Replica, cloud: Cloud) -> None:
    other = DocumentId("Stock", "s1", "late")
    cloud.write(other, "on_hand", "increment", 1)
    record = cloud.of(STATES, S1)[-1]
    filled.pull_states([record._replace(headers=(("driftlog.group", b"0"), *record.headers[1:]))], S1)
    assert known(filled).told is None and known(filled).own == cloud.digest("retail", "s1")
    compare(filled)
    assert not heal(filled, 1e9)


def test_an_older_workers_group_tells_nothing(filled: Replica, cloud: Cloud) -> None:
    cloud.write(OAT, "on_hand", "increment", 1)
    record = cloud.of(STATES, S1)[-1]
    filled.pull_states([record._replace(headers=record.headers[:2])], S1)
    assert known(filled).told is None


def test_a_scope_that_is_not_held_is_not_compared(filled: Replica, cloud: Cloud) -> None:
    cloud.write(DocumentId("Stock", "s99", "tea"), "on_hand", "increment", 1)
    filled.pull_states(cloud.of(STATES, S1)[3:], S1)
    assert known(filled, "s99") == ScopeDigest()


def test_an_op_log_that_was_made_anew_leaves_nothing_told(filled: Replica, cloud: Cloud) -> None:
    own = known(filled).own
    filled.journal.stage(filled.puller.returns.log_made_anew("retail", S1), sync=True)
    assert known(filled) == ScopeDigest(own)


@pytest.mark.parametrize("value", [None, b"\x00\x00\x00\x00\x01damaged"], ids=["lost", "damaged"])
def test_counting_the_rows_finds_what_was_changed_behind_the_agents_back(
    filled: Replica, ids: object, value: bytes | None
) -> None:
    versions = Versions(ids)  # type: ignore[arg-type]
    assert count_again(filled, versions) == {}
    damage(filled, OAT, value)
    assert not known(filled).differs
    ((scope, difference),) = count_again(filled, versions).items()
    right = known(filled)._replace(own=known(filled).own ^ difference)
    assert scope == "s1" and right.differs


def test_an_entry_is_read_as_it_was_written() -> None:
    for entry in (ScopeDigest(), ScopeDigest(5, 9), ScopeDigest(1 << 63, 0, 0), ScopeDigest(1, 2, (1 << 64) - 1)):
        assert ScopeDigest.decode(entry.encode()) == entry
