"""A folder that was restored or copied goes on under a new life, and every command it answered counts exactly once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.lives import Chain
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, Replica
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
        at = cursor_of(replica.store, topic, S1).offset
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
            end_and_renew(replica, cloud)
        if not replica.views.backlog:
            return
    raise AssertionError("it does not come to rest")


def end_and_renew(replica: Replica, cloud: Cloud) -> None:
    """The old life is ended, and what its chain does not hold taken along."""
    end = replica.end_the_old_life(S1)
    if end is not None:
        cloud.merge(end)
        pull(replica, cloud, RECEIPTS)
    replica.renew(cloud.of(OPS, S1))


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
    assert len(one.lives.all()) == len(other.lives.all()) == 2, "the shared life is over for both"
    assert one.lives.replica != other.lives.replica


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


def forked(replica: Replica) -> None:
    """Mark the life as over, as if another copy had been heard."""
    chain = replica.lives.chain("retail", S1)
    replica.journal.stage(replica.lives.written("retail", S1, replace(chain, fork="forked")), sync=True)
    replica.commit()


@pytest.mark.parametrize("before", [True, False], ids=["before the end", "after the end"])
def test_a_batch_that_was_sent_is_in_the_old_chain_or_taken_along(folders: Folders, cloud: Cloud, before: bool) -> None:
    replica = folders.open("a")
    receive(replica, "c1", 1)
    (sent,) = replica.ship()
    forked(replica)
    end = replica.end_the_old_life(S1)
    assert end is not None and not replica.renewal.over("retail", S1), "nobody knows yet what becomes of what was sent"
    for sealed in (sent, end) if before else (end, sent):
        cloud.merge(sealed)
    settle(replica, cloud)
    assert merged(cloud) == replica.on_hand("tea") == 1
    assert replica.entry("c1").status is Status.MERGED
    assert replica.lives.newest.rebased == (0 if before else 1)


def two_with_many(folders: Folders, count: int = 6) -> tuple[Replica, Replica]:
    """Two copies that hold more unsent commands than they put into one batch, each with one of its own in front."""
    first = folders.open("a")
    for n in range(count):
        receive(first, f"shared-{n}", 10**n)
    folders.copy("a", "b")
    return folders.open("a"), folders.open("b")


def ship_some(replica: Replica, cloud: Cloud, batches: int) -> None:
    for sealed in replica.ship(batches):
        cloud.merge(sealed)
        replica.shipper.delivered(sealed, 0.0)


@pytest.mark.parametrize("sent", range(7))
def test_two_copies_with_more_unsent_commands_than_a_batch_takes(
    folders: Folders, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    """One of them has sent so many batches when the other finds out; then both go on at once."""
    monkeypatch.setattr("driftlog_edge.outgoing.outbox.SEALED_OPS", 1)
    one, other = two_with_many(folders)
    other.do("reprice", "first", store="s1", sku="milk", price=1)  # so that its batches differ
    for n in range(2):
        receive(other, f"other-{n}", 10 ** (6 + n))
    ship_some(one, cloud, sent)
    forked(other)
    end = other.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    for _ in range(8):  # by turns, a batch each
        for replica in (one, other):
            pull(replica, cloud)
            while replica.renewal.due:
                end_and_renew(replica, cloud)
            ship_some(replica, cloud, 1)
    settle(one, cloud)
    settle(other, cloud)
    pull(one, cloud)
    assert merged(cloud) == one.on_hand("tea") == other.on_hand("tea") == 11_111_111
    for replica in (one, other):
        assert {replica.entry(f"shared-{n}").status for n in range(6)} == {Status.MERGED}
    assert one.entry("shared-5").code == "" == other.entry("shared-5").code


# -- killed at every step


@pytest.mark.parametrize("step", range(5))
def test_a_renewal_goes_on_after_a_kill_at_every_step(folders: Folders, cloud: Cloud, step: int) -> None:
    replica = folders.open("a")
    receive(replica, "before", 1)
    settle(replica, cloud)
    receive(replica, "pending", 10)
    forked(replica)
    old = replica.lives.chain("retail", S1).replica

    def again() -> Replica:
        folders.close()
        return folders.open("a")

    if step == 0:
        replica = again()
    end = replica.end_the_old_life(S1)
    assert end is not None
    receive(replica, "meanwhile", 100)
    if step == 1:
        replica = again()
        end = replica.end_the_old_life(S1)
        assert end is not None
    cloud.merge(end)
    if step == 2:  # it does not know that it was sent
        replica = again()
        again_sent = replica.end_the_old_life(S1)
        assert again_sent is not None and again_sent.digest == end.digest, "the same batch, a repeat"
        cloud.merge(again_sent)
    pull(replica, cloud)
    if step == 3:
        replica = again()
    assert replica.lives.chain("retail", S1).replica == old, "all is written under the old name until then"
    receive(replica, "still", 1000)
    replica.renew(cloud.of(OPS, S1))
    if step == 4:
        replica = again()
    receive(replica, "after", 10_000)
    settle(replica, cloud)

    assert merged(cloud) == replica.on_hand("tea") == 11_111
    assert len(replica.lives.all()) == 2
    assert (replica.lives.newest.rebased, replica.lives.newest.review) == (3, 0)


def test_a_folder_copied_while_its_next_life_waits(folders: Folders, cloud: Cloud) -> None:
    """Both copies have sealed the same first batch of one new life."""
    first = folders.open("a")
    receive(first, "shared", 1)
    forked(first)
    assert first.end_the_old_life(S1) is not None
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(one, "mine", 10)
    receive(other, "theirs", 100)
    for replica in (one, other):
        end_and_renew(replica, cloud)
    settle(one, cloud)
    settle(other, cloud)
    pull(one, cloud)
    settle(one, cloud)
    pull(other, cloud)
    assert merged(cloud) == one.on_hand("tea") == other.on_hand("tea") == 111


@pytest.mark.parametrize("more", [0, 10], ids=["in the same batch", "in another batch"])
def test_what_another_copy_has_brought_under_the_same_new_life_waits_for_nothing_more(
    folders: Folders, cloud: Cloud, more: int
) -> None:
    """The state came before this copy had its own entry for it, so no later one drops that."""
    first = folders.open("a")
    receive(first, "shared", 1)
    forked(first)
    assert first.end_the_old_life(S1) is not None
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    if more:
        receive(one, "mine", more)
    end = one.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    pull(other, cloud, RECEIPTS)
    end_and_renew(one, cloud)
    settle(one, cloud)
    pull(other, cloud, STATE)
    other.renew(cloud.of(OPS, S1))
    settle(other, cloud)
    assert merged(cloud) == one.on_hand("tea") == other.on_hand("tea") == 1 + more
    assert not other.views.backlog


def test_what_is_taken_along_lies_over_what_another_copy_has_brought_under_the_same_new_life(
    folders: Folders, cloud: Cloud
) -> None:
    """Until the cloud tells them apart its own changes are not taken for those of the other."""
    first = folders.open("a")
    receive(first, "shared", 1)
    forked(first)
    assert first.end_the_old_life(S1) is not None
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(one, "mine", 10)
    receive(other, "theirs", 100)
    end = one.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    pull(other, cloud, RECEIPTS)
    end_and_renew(one, cloud)
    settle(one, cloud)
    pull(other, cloud, STATE)
    other.renew(cloud.of(OPS, S1))
    assert other.on_hand("tea") >= 110
    settle(other, cloud)
    assert merged(cloud) == other.on_hand("tea") == 111


def test_a_life_that_others_use_before_it_has_begun_is_not_taken(folders: Folders, cloud: Cloud) -> None:
    first = folders.open("a")
    receive(first, "shared", 1)
    forked(first)
    assert first.end_the_old_life(S1) is not None
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    receive(one, "mine", 10)
    end_and_renew(one, cloud)
    settle(one, cloud)
    pull(other, cloud)
    settle(other, cloud)
    assert merged(cloud) == other.on_hand("tea") == 11
    assert other.entry("shared").status is Status.MERGED
    assert one.lives.replica != other.lives.replica


def test_what_was_read_of_a_copy_under_the_same_name_is_among_what_its_reader_had_seen(
    folders: Folders, cloud: Cloud
) -> None:
    """A tag that the copy added is seen here, and taken away before the new life begins: it does not come back."""
    first = folders.open("a")
    receive(first, "base", 1)
    settle(first, cloud)
    folders.copy("a", "b")
    one, copy = folders.open("a"), folders.open("b")
    for tag in ("early", "late"):
        copy.journal.stage(copy.executor.write(TEA, [("tags", "add", [tag])], tag).writes or {}, sync=True)
    copy.commit()
    ship(copy, cloud)
    receive(one, "mine", 10)
    pull(one, cloud, STATE)
    one.journal.stage(one.executor.write(TEA, [("tags", "remove", ["late"])], "removed").writes or {}, sync=True)
    one.commit()

    settle(one, cloud)
    assert len(one.lives.all()) == 2
    assert merged(cloud) == one.on_hand("tea") == 11
    assert one.value("Stock", "s1", "tea")["tags"] == ["early"]


def test_the_root_of_a_command_stays_over_several_lives_and_when_it_runs_again(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "c", 1)
    root = replica.lives.replica
    for _ in range(2):
        forked(replica)
        end_and_renew(replica, cloud)
    assert replica.lives.replica != root
    (batch,) = [decode_body(BatchCodec(FixedIds()).open(sealed.value).body) for sealed in replica.ship()]
    assert [command.root for command in batch.commands] == [root]
    assert batch.ends == (root,), "whoever lost the row that says so hears it again"


def test_what_the_old_chain_had_refused_for_now_runs_again_in_every_copy_and_counts_once(
    folders: Folders, cloud: Cloud
) -> None:
    first = folders.open("a")
    receive(first, "c", 1)
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    cloud.rejects["c"] = "builds_on_refused"
    ship(one, cloud)
    del cloud.rejects["c"]
    receive(other, "own", 10)
    ship(other, cloud)
    pull(other, cloud)
    end_and_renew(other, cloud)
    for replica in (other, one):
        pulled = replica.pull_receipts(cloud.of(RECEIPTS, S1), S1)
        replica.run_again(pulled)
        settle(replica, cloud)
    pull(other, cloud)
    pull(one, cloud)
    assert merged(cloud) == one.on_hand("tea") == other.on_hand("tea") == 11
    assert one.entry("c").status is other.entry("c").status is Status.MERGED


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
    end = restored.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    pull(restored, cloud)
    restored.renew([])
    settle(restored, cloud)

    said = {name: restored.entry(name) for name in ("maybe", "maybe-not", "surely-not")}
    assert [entry.status for entry in said.values()] == [Status.REVIEW, Status.REVIEW, Status.MERGED]
    assert said["maybe"].code == "maybe_counted"
    assert merged(cloud) == restored.on_hand("tea") == 1011
    assert (restored.lives.newest.rebased, restored.lives.newest.review) == (1, 2)


def test_an_edit_of_what_waits_for_a_person_waits_with_it(folders: Folders, cloud: Cloud) -> None:
    """Without what it stands beside it has no effect, or one that nobody meant: the other copy has used the same clocks."""
    leaflet = DocumentId("Leaflet", "s1", "may")

    def edit(replica: Replica, command_id: str, kind: str, at: int, what: object) -> None:
        done = replica.executor.write(leaflet, [("text", kind, [at, what])], command_id)
        replica.journal.stage(done.writes or {}, sync=True)
        replica.commit()

    first = folders.open("a")
    edit(first, "base", "insert", 0, "Tea. ")
    settle(first, cloud)
    folders.copy("a", "backup")
    first = folders.open("a")
    edit(first, "theirs", "insert", 5, "xyz")
    settle(first, cloud)
    restored = folders.open("backup")
    for command_id, kind, at, what in (
        ("maybe", "insert", 5, "abc"),  # under dots and clocks that the other copy has used
        ("beside", "insert", 8, "def"),
        ("beside that", "insert", 9, "ghi"),
        ("of it", "delete", 5, 2),
        ("far from it", "insert", 0, "Green "),
        ("beside what comes along", "insert", 6, "or black "),
        ("of what is merged", "delete", 18, 1),
    ):
        edit(restored, command_id, kind, at, what)
    pull(restored, cloud)
    end = restored.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    pull(restored, cloud)
    restored.renew([])
    settle(restored, cloud)

    said = {r.command.id: r.entry.code for r in restored.again.review()}
    left = "stands_on_review"
    assert said == {"maybe": "maybe_counted", "beside": left, "beside that": left, "of it": left}
    for command_id in ("far from it", "beside what comes along", "of what is merged"):
        assert restored.entry(command_id).status is Status.MERGED, command_id
    assert restored.value("Leaflet", "s1", "may")["text"] == "Green or black Tea xyz"


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


def test_names_that_were_forgotten_leave_the_contexts_and_what_takes_away_goes_to_a_person(
    folders: Folders, cloud: Cloud
) -> None:
    replica = folders.open("a")
    cloud.write(TEA, "tags", "add", "new")
    pull(replica, cloud, STATE)
    replica.do("reprice", "set", store="s1", sku="tea", price=3)
    write = [("tags", "remove", ["new"])]
    removed = replica.executor.write(TEA, write, "remove")
    replica.journal.stage(removed.writes or {}, sync=True)
    replica.commit()
    assert COLLECTIONS["Stock"].document.fold(cloud.states[TEA], {"office.1": ""})
    cloud.publish_group("retail", S1, [TEA], number=20_000)
    pull(replica, cloud, STATE)
    forked(replica)
    end_and_renew(replica, cloud)

    assert (replica.entry("remove").status, replica.entry("remove").code) == (Status.REVIEW, "forgotten")
    (batch,) = [decode_body(BatchCodec(FixedIds()).open(sealed.value).body) for sealed in replica.ship()]
    ((_, op),) = [pair for command in batch.commands for pair in command.ops]
    assert "office.1" not in (op.context or {}) and op.kind == "set"


def test_what_the_old_chain_holds_and_was_purged_since_waits_for_nothing(folders: Folders, cloud: Cloud) -> None:
    """An older copy of the folder brings a command that has been merged, deleted with its document and purged."""
    first = folders.open("a")
    receive(first, "settled", 1)
    settle(first, cloud)
    receive(first, "gone", 10)
    folders.copy("a", "backup")
    first = folders.open("a")
    receive(first, "another", 100)
    settle(first, cloud)
    cloud.write(TEA, DOCUMENT, DELETE, None)
    cloud.purge(TEA)

    restored = folders.open("backup")
    receive(restored, "later", 1000)
    settle(restored, cloud)

    left = [keys.parse_lsn(key) for key, _ in restored.store.scan(Family.PENDING, b"")]
    assert left == [] and len(restored.views.backlog) == 0
    assert restored.entry("gone").status is Status.MERGED


def test_a_change_of_a_purged_document_runs_again_under_a_new_life(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "before", 1)
    settle(replica, cloud)
    receive(replica, "c", 10)
    cloud.rejects["c"] = "purged"
    ship(replica, cloud)
    del cloud.rejects["c"]
    pulled = replica.pull_receipts(cloud.of(RECEIPTS, S1), S1)
    replica.run_again(pulled)
    assert replica.lives.chain("retail", S1).fork == "purged"
    settle(replica, cloud)
    assert replica.entry("c").status is Status.MERGED
    assert len(replica.lives.all()) == 2


@pytest.mark.parametrize("sent", [False, True], ids=["not sent", "sent in vain"])
def test_what_is_taken_along_keeps_its_class_and_its_order(
    folders: Folders, cloud: Cloud, ids: FixedIds, sent: bool
) -> None:
    replica = folders.open("a")
    replica.do("rename", "low", store="s1", sku="n0", name="pu-erh")
    for n in range(3):
        replica.do("receive", f"n{n}", store="s1", sku=f"n{n + 1}", qty=1)
    receive(replica, "before", 1)
    replica.do("recall", "urgent", store="s1", sku="tea")
    if sent:
        assert replica.ship()
    forked(replica)
    end_and_renew(replica, cloud)
    batches = [BatchCodec(ids).open(batch.value) for batch in replica.ship()]
    leaves = [command.id for batch in batches for command in decode_body(batch.body).commands]
    assert leaves == ["before", "urgent", "n0", "n1", "n2", "low"]


def test_a_life_without_anything_open_is_followed_by_the_newest_with_the_next_command(
    folders: Folders, cloud: Cloud
) -> None:
    replica = folders.open("a")
    receive(replica, "c1", 1)
    settle(replica, cloud)
    old = replica.lives.replica
    _, writes = replica.lives.begun(replica.clock.ms, "another partition's")
    replica.journal.stage(writes, sync=True)
    forked(replica)
    assert replica.renewal.ending("retail", S1) == old
    receive(replica, "c2", 1)
    assert replica.renewal.ending("retail", S1) == ""
    assert replica.lives.chain("retail", S1).replica == replica.lives.replica != old
    settle(replica, cloud)
    assert merged(cloud) == 2
    assert [life.why for life in replica.lives.all()[1:]] == ["another partition's"]
