"""What waits for a person in one copy of a folder may be decided by what another copy has sent: then nobody has to decide it any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_edge.errors import NotFound
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.store.command_log import Status
from driftlog_edge.store.logged import logged
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import CommandOutcome, Verdict
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import Replica
from tests.unit.edge.test_again import to_review
from tests.unit.edge.test_collapsed import counted, measure, reading
from tests.unit.edge.test_renewal import (
    OPS,
    S1,
    TEA,
    Folders,
    end_and_renew,
    folders,
    merged,
    pull,
    receive,
    settle,
    ship,
)

__all__ = ["folders"]


def copied(folders: Folders, *listed: str) -> tuple[Replica, Replica]:
    """Two copies of a folder; in the second one these commands wait for a person."""
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    for command_id in listed:
        to_review(other, command_id)
    return one, other


def renewed(replica: Replica, cloud: Cloud) -> None:
    """It hears that another copy speaks in its name, and goes on under a new life."""
    pull(replica, cloud)
    end_and_renew(replica, cloud)


def listed(replica: Replica) -> list[tuple[str, str]]:
    return [(found.command.id, found.entry.code) for found in replica.again.review()]


@pytest.mark.parametrize(
    ("code", "status"),
    [("", Status.MERGED), ("locked", Status.REJECTED), ("forbidden", Status.REJECTED)],
    ids=["accepted", "refused", "refused unseen"],
)
def test_what_another_copy_was_told_stands(folders: Folders, cloud: Cloud, code: str, status: Status) -> None:
    """Applied here it would be decided anew: what was refused might be taken, and what was taken counted twice."""
    receive(folders.open("a"), "late", 1)
    one, other = copied(folders, "late")
    if code == "forbidden":
        cloud.forbids.add("late")
    elif code:
        cloud.rejects["late"] = code
    ship(one, cloud)
    pull(one, cloud)
    receive(other, "own", 10)
    renewed(other, cloud)

    assert (other.entry("late").status, other.entry("late").code) == (status, code)
    assert listed(other) == []
    with pytest.raises(NotFound):
        other.again.apply("late")
    cloud.rejects.clear()
    cloud.forbids.clear()
    settle(other, cloud)
    assert (one.entry("late").status, one.entry("late").code) == (status, code)
    assert merged(cloud) == other.on_hand("tea") == (10 if code else 11)


def test_what_was_refused_for_what_it_was_built_on_waits_on(folders: Folders, cloud: Cloud) -> None:
    """The other copy runs it again, and so may this one."""
    receive(folders.open("a"), "late", 1)
    one, other = copied(folders, "late")
    cloud.rejects["late"] = "builds_on_refused"
    ship(one, cloud)
    receive(other, "own", 10)
    renewed(other, cloud)
    assert listed(other) == [("late", "gone")]
    cloud.rejects.clear()
    other.journal.stage(other.again.apply("late").writes or {}, sync=True)
    other.commit()
    settle(other, cloud)
    assert merged(cloud) == other.on_hand("tea") == 11


def test_what_was_put_off_waits_on(folders: Folders, cloud: Cloud) -> None:
    receive(folders.open("a"), "late", 1)
    one, other = copied(folders, "late")
    cloud.rejects["late"] = "expired"
    ship(one, cloud)
    receive(other, "own", 10)
    renewed(other, cloud)
    assert listed(other) == [("late", "gone")]


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.REJECTED])
def test_what_is_parked_there_comes_to_its_end_there(folders: Folders, cloud: Cloud, verdict: Verdict) -> None:
    first = folders.open("a")
    receive(first, "late", 1)
    command = logged(first.journal, first.entry("late").lsn).command
    cloud.parks.add("late")
    one, other = copied(folders, "late")
    ship(one, cloud)
    receive(other, "own", 10)
    renewed(other, cloud)
    assert (other.entry("late").status, listed(other)) == (Status.PARKED, [])
    code = "locked" if verdict is Verdict.REJECTED else ""
    cloud.release(command.ops[0].op.replica, command, CommandOutcome("late", verdict, code))
    settle(other, cloud)
    told = other.entry("late")
    if verdict is Verdict.ACCEPTED:
        assert told.status is Status.MERGED
        assert merged(cloud) == other.on_hand("tea") == 11
    else:
        assert (told.status, told.code) == (Status.REJECTED, "locked")
        assert merged(cloud) == other.on_hand("tea") == 10


def test_who_decides_is_told_that_it_may_have_counted(folders: Folders, cloud: Cloud) -> None:
    """The row has forgotten what became of it, and its dots do not tell what was accepted from what was refused."""
    receive(folders.open("a"), "late", 1)
    one, other = copied(folders, "late")
    ship(one, cloud)
    pull(one, cloud)
    one.do("receive", "more", store="s1", sku="milk", qty=1)
    (following,) = one.ship()
    row = cloud.merge(following)
    cloud.publish_row(replace(row, floor=2, entries=row.entries[1:], refused={}, refused_from=2))
    receive(other, "own", 10)
    renewed(other, cloud)
    assert listed(other) == [("late", "maybe_counted")]


@pytest.mark.parametrize(
    ("code", "status"), [("", Status.MERGED), ("recount", Status.REJECTED)], ids=["accepted", "refused"]
)
def test_so_is_each_of_those_that_were_sent_as_one(folders: Folders, cloud: Cloud, code: str, status: Status) -> None:
    first = folders.open("a")
    names = [f"c{number}" for number in range(3)]
    for name in names:
        measure(first, name)
    first.commit()
    one, other = copied(folders, *names)
    if code:
        cloud.rejects["c2"] = code
    ship(one, cloud)
    measure(other, "own", 10)
    other.commit()
    renewed(other, cloud)
    assert {(other.entry(name).status, other.entry(name).code) for name in names} == {(status, code)}
    assert listed(other) == []
    settle(other, cloud)
    assert reading(other) == counted(cloud) == (10 if code else 13)


# -- on its way into the new life


@pytest.mark.parametrize("person", [True, False], ids=["for a person", "to run again"])
@pytest.mark.parametrize("verdict", [Verdict.PARKED, Verdict.REJECTED])
def test_what_the_old_chain_holds_is_not_taken_back_on_its_way(
    folders: Folders, cloud: Cloud, verdict: Verdict, person: bool
) -> None:
    """The agent was away for too long, or what it was computed on was refused just now: what the cloud says of it stands."""
    first = folders.open("a")
    receive(first, "late", 1)
    command = logged(first.journal, first.entry("late").lsn).command
    one, other = copied(folders)
    (cloud.parks if verdict is Verdict.PARKED else cloud.forbids).add("late")
    ship(one, cloud)
    cloud.parks.clear()
    cloud.forbids.clear()
    receive(other, "own", 10)
    pull(other, cloud)
    end = other.end_the_old_life(S1)
    assert end is not None
    cloud.merge(end)
    pull(other, cloud)
    other.begin(cloud.of(OPS, S1))

    why = ("offline_too_long", "apply it, or drop it")
    taken = other.again.take_back("retail", S1, [document_key(TEA)], lambda command: why if person else None)
    other.journal.stage(taken, sync=True)
    other.commit()
    other.take_along(S1)
    other.run_again(Pulled({}))
    for command_id, _ in listed(other):
        other.journal.stage(other.again.apply(command_id).writes or {}, sync=True)
        other.commit()
    if verdict is Verdict.PARKED:
        cloud.release(command.ops[0].op.replica, command, CommandOutcome("late", Verdict.ACCEPTED))
    settle(other, cloud)
    expected = Status.MERGED if verdict is Verdict.PARKED else Status.REJECTED
    assert (other.entry("late").status, other.entry("own").status) == (expected, Status.MERGED)
    assert merged(cloud) == other.on_hand("tea") == (11 if verdict is Verdict.PARKED else 10)


def test_what_is_to_run_again_is_decided_too(folders: Folders, cloud: Cloud) -> None:
    """It is marked, and had no room to run yet."""
    receive(folders.open("a"), "late", 1)
    one, other = copied(folders)
    ship(one, cloud)
    other.journal.stage(other.again.take_back("retail", S1, [document_key(TEA)]), sync=True)
    other.commit()
    pull(other, cloud)
    settle(other, cloud)
    other.run_again(Pulled({}))
    settle(other, cloud)
    assert other.entry("late").status is Status.MERGED
    assert not other.again.marked()
    assert merged(cloud) == other.on_hand("tea") == 1
