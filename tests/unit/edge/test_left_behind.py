"""What a life leaves parked in its chain comes to its end under the next one, and what was promised under it is never plainly refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_crdt import BadOperation
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.left import left_in
from driftlog_edge.store.lives import FOREIGN_DOT, MADE_ANEW
from driftlog_edge.store.logged import logged
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, CommandOutcome, Verdict
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_renewal import (
    OPS,
    RECEIPTS,
    S1,
    STATE,
    TEA,
    Folders,
    end_and_renew,
    folders,
    forked,
    merged,
    pull,
    receive,
    settle,
    ship,
)

__all__ = ["folders"]


def left_parked(folders: Folders, cloud: Cloud) -> tuple[Replica, str, Command]:
    """A replica in its second life, its first one's name, and the command that is parked under that."""
    replica = folders.open("a")
    cloud.parks.add("waits")
    receive(replica, "waits", 1)
    command = logged(replica.journal, replica.entry("waits").lsn).command
    old = replica.lives.replica
    ship(replica, cloud)
    pull(replica, cloud)
    assert replica.entry("waits").status is Status.PARKED
    receive(replica, "own", 10)
    forked(replica)
    end_and_renew(replica, cloud)
    receive(replica, "next", 100)
    assert replica.lives.replica != old
    return replica, old, command


@pytest.mark.parametrize("states_first", [True, False], ids=["states first", "rows first"])
@pytest.mark.parametrize("killed", [True, False], ids=["after a restart", "running"])
def test_what_was_parked_is_merged_and_the_caller_is_told(
    folders: Folders, cloud: Cloud, states_first: bool, killed: bool
) -> None:
    replica, old, command = left_parked(folders, cloud)
    pull(replica, cloud)
    assert replica.entry("waits").status is Status.PARKED, "the old row says so still"
    cloud.release(old, command, CommandOutcome("waits", Verdict.ACCEPTED))
    if killed:
        folders.close()
        replica = folders.open("a")
    if states_first:
        pull(replica, cloud, STATE)
    at = len(cloud.of(RECEIPTS, S1)) - 1
    pulled = replica.pull_receipts(cloud.of(RECEIPTS, S1)[at:], S1)
    assert [i for answer in pulled.answered for i in answer.settled] == ["waits"]
    settle(replica, cloud)
    assert replica.entry("waits").status is Status.MERGED
    assert merged(cloud) == replica.on_hand("tea") == 111
    assert not list(left_in(replica.journal, "retail", S1))


def others_write(cloud: Cloud) -> None:
    for _ in range(3):
        cloud.write(DocumentId("Stock", "s1", "milk"), "on_hand", "increment", 1)


def test_what_was_parked_and_released_while_we_were_away_is_seen_until_its_state_comes(
    folders: Folders, cloud: Cloud
) -> None:
    """The row says that it was accepted and not that it had waited: its batch is older than what was read, what decided it is not."""
    replica = folders.open("a")
    cloud.parks.add("waits")
    receive(replica, "waits", 1)
    command = logged(replica.journal, replica.entry("waits").lsn).command
    ship(replica, cloud)
    others_write(cloud)
    pull(replica, cloud, STATE)
    cloud.release(replica.lives.replica, command, CommandOutcome("waits", Verdict.ACCEPTED))
    pull(replica, cloud, RECEIPTS)
    assert replica.entry("waits").status is Status.MERGED
    assert replica.on_hand("tea") == 1, "an acknowledged write is never out of sight"
    settle(replica, cloud)
    assert merged(cloud) == replica.on_hand("tea") == 1


def test_the_same_where_a_copy_of_the_folder_had_sent_it(folders: Folders, cloud: Cloud) -> None:
    one = folders.open("a")
    cloud.parks.add("waits")
    receive(one, "waits", 1)
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    command = logged(one.journal, one.entry("waits").lsn).command
    ship(one, cloud)
    others_write(cloud)
    receive(other, "own", 10)
    pull(other, cloud, STATE)
    cloud.release(one.lives.replica, command, CommandOutcome("waits", Verdict.ACCEPTED))
    pull(other, cloud, RECEIPTS)
    end_and_renew(other, cloud)
    assert other.entry("waits").status is Status.MERGED
    assert other.on_hand("tea") == 11
    settle(other, cloud)
    assert merged(cloud) == other.on_hand("tea") == 11


def test_what_was_parked_and_is_rejected_is_told_as_that(folders: Folders, cloud: Cloud) -> None:
    replica, old, command = left_parked(folders, cloud)
    cloud.release(old, command, CommandOutcome("waits", Verdict.REJECTED, "dropped", "a person gave it up"))
    settle(replica, cloud)
    assert (replica.entry("waits").status, replica.entry("waits").code) == (Status.REJECTED, "dropped")
    assert merged(cloud) == replica.on_hand("tea") == 110


def test_what_was_parked_and_is_given_back_goes_to_a_person_who_can_apply_it(folders: Folders, cloud: Cloud) -> None:
    replica, old, command = left_parked(folders, cloud)
    cloud.release(old, command, CommandOutcome("waits", Verdict.DEFERRED, "parked_too_long", "too old"))
    settle(replica, cloud)
    assert replica.on_hand("tea") == 110, "nothing of it was seen, so it is in no view"
    (reviewed,) = replica.again.review()
    assert (reviewed.command.id, reviewed.entry.code) == ("waits", "parked_too_long")
    cloud.parks.clear()
    replica.journal.stage(replica.again.apply("waits").writes or {}, sync=True)
    replica.commit()
    settle(replica, cloud)
    assert replica.entry("waits").status is Status.MERGED
    assert merged(cloud) == replica.on_hand("tea") == 111


def test_what_came_after_a_parked_command_does_not_wait_for_it(folders: Folders, cloud: Cloud) -> None:
    """It has the state that shows it; what the life before has left in between may be given back without another one."""
    replica, old, command = left_parked(folders, cloud)
    ship(replica, cloud)
    pull(replica, cloud)
    assert [replica.entry(name).status for name in ("own", "next")] == [Status.MERGED] * 2
    (waiting,) = (mark for mark in marks_of(replica.store, document_key(TEA)))
    assert waiting.lsn == replica.entry("waits").lsn

    cloud.release(old, command, CommandOutcome("waits", Verdict.DEFERRED, "parked_too_long", "too old"))
    pull(replica, cloud, RECEIPTS)
    assert not replica.views.backlog


def test_a_parked_change_of_an_earlier_life_hides_no_dot_that_this_folder_never_made(
    folders: Folders, cloud: Cloud
) -> None:
    replica = folders.open("a")
    receive(replica, "before", 1)
    settle(replica, cloud)
    cloud.parks.add("waits")
    receive(replica, "waits", 10)
    ship(replica, cloud)
    pull(replica, cloud)
    forked(replica)
    end_and_renew(replica, cloud)
    cloud.write(TEA, "on_hand", "increment", 100, replica=replica.lives.replica)
    pull(replica, cloud, STATE)
    assert replica.lives.chain("retail", S1).fork == FOREIGN_DOT


def test_it_comes_to_its_end_over_further_lives_and_in_the_folder_of_another_device(
    folders: Folders, cloud: Cloud
) -> None:
    replica, old, command = left_parked(folders, cloud)
    forked(replica)
    end_and_renew(replica, cloud)
    folders.close()
    other = folders.open("a", Identity.create("store-9"))
    if other.renewal.due:
        other.renew(cloud.of(OPS, S1))
    cloud.release(old, command, CommandOutcome("waits", Verdict.ACCEPTED))
    pull(other, cloud)
    assert other.entry("waits").status is Status.MERGED


def test_an_older_word_of_the_old_life_says_nothing(folders: Folders, cloud: Cloud) -> None:
    replica, old, _ = left_parked(folders, cloud)
    row = next(row for row in cloud.rows.values() if row.replica == old)
    cloud.publish_row(replace(row, last=0, head=b"", floor=1, entries=()))
    pull(replica, cloud)
    assert replica.entry("waits").status is Status.PARKED
    cloud.publish_row(replace(row, floor=row.last + 1, entries=()))
    pull(replica, cloud)
    assert (replica.entry("waits").status, replica.entry("waits").code) == (Status.REVIEW, "maybe_counted")


def test_a_cloud_that_was_made_anew_has_nothing_parked(folders: Folders, cloud: Cloud) -> None:
    replica, _, _ = left_parked(folders, cloud)
    chain = replica.lives.chain("retail", S1)
    replica.journal.stage(replica.lives.written("retail", S1, replace(chain, fork=MADE_ANEW)), sync=True)
    replica.commit()
    end_and_renew(replica, cloud)
    assert (replica.entry("waits").status, replica.entry("waits").code) == (Status.REVIEW, "maybe_counted")
    assert not list(left_in(replica.journal, "retail", S1))
    settle(replica, cloud)
    assert replica.on_hand("tea") == 110


def test_what_another_copy_has_left_parked_comes_to_its_end_here_too(folders: Folders, cloud: Cloud) -> None:
    first = folders.open("a")
    cloud.parks.add("waits")
    receive(first, "waits", 1)
    command = logged(first.journal, first.entry("waits").lsn).command
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    ship(one, cloud)
    receive(other, "own", 10)
    ship(other, cloud)
    pull(other, cloud)
    end_and_renew(other, cloud)
    assert other.entry("waits").status is Status.PARKED
    cloud.release(command.ops[0].op.replica, command, CommandOutcome("waits", Verdict.ACCEPTED))
    settle(other, cloud)
    assert other.entry("waits").status is Status.MERGED
    assert merged(cloud) == other.on_hand("tea") == 11


# -- rights


@pytest.mark.parametrize("code", ["no_rights", "gone"])
def test_a_promise_that_cannot_be_kept_as_it_was_made_goes_to_a_person(
    folders: Folders, cloud: Cloud, code: str
) -> None:
    replica = folders.open("a")
    receive(replica, "there", 5)
    settle(replica, cloud)
    receive(replica, "promised", 1)
    forked(replica)
    end_and_renew(replica, cloud)
    cloud.rejects["promised"] = code
    settle(replica, cloud)
    (reviewed,) = replica.again.review()
    assert (reviewed.command.id, reviewed.entry.status, reviewed.entry.code) == ("promised", Status.REVIEW, code)
    assert replica.on_hand("tea") == 5
    cloud.rejects.clear()
    replica.journal.stage(replica.again.apply("promised").writes or {}, sync=True)
    replica.commit()
    settle(replica, cloud)
    assert replica.entry("promised").status is Status.MERGED
    assert merged(cloud) == replica.on_hand("tea") == 6


def test_what_was_first_written_when_is_kept_over_any_number_of_lives(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    receive(replica, "old", 1)
    read = logged(replica.journal, replica.entry("old").lsn).read
    cloud.write(DocumentId("Stock", "s1", "milk"), "on_hand", "increment", 1)
    pull(replica, cloud)
    for _ in range(2):
        forked(replica)
        end_and_renew(replica, cloud)
    receive(replica, "new", 10)
    (batch,) = [decode_body(BatchCodec(FixedIds()).open(sealed.value).body) for sealed in replica.ship()]
    assert [command.written for command in batch.commands] == [read, None]
    assert batch.read == logged(replica.journal, replica.entry("new").lsn).read > read


EVENT = DocumentId("Event", "s1", "x")


def seats(replica: Replica, command_id: str, op: str, number: int) -> None:
    replica.journal.stage(replica.executor.write(EVENT, [("seats", op, [number])], command_id).writes or {}, sync=True)
    replica.commit()


def test_the_next_life_may_spend_what_the_one_that_is_over_had(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    seats(replica, "make", "increment", 5)
    settle(replica, cloud)
    seats(replica, "promised", "decrement", 2)
    forked(replica)
    end_and_renew(replica, cloud)
    with pytest.raises(BadOperation, match="may take 3 more, not 4"):
        seats(replica, "too much", "decrement", 4)
    seats(replica, "next", "decrement", 3)
    settle(replica, cloud)
    assert replica.value(*EVENT)["seats"] == 0


def test_another_device_has_none_of_the_rights_of_the_one_whose_folder_it_was_given(
    folders: Folders, cloud: Cloud
) -> None:
    replica = folders.open("a")
    seats(replica, "make", "increment", 5)
    settle(replica, cloud)
    seats(replica, "promised", "decrement", 2)
    seats(replica, "plain", "increment", 1)
    folders.close()
    other = folders.open("a", Identity.create("store-9"))
    other.renew(cloud.of(OPS, S1))
    assert [(found.command.id, found.entry.code) for found in other.again.review()] == [("promised", "no_rights")]
    settle(other, cloud)
    assert other.value(*EVENT)["seats"] == 6


def test_the_next_life_knows_which_lives_have_ended_before_it(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    first = replica.lives.replica
    for name in ("one", "two"):
        receive(replica, name, 1)
        forked(replica)
        end_and_renew(replica, cloud)
    second = replica.lives.all()[1].replica
    assert replica.lives.chain("retail", S1).over == (first, second)
    settle(replica, cloud)
    forked(replica)  # nothing is undecided: who speaks in its name may go on
    replica.renew(cloud.of(OPS, S1))
    assert replica.lives.chain("retail", S1).over == (first, second)
    assert replica.store.get(Family.META, keys.chain_key("retail", S1)) is not None
