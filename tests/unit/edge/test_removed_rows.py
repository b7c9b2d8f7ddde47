"""A folder that comes back when the chain row of its old life was removed takes along what surely was not counted, and asks a person of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_edge.ports import Sealed
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.left import left_in
from driftlog_edge.store.logged import logged
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.identity import CLOUD, OVER_REPLICA, device_of
from driftlog_schemas.messages import ChainRow, Over
from driftlog_schemas.row_columns import short_name
from tests.unit.edge.cloud import COLLECTIONS, Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_left_behind import left_parked
from tests.unit.edge.test_renewal import (
    S1,
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


def remove(cloud: Cloud, replica: str, *, fold: bool) -> None:
    """The cloud has retired this life long ago, and forgotten what its batches were answered, and perhaps its name in what it has written."""
    row = cloud.rows[replica, S1]
    after = row.last + 1
    cloud.rows[replica, S1] = replace(
        row, ended="retired", ended_at=50, floor=after, entries=(), refused={}, refused_from=after, forgotten=60
    )
    if fold:
        assert COLLECTIONS[TEA.collection].document.fold(cloud.states[TEA], {replica: device_of(replica)})
        cloud.say_again(TEA)


def said(replica: Replica, command_id: str) -> tuple[Status, str]:
    entry = replica.entry(command_id)
    return entry.status, entry.code


@pytest.mark.parametrize("fold", [False, True])
def test_what_was_never_sent_comes_along(folders: Folders, cloud: Cloud, fold: bool) -> None:
    replica = folders.open("a")
    receive(replica, "settled", 1)
    settle(replica, cloud)
    receive(replica, "sealed", 10)
    replica.ship()  # it has not arrived
    receive(replica, "unsealed", 100)
    remove(cloud, replica.lives.replica, fold=fold)
    ship(replica, cloud)
    settle(replica, cloud)
    cloud.publish_row(cloud.rows[replica.lives.all()[0].replica, S1])
    settle(replica, cloud)
    assert said(replica, "sealed") == said(replica, "unsealed") == (Status.MERGED, "")
    assert merged(cloud) == replica.on_hand("tea") == 111


@pytest.mark.parametrize("log", ["whole", "gone"])
@pytest.mark.parametrize("fold", [False, True])
def test_what_was_sent_and_never_answered_is_for_a_person(folders: Folders, cloud: Cloud, fold: bool, log: str) -> None:
    replica = folders.open("a")
    receive(replica, "settled", 1)
    settle(replica, cloud)
    receive(replica, "sent", 10)
    ship(replica, cloud)  # taken, and its answer never read
    receive(replica, "unsealed", 100)
    old = replica.lives.replica
    remove(cloud, old, fold=fold)
    cloud.publish_row(cloud.rows[old, S1])
    pull(replica, cloud)
    if log == "gone":
        assert replica.end_the_old_life(S1) is None, "the cloud has ended it"
        replica.renew([])
    settle(replica, cloud)
    assert said(replica, "sent") == (Status.REVIEW, "maybe_counted")
    unsealed = said(replica, "unsealed")
    if fold and log == "gone":  # nobody can tell that another copy of the folder has not sent it
        assert unsealed == (Status.REVIEW, "maybe_counted")
        assert merged(cloud) == replica.on_hand("tea") == 11
    else:
        assert unsealed == (Status.MERGED, "")
        assert merged(cloud) == replica.on_hand("tea") == 111


def test_what_another_copy_may_have_brought_is_for_a_person(folders: Folders, cloud: Cloud) -> None:
    """The cloud says so: it knows that the folder was copied, and no longer what came by the other one."""
    replica = folders.open("a")
    receive(replica, "settled", 1)
    settle(replica, cloud)
    receive(replica, "promised", 10)
    forked(replica)
    cloud.rejects["promised"] = "maybe_counted"
    settle(replica, cloud)
    assert said(replica, "promised") == (Status.REVIEW, "maybe_counted")
    assert merged(cloud) == replica.on_hand("tea") == 1


@pytest.mark.parametrize("asked", ["a refusal", "a person"])
def test_what_runs_again_for_a_refusal_is_as_old_as_it_was(folders: Folders, cloud: Cloud, asked: str) -> None:
    """The cloud refuses one of many as perhaps counted, so what was not sent yet of that document runs again. It may have been counted as well, and only
    by when it was first written can the cloud tell. Whom a person has it run, it runs as of now.
    """
    replica = folders.open("a")
    receive(replica, "settled", 1)
    settle(replica, cloud)
    old = replica.lives.replica
    for number in range(251):
        receive(replica, f"promised-{number}", 1)
    (written,) = {logged(replica.journal, replica.entry(f"promised-{n}").lsn).read for n in (0, 250)}
    receive_elsewhere(replica, cloud)
    forked(replica)
    end_and_renew(replica, cloud)
    cloud.rejects["promised-0"] = "maybe_counted"
    (first,) = replica.ship(limit=1)
    cloud.merge(first)
    replica.shipper.delivered(first, 0.0)
    again = replica.run_again(replica.pull_receipts(cloud.of("retail.receipts", S1), S1))
    assert again == ["promised-250"]
    name = again[0]
    if asked == "a person":
        name = "promised-0"
        executed = replica.again.apply(name)
        replica.journal.stage(executed.writes or {}, sync=True)
        replica.commit()
    sent = [command for sealed in replica.ship() for command in decode_body(_body(cloud, sealed)).commands]
    (found,) = [command for command in sent if command.id == name]
    assert (found.root, found.written) == (old, written if asked == "a refusal" else None)


def test_what_ran_again_before_its_life_ended_is_as_old_too(folders: Folders, cloud: Cloud) -> None:
    """Under its own life nothing is said of that; the next one says it."""
    replica = folders.open("a")
    receive(replica, "settled", 1)
    settle(replica, cloud)
    old = replica.lives.replica
    receive(replica, "refused", 1)
    (sealed,) = replica.ship()
    receive(replica, "behind", 10)
    written = logged(replica.journal, replica.entry("behind").lsn).read
    cloud.rejects["refused"] = "recount"
    cloud.merge(sealed)
    replica.shipper.delivered(sealed, 0.0)
    receive_elsewhere(replica, cloud)
    assert replica.run_again(replica.pull_receipts(cloud.of("retail.receipts", S1), S1)) == ["behind"]
    assert logged(replica.journal, replica.entry("behind").lsn).read > written
    forked(replica)
    end_and_renew(replica, cloud)
    (sealed,) = replica.ship()
    (behind,) = decode_body(_body(cloud, sealed)).commands
    assert (behind.id, behind.root, behind.written) == ("behind", old, written)


def receive_elsewhere(replica: Replica, cloud: Cloud) -> None:
    """Another device goes on, and this one reads it."""
    cloud.say_again(TEA)
    pull(replica, cloud, "retail.state")


def _body(cloud: Cloud, sealed: Sealed) -> bytes:
    return cloud._envelopes.open(sealed.value).body


def test_what_is_parked_in_a_chain_without_a_row_comes_back_to_a_person(folders: Folders, cloud: Cloud) -> None:
    replica, old, _ = left_parked(folders, cloud)
    forked(replica)
    end_and_renew(replica, cloud)
    others = {short_name("store-1.another"): Over(3, bytes(16), 9, "ended", 20, "", -1, 60)}
    row = ChainRow(CLOUD, OVER_REPLICA, "retail", S1, 0, b"", 1, (), offset=60, over=others)
    cloud.publish_row(row)
    pull(replica, cloud)
    assert replica.entry("waits").status is Status.PARKED, "its row is still there"
    over = {**others, short_name(old): Over(3, bytes(16), 9, "ended", 20, "", -1, 60)}
    cloud.publish_row(replace(row, over=over))
    pull(replica, cloud)
    assert said(replica, "waits") == (Status.REVIEW, "maybe_counted")
    assert not list(left_in(replica.journal, "retail", S1))
