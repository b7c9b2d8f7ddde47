"""Pending commands of a collapsed collection leave as one, and every one of them is answered, once, whatever becomes of the folder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_edge.store.command_log import Status
from driftlog_edge.store.left import left_in
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, CommandOutcome, Verdict
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.row_columns import short_name
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, Replica
from tests.unit.edge.test_renewal import S1, STATE, Folders, end_and_renew, folders, forked, pull, settle, ship

__all__ = ["folders"]

METER = DocumentId("Meter", "s1", "m")


@pytest.fixture
def replica(folders: Folders) -> Replica:
    return folders.open("a")


def measure(replica: Replica, command_id: str, by: int = 1, name: str = "m") -> None:
    replica.run("measure", command_id, store="s1", name=name, by=by)


def sealed(replica: Replica) -> list[Batch]:
    """What leaves now."""
    replica.commit()
    codec = BatchCodec(FixedIds())
    return [decode_body(codec.open(one.value).body) for one in replica.ship()]


def reading(replica: Replica) -> int:
    return int(replica.value("Meter", "s1", "m")["reading"])


def counted(cloud: Cloud) -> int:
    return int(COLLECTIONS["Meter"].document.values(cloud.states[METER])["reading"])  # type: ignore[call-overload]


def test_a_thousand_increments_of_a_document_leave_as_one_op(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    names = [f"4f1c2d9a-7b1e-4f8e-9a55-{number:012}" for number in range(1000)]
    for name in names:
        measure(replica, name)
    replica.commit()
    (one,) = replica.ship()
    (command,) = decode_body(BatchCodec(FixedIds()).open(one.value).body).commands
    cloud.merge(one)
    ((_, op),) = command.ops
    assert (command.id, op.kind, op.value, op.seq, op.span) == (names[-1], "increment", 1000, 1000, 1000)
    assert command.stands_for == tuple(map(short_name, names[:-1]))
    for name in names[:200]:
        replica.run("receive", f"full {name[5:]}", store="s1", sku="tea", qty=1)
    replica.commit()
    full = 5 * sum(len(sealed.value) for sealed in replica.ship())
    assert len(one.value) <= 8 * 1000 + 500 and full > 5 * len(one.value), "what is left are eight bytes for each"
    pull(replica, cloud)
    assert {replica.entry(name).status for name in names} == {Status.MERGED}
    assert (reading(replica), counted(cloud), len(replica.entry(names[500]).dots)) == (1000, 1000, 1)
    assert not replica.views.get(METER).pending


def test_sets_leave_as_the_last_and_elements_as_their_net_effect(replica: Replica) -> None:
    for number in range(6):
        replica.run("observe", f"c{number}", store="s1", name="m", state=("open", "shut")[number % 2])
    (batch,) = sealed(replica)
    ((command),) = batch.commands
    assert [(op.kind, op.value, op.seq, op.span) for _, op in command.ops] == [
        ("add", "open", 10, 10),
        ("set", "shut", 11, 1),
        ("add", "shut", 12, 1),
    ]


def test_a_collection_that_keeps_its_history_sends_each(replica: Replica) -> None:
    for number in range(3):
        replica.run("receive", f"c{number}", store="s1", sku="tea", qty=1)
    (batch,) = sealed(replica)
    assert [command.id for command in batch.commands] == ["c0", "c1", "c2"]


def test_commands_of_which_the_cloud_asks_something_else_stay_apart(replica: Replica) -> None:
    """Another name, another author, another document, a change of two documents, a delete."""
    measure(replica, "a1")
    measure(replica, "other", name="n")
    measure(replica, "a2")
    replica.run("observe", "b1", store="s1", name="m", state="open")
    measure(replica, "c1")
    executed = replica.executor.run("measure", {"store": "s1", "name": "m"}, "d1", "Ann")
    replica.journal.stage(executed.writes or {}, sync=True)
    measure(replica, "e1")
    replica.run("measure_both", "f1", store="s1", one="m", other="n")
    measure(replica, "g1")
    measure(replica, "g2")
    executed = replica.executor.write(METER, [("", "delete", [])], "h1")
    replica.journal.stage(executed.writes or {}, sync=True)
    measure(replica, "i1")
    (batch,) = sealed(replica)
    assert [command.id for command in batch.commands] == ["a2", "other", "b1", "c1", "d1", "e1", "f1", "g2", "h1", "i1"]
    seqs = [(op.before, op.seq) for c in batch.commands for d, op in c.ops if d == METER]
    assert all(before == last for (before, _), (_, last) in zip(seqs[1:], seqs, strict=False)), "dots without a gap"


def test_what_was_written_before_a_verdict_and_after_it_stays_apart(folders: Folders, cloud: Cloud) -> None:
    """The one believed in a change of which the other knew what had become of it: the cloud may say something else of each."""
    replica = folders.open("a")
    measure(replica, "first")
    replica.commit()
    ship(replica, cloud)
    for number in range(2):
        measure(replica, f"believing{number}")
    pull(replica, cloud)
    for number in range(2):
        measure(replica, f"knowing{number}")
    (batch,) = sealed(replica)
    assert [(command.id, len(command.stands_for)) for command in batch.commands] == [
        ("believing1", 1),
        ("knowing1", 1),
    ]
    unsure = [op.seq - 1 - op.unsure for command in batch.commands for _, op in command.ops]
    assert unsure == [0, 1], "of each it is said what its writer knew"


def test_what_was_written_before_and_after_a_change_of_others_stays_apart(folders: Folders, cloud: Cloud) -> None:
    """Where what was seen of others counts; where it does not, as for a count, it is no reason."""
    one, other = folders.open("a"), folders.open("b")
    one.run("observe", "c0", store="s1", name="m", state="open")
    measure(one, "m0", name="n")
    for name in ("m", "n"):
        other.run("observe", f"theirs {name}", store="s1", name=name, state="shut")
    other.commit()
    ship(other, cloud)
    pull(one, cloud)
    for number in range(1, 3):
        one.run("observe", f"c{number}", store="s1", name="m", state="open")
        measure(one, f"m{number}", name="n")
    (batch,) = sealed(one)
    assert [(command.id, len(command.stands_for)) for command in batch.commands] == [("c0", 0), ("m2", 2), ("c2", 1)]


def test_more_than_one_batch_names_go_in_several(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.outgoing.filling.MAX_STOOD_FOR", 10)
    for number in range(16):
        measure(replica, f"c{number}")
    assert [len(batch.commands[0].stands_for) for batch in sealed(replica)] == [10, 4]


def test_a_slow_link_is_no_reason_to_send_them_apart(replica: Replica) -> None:
    """A batch is as large as the link carries in a moment. What is joined costs a name; by itself it would cost the link more."""
    for number in range(600):
        measure(replica, f"c{number}")
    replica.commit()
    found = replica.outbox.seal((), 1000)
    assert found is not None
    (command,) = decode_body(BatchCodec(FixedIds()).open(found[0].value).body).commands
    assert len(command.stands_for) == 599


def test_what_was_sealed_goes_again_byte_for_byte_and_nothing_joins_it(folders: Folders, cloud: Cloud) -> None:
    """Killed between collapsing and sending: one write has done both, so the same bytes go out."""
    replica = folders.open("a")
    for number in range(3):
        measure(replica, f"c{number}")
    replica.commit()
    (first,) = replica.ship()
    folders.close()
    replica = folders.open("a")
    measure(replica, "later")
    replica.commit()
    again, second = sorted(replica.ship(), key=lambda one: one.number)
    assert (again.value, again.lsns) == (first.value, first.lsns)
    assert [command.id for command in decode_body(BatchCodec(FixedIds()).open(second.value).body).commands] == ["later"]
    for one in (again, second):
        cloud.merge(one)
    pull(replica, cloud)
    assert {replica.entry(name).status for name in ("c0", "c1", "c2", "later")} == {Status.MERGED}
    assert reading(replica) == counted(cloud) == 4


def test_a_seal_that_the_disk_refuses_leaves_all_of_them_waiting(replica: Replica, cloud: Cloud) -> None:
    for number in range(3):
        measure(replica, f"c{number}")
    replica.commit()
    found = replica.shipper.next()
    assert found is not None
    replica.journal.stage(found[1], sync=True)
    replica.store.full = True
    with pytest.raises(Exception, match="no space"):
        replica.commit()
    replica.store.full = False
    replica.shipper.failed(found[0])
    assert (len(replica.outbox.queue), replica.outbox.sealed.commands) == (3, 0)
    measure(replica, "c3")
    replica.commit()
    settle(replica, cloud)
    assert reading(replica) == counted(cloud) == 4


def test_they_are_refused_together_and_each_is_told_why(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    for number in range(250):
        measure(replica, f"c{number}")
    cloud.rejects["c249"] = "recount"
    replica.commit()
    ship(replica, cloud)
    pull(replica, cloud)
    entries = [replica.entry(f"c{number}") for number in range(250)]
    assert {(entry.status, entry.code) for entry in entries} == {(Status.REJECTED, "recount")}
    assert entries[-1].reason == "recount says the guard"
    assert {entry.reason for entry in entries[:-1]} == {
        "recount says the guard (sent as one with c249: the collection is collapsed)"
    }
    measure(replica, "good")
    replica.commit()
    settle(replica, cloud)
    assert (reading(replica), counted(cloud)) == (1, 1)
    assert not replica.views.backlog


def test_what_was_deferred_is_sent_again_each_by_itself(folders: Folders, cloud: Cloud) -> None:
    """So the cloud can say which of them it does not take, and a person can give up that one."""
    replica = folders.open("a")
    for number in range(3):
        measure(replica, f"c{number}")
    cloud.rejects["c2"] = "undeclared"
    replica.commit()
    ship(replica, cloud)
    pull(replica, cloud)
    assert [(replica.entry(f"c{n}").status, replica.entry(f"c{n}").code) for n in range(3)] == [
        (Status.PENDING, "undeclared")
    ] * 3
    replica.shipper.tick(1e9)
    (batch,) = sealed(replica)
    assert [command.id for command in batch.commands] == ["c0", "c1", "c2"]


def test_what_was_parked_is_told_together(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    for number in range(3):
        measure(replica, f"c{number}")
    cloud.parks.add("c2")
    replica.commit()
    ship(replica, cloud)
    pull(replica, cloud)
    assert {replica.entry(f"c{number}").status for number in range(3)} == {Status.PARKED}
    (command,) = cloud.batches[-1].commands
    cloud.release(replica.lives.replica, command, CommandOutcome("c2", Verdict.ACCEPTED))
    pull(replica, cloud)
    assert {replica.entry(f"c{number}").status for number in range(3)} == {Status.MERGED}
    assert reading(replica) == 3


def test_what_was_parked_is_not_taken_for_what_came_with_it_and_is_as_many(folders: Folders, cloud: Cloud) -> None:
    """Three commands wait that were sent as one; the batch had one before it and one behind it."""
    replica = folders.open("a")
    measure(replica, "before", 10, "one")
    for number in range(3):
        measure(replica, f"c{number}")
    measure(replica, "behind", 20, "other")
    cloud.parks.add("c2")
    replica.commit()
    ship(replica, cloud)
    pull(replica, cloud)
    sent = {command.id: command for command in cloud.batches[-1].commands}
    assert sent.keys() == {"before", "c2", "behind"}
    cloud.release(replica.lives.replica, sent["c2"], CommandOutcome("c2", Verdict.REJECTED, "recount", "too many"))
    settle(replica, cloud)
    assert {replica.entry(f"c{n}").status for n in range(3)} == {Status.REJECTED}
    assert {replica.entry(name).status for name in ("before", "behind")} == {Status.MERGED}
    assert not replica.views.backlog


def test_what_an_earlier_life_left_parked_is_told_together(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    for number in range(3):
        measure(replica, f"c{number}")
    cloud.parks.add("c2")
    replica.commit()
    ship(replica, cloud)
    pull(replica, cloud)
    old, (command,) = replica.lives.replica, cloud.batches[-1].commands
    measure(replica, "own")
    replica.commit()
    forked(replica)
    end_and_renew(replica, cloud)
    assert len(list(left_in(replica.journal, "retail", S1))) == 3
    cloud.release(old, command, CommandOutcome("c2", Verdict.REJECTED, "recount", "too many"))
    settle(replica, cloud)
    assert {(replica.entry(f"c{n}").status, replica.entry(f"c{n}").code) for n in range(3)} == {
        (Status.REJECTED, "recount")
    }
    assert not list(left_in(replica.journal, "retail", S1))
    assert reading(replica) == counted(cloud) == 1


@pytest.mark.parametrize("code", ["", "recount", "builds_on_refused"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["the row tells", "the states tell"])
def test_a_copy_finds_each_of_its_commands_in_a_row_that_the_other_has_sent(
    folders: Folders, cloud: Cloud, code: str, forgotten: bool
) -> None:
    """The other has written more before it sent, so the row that it sent is none of this copy's. By their names each is known."""
    one = folders.open("a")
    for number in range(3):
        measure(one, f"shared{number}")
    one.commit()
    folders.copy("a", "b")
    one = folders.open("a")
    measure(one, "mine", 10)
    one.commit()
    if code:
        cloud.rejects["mine"] = code
    ship(one, cloud)
    if forgotten and not code:
        row = cloud.rows[one.lives.replica, S1]
        cloud.rows[one.lives.replica, S1] = replace(row, floor=row.last + 1, entries=())
    other = folders.open("b")
    measure(other, "theirs", 100)
    other.commit()
    settle(other, cloud)
    first = cloud.batches[0].commands[0]
    assert (first.id, len(first.stands_for)) == ("mine", 3)
    statuses = {other.entry(f"shared{number}").status for number in range(3)}
    if code == "builds_on_refused":
        assert statuses == {Status.PENDING} and other.again.marked(), "each runs again"
        return
    assert statuses == {Status.REJECTED if code else Status.MERGED}
    assert other.entry("theirs").status is Status.MERGED
    assert reading(other) == counted(cloud) == (100 if code else 113)


def test_what_a_new_life_took_along_goes_alone(folders: Folders, cloud: Cloud) -> None:
    """The cloud counts a command of an earlier life by its own id, whoever brings it: two copies join what they have in different ways."""
    one = folders.open("a")
    for number in range(3):
        measure(one, f"shared{number}")
    one.commit()
    folders.copy("a", "b")
    one, other = folders.open("a"), folders.open("b")
    for replica, name in ((one, "mine"), (other, "theirs")):
        forked(replica)
        end_and_renew(replica, cloud)
        measure(replica, f"{name}1", 10)
        measure(replica, f"{name}2", 10)
        replica.commit()
    settle(one, cloud)
    settle(other, cloud)
    assert [(c.id, len(c.stands_for)) for batch in cloud.batches for c in batch.commands] == [
        *((f"shared{number}", 0) for number in range(3)),
        ("mine2", 1),
        *((f"shared{number}", 0) for number in range(3)),
        ("theirs2", 1),
    ]
    assert reading(other) == counted(cloud) == 43


def test_what_runs_again_goes_alone(folders: Folders, cloud: Cloud) -> None:
    replica = folders.open("a")
    measure(replica, "first")
    replica.commit()
    ship(replica, cloud)
    for number in range(2):
        measure(replica, f"again{number}")
    replica.commit()
    cloud.rejects["first"] = "recount"
    cloud.batches.clear()
    at = len(cloud.of(STATE, S1))
    pulled = replica.pull_receipts(cloud.of("retail.receipts", S1), S1)
    assert at
    replica.journal.stage(replica.again.take_back("retail", S1, [b"Meter/s1/m"]), sync=True)
    assert replica.run_again(pulled) == ["again0", "again1"]
    (batch,) = sealed(replica)
    assert [(command.id, command.stands_for) for command in batch.commands] == [("again0", ()), ("again1", ())]
