"""What a partition forgets is decided by its log alone; nothing that was deleted comes back, and nobody who knows too little is heard."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog import App, Document, RemoveWinsSet
from driftlog_crdt import PAST, epoch_of
from driftlog_schemas import groups, topics
from driftlog_schemas.devices import EVERYTHING
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA, DocumentId
from driftlog_schemas.messages import DocumentOp, Forgot
from driftlog_streams.core import memory
from driftlog_streams.core.admission import Admitted, Refusal
from driftlog_streams.core.forgetting import tombstones
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, device, key, ledger, stock

LATER = "store-2.1"


def named(name: str, seq: int, replica: str, **seen: int) -> DocumentOp:
    """A name is set by somebody who had seen so much of `store-1.1`."""
    return change(stock(), "name", "set", name, seq, replica=replica, context=seen or {"store-1.1": 2})


def deleted(seq: int, replica: str = "store-1.1", seen: int = 0) -> DocumentOp:
    return change(stock(), "", "delete", None, seq, replica=replica, context={"store-1.1": seen} if seen else {})


def with_tombstone(cloud: Cloud) -> None:
    """Offsets 0 and 1: made and deleted."""
    cloud.merge(command("made", count(stock(), 5, 1)))
    cloud.merge(command("gone", deleted(2)))
    cloud.fly()


def send(cloud: Cloud, name: str, *ops: DocumentOp, replica: str = LATER, read: int) -> None:
    cloud.merge_value(cloud.batch(command(name, *ops), replica=replica, read=read))


def last(cloud: Cloud, document: DocumentId) -> Any:
    """The last state record of a document."""
    cloud.fly()
    topic = topics.state_topic("retail")
    return [record for record in cloud.published if record.topic == topic and record.key == key(document)][-1]


def test_a_tombstone_goes_where_the_log_says_so_and_not_before(cloud: Cloud) -> None:
    with_tombstone(cloud)
    value = cloud.forgetting(2, stock())
    assert last(cloud, stock()).value is not None
    cloud.merge_value(value)
    record = last(cloud, stock())
    assert record.value is None
    assert groups.parse(record.headers) == groups.GroupMark(2, True, 2, 0)
    assert cloud.row(CLOUD_REPLICA).forgot == (Forgot(2, 2, 2),)


def test_a_document_of_which_only_refused_changes_were_made_is_none_and_goes_like_one(cloud: Cloud) -> None:
    cloud.merge(command("refused", count(stock(), -5, 1)))
    value = last(cloud, stock()).value
    codec = cloud.rules.collections["Stock"].codec
    assert codec.decode_row(value)["_driftlog"]["deleted"] is True
    assert cloud.state(stock()).vector == {"store-1.1": 1}, "what was seen is known as long as its writer may repeat it"
    assert cloud.dead == {key(stock()): 0}
    assert [found for found, _ in tombstones(cloud.rules, [(key(stock()), value)])] == [key(stock())]

    cloud.forget(1, stock())
    assert last(cloud, stock()).value is None
    send(cloud, "made", count(stock(), 5, 1, LATER), read=1)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 5
    assert codec.decode_row(last(cloud, stock()).value)["_driftlog"]["deleted"] is False


def test_a_writer_of_whom_only_refused_changes_were_there_goes_on_after_their_purge(cloud: Cloud) -> None:
    """Its next change has a dot that nothing comes before any more: it runs again under another."""
    cloud.merge(command("refused", count(stock(), -5, 1)))
    for day in (1, 2):
        cloud.merge(command(f"day-{day}", count(ledger(), 1, day)))
    cloud.forget(1, stock())
    send(cloud, "unknowing", count(stock(), 5, 2), replica="store-1.1", read=2)
    send(cloud, "anew", count(stock(), 7, 1, LATER), read=2)
    assert {n: cloud.verdicts()[n] for n in ("unknowing", "anew")} == {
        "unknowing": "rejected purged",
        "anew": "accepted",
    }
    assert cloud.value(stock(), "on_hand") == 7


def test_what_is_made_again_starts_fresh_and_later_than_all_that_was(cloud: Cloud) -> None:
    with_tombstone(cloud)
    old = cloud.store[key(stock())] or b""
    cloud.forget(2, stock())
    send(cloud, "again", count(stock(), 7, 1, LATER), read=2)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 7
    assert cloud.state(stock()).vector == {PAST: 2 << 24, LATER: 1}
    collection = cloud.rules.collections["Stock"]
    joined = collection.type.join(collection.codec.decode(old), cloud.state(stock()))
    assert collection.type.field_value(joined, "on_hand") == 7


def test_who_had_not_read_up_to_the_floor_is_away_whatever_it_sends(cloud: Cloud) -> None:
    with_tombstone(cloud)
    cloud.forget(2)
    send(cloud, "late", count(ledger(), 1, 1, LATER), read=1)
    cloud.fly()
    assert cloud.row(LATER).notice is not None
    assert cloud.row(LATER).notice.code == "away"  # type: ignore[union-attr]
    assert cloud.state(ledger()).vector == {}
    send(cloud, "other log", count(ledger(), 1, 1, "store-2.2"), replica="store-2.2", read=900)
    cloud.fly()
    assert cloud.row("store-2.2").notice.code == "away"  # type: ignore[union-attr]
    send(cloud, "enough", count(ledger(), 1, 1, "store-2.3"), replica="store-2.3", read=2)
    assert cloud.verdicts()["enough"] == "accepted"


def test_what_follows_on_one_who_is_away_does_not_talk_over_it(cloud: Cloud) -> None:
    """A writer has several under way, and its row keeps one notice: it would hear for ever that the last of them is early."""
    with_tombstone(cloud)
    cloud.forget(2)
    several = [
        cloud.batch(command(f"late {number}", count(ledger(), 1, number, LATER)), replica=LATER, read=1)
        for number in (1, 2, 3)
    ]
    for value in several:
        cloud.merge_value(value)
    cloud.fly()
    found = cloud.row(LATER).notice
    assert found is not None and (found.number, found.code) == (1, "away")


def test_a_batch_that_only_ends_lives_is_never_away(cloud: Cloud) -> None:
    with_tombstone(cloud)
    cloud.forget(2)
    cloud.merge_value(cloud.batch(replica="store-1.2", ends=("store-1.1",)))
    cloud.fly()
    assert cloud.row("store-1.1").ended == "ended"


def test_a_late_copy_of_a_known_batch_brings_nothing_back(cloud: Cloud) -> None:
    made = cloud.batch(command("made", count(stock(), 5, 1)))
    cloud.merge_value(made)
    cloud.merge(command("gone", deleted(2)))
    cloud.forget(2, stock())
    cloud.merge_value(made)
    assert last(cloud, stock()).value is None
    assert cloud.row().notice.code == "away"  # type: ignore[union-attr]


def test_an_op_in_flight_when_the_purge_is_decided_saves_the_tombstone(cloud: Cloud) -> None:
    with_tombstone(cloud)
    value = cloud.forgetting(2, stock())
    cloud.merge(command("more", count(stock(), 1, 3)))
    cloud.merge_value(value)
    assert last(cloud, stock()).value is not None
    assert cloud.state(stock()).vector == {"store-1.1": 3}


@pytest.mark.parametrize("again", [False, True])
def test_an_op_of_one_who_had_not_read_the_purge_is_purged_and_its_other_documents_go_on(
    cloud: Cloud, again: bool
) -> None:
    with_tombstone(cloud)
    for _ in range(3):
        cloud.merge(command(f"day-{cloud.end}", count(ledger(), 1, cloud.end - 1)))
    cloud.forget(2, stock())
    if again:
        send(cloud, "anew", *[count(stock(), 1, seq, "store-1.2") for seq in (1, 2)], replica="store-1.2", read=5)
    send(cloud, "on", named("x", 1, LATER), count(ledger(), 9, 1, LATER), read=3)
    send(cloud, "next", count(ledger(), 1, 2, LATER), read=3)
    assert {name: cloud.verdicts()[name] for name in ("on", "next")} == {"on": "rejected purged", "next": "accepted"}
    assert cloud.value(ledger(), "sold") == 4, "the rejected one is seen without effect"
    assert LATER not in cloud.state(stock()).vector


def test_old_dots_are_not_taken_for_new_ones_of_the_same_names(cloud: Cloud) -> None:
    with_tombstone(cloud)
    cloud.merge(command("day", count(ledger(), 1, 1)))
    cloud.forget(2, stock())
    cloud.merge_value(cloud.batch(command("new", *[count(stock(), 1, seq) for seq in (1, 2, 3)]), read=3))
    send(cloud, "old", deleted(1, LATER, seen=2), read=2)
    assert cloud.verdicts()["old"] == "rejected purged"
    assert cloud.value(stock(), "on_hand") == 3


def test_what_waits_on_a_purged_document_or_for_too_long_waits_no_more(cloud: Cloud) -> None:
    with_tombstone(cloud)
    send(cloud, "early", count(ledger(), 1, 2, LATER), read=1)
    send(cloud, "waits", named("x", 2, "store-2.2"), replica="store-2.2", read=2)
    cloud.fly()
    assert len(cloud.merger.parking) == 2
    cloud.forget(2, stock())
    assert cloud.verdicts() | {"made": "", "gone": ""} == {
        "made": "",
        "gone": "",
        "early": "deferred parked_too_long",
        "waits": "rejected purged",
    }
    assert not cloud.merger.parking
    assert not cloud.parked()


def test_lives_that_were_silent_are_retired_and_those_that_spoke_meanwhile_are_not(cloud: Cloud) -> None:
    cloud.merge(command("a", count(stock(), 5, 1)))
    cloud.merge(command("b", count(ledger(), 5, 1, LATER)), replica=LATER)
    cloud.forget(1, retired={"store-1.1": "store-1", LATER: "", "nobody.1": ""})
    cloud.fly()
    row = cloud.row()
    assert (row.ended, row.ended_at, row.heir) == ("retired", 2, "store-1")
    assert cloud.row(LATER).ended == ""
    cloud.merge_value(cloud.batch(command("c", count(stock(), 5, 2)), read=1))
    cloud.fly()
    assert cloud.row().notice.code == "retired"  # type: ignore[union-attr]


# -- who may say so


def test_only_the_clouds_device_makes_a_partition_forget(cloud: Cloud) -> None:
    stranger = cloud.batch(replica="store-1.1", forget=cloud.admit(cloud.forgetting(0)).batch.forget)  # type: ignore[union-attr]
    assert isinstance(refused := cloud.admit(stranger), Refusal)
    assert refused.code == "forbidden"
    assert isinstance(cloud.admit(cloud.forgetting(0, number=2)), Admitted)
    cloud.devices.lines[CLOUD] = device(cloud.identities[CLOUD], scopes=EVERYTHING, permissions=EVERYTHING)
    assert isinstance(refused := cloud.admit(cloud.forgetting(0, number=3)), Refusal)
    assert "'*' does not contain" in refused.reason


@pytest.mark.parametrize("replica", [CLOUD_REPLICA, "cloud.other"])
def test_the_clouds_device_does_nothing_else(cloud: Cloud, replica: str) -> None:
    assert isinstance(cloud.admit(cloud.batch(command("c", count(stock(), 1, 1, replica)), replica=replica)), Refusal)
    assert isinstance(cloud.admit(cloud.batch(replica=replica)), Refusal)


def test_of_two_workers_one_wins_and_a_floor_never_falls(cloud: Cloud) -> None:
    with_tombstone(cloud)
    cloud.merge(command("day", count(ledger(), 1, 1)))
    first, second = cloud.forgetting(3, number=1), cloud.forgetting(2, stock(), number=1)
    cloud.merge_value(first)
    cloud.merge_value(second)
    cloud.fly()
    assert cloud.row(CLOUD_REPLICA).forgot == (Forgot(3, 3, 0),)
    assert cloud.store[key(stock())] is not None
    cloud.heads[CLOUD_REPLICA, 1] = cloud.row(CLOUD_REPLICA).head
    cloud.numbers[CLOUD_REPLICA] = 1
    cloud.forget(1)
    cloud.fly()
    assert cloud.row(CLOUD_REPLICA).forgot[-1].floor == 3


# -- crashes and replays


def test_a_crash_between_the_row_and_the_states_loses_nothing_of_it(cloud: Cloud) -> None:
    with_tombstone(cloud)
    value = cloud.forgetting(2, stock(), retired={"store-1.1": "store-1"})
    cloud.merge_value(value)
    cloud.seal()
    rows = {r.key.decode(): r.value for part in [cloud.deck._flights[0]] for r in part.records(part.stage) if r.value}
    cloud.rows.update({name: row for name, row in rows.items() if "." in name})
    cloud.new_life(committed=2)
    assert cloud.store[key(stock())] is not None
    cloud.merge_value(value, offset=2)
    assert last(cloud, stock()).value is None
    assert cloud.rules.records.decode_chain_row(cloud.rows["store-1.1"]).ended_at == 2
    assert cloud.row(CLOUD_REPLICA).forgot == (Forgot(2, 2, 2),)


def test_a_late_copy_of_what_was_forgotten_says_nothing(cloud: Cloud) -> None:
    with_tombstone(cloud)
    value = cloud.forgetting(2, stock())
    cloud.merge_value(value)
    for seq in (1, 2):
        send(cloud, f"n{seq}", count(stock(), 1, seq, LATER), read=2)
    cloud.merge_value(value)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 2


def test_what_lies_below_an_applied_floor_is_old_news(cloud: Cloud) -> None:
    made = cloud.batch(command("made", count(stock(), 5, 1)))
    cloud.merge_value(made)
    cloud.merge(command("gone", deleted(2)))
    cloud.forget(2, stock())
    cloud.fly()
    before = dict(cloud.store)
    cloud.new_life()
    cloud.merge_value(made, offset=0)
    cloud.fly()
    assert cloud.store == before
    assert cloud.acknowledged[-1] == 0


def test_a_replay_between_floor_and_purge_judges_as_it_was_judged_then(cloud: Cloud) -> None:
    with_tombstone(cloud)
    day = cloud.batch(command("day", count(ledger(), 1, 1, LATER)), replica=LATER, read=-1)
    cloud.merge_value(day)
    cloud.forget(2, stock())
    cloud.fly()
    rows, cloud.store[key(ledger())] = dict(cloud.rows), None
    cloud.new_life(committed=2)
    cloud.merge_value(day, offset=2)
    cloud.fly()
    assert cloud.state(ledger()).vector == {LATER: 1}, "its epoch is that of then, and it was not away"
    assert cloud.rows[CLOUD_REPLICA] == rows[CLOUD_REPLICA]


def test_the_net_takes_back_a_purge(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tombstone(cloud)
    cloud.forget(2, stock())
    send(cloud, "again", count(stock(), 7, 1, LATER), read=2)
    took_back = []
    take_back = cloud.merger._at.take_back
    monkeypatch.setattr(cloud.merger._at, "take_back", lambda: took_back.append(take_back()) or took_back[-1])
    guard = type(cloud.merger._net._decider)
    decide, broken = guard.decide, [True]

    def failing(self: Any, *args: Any) -> Any:
        if broken and broken.pop():
            raise RuntimeError("unforeseen")
        return decide(self, *args)

    monkeypatch.setattr(guard, "decide", failing)
    send(cloud, "more", count(stock(), 1, 2, LATER), read=2)
    cloud.fly()
    assert len(took_back) == 1
    assert cloud.value(stock(), "on_hand") == 8
    assert epoch_of(cloud.state(stock()).vector) == 2


def test_a_document_that_was_sealed_as_null_is_put_back_as_none(cloud: Cloud) -> None:
    with_tombstone(cloud)
    cloud.forget(2, stock())
    cloud.seal()
    cache = cloud.merger._at.cache
    entry = cache.get(stock(), cloud.rules.collections["Stock"])
    entry.flights += 1
    cache.put_back(entry)
    assert entry.state.vector == {}
    assert entry.purged == 2


def test_a_late_tombstone_over_the_null_is_answered_with_the_null_and_a_late_null_with_the_state(cloud: Cloud) -> None:
    with_tombstone(cloud)
    tombstone = cloud.store[key(stock())]
    cloud.forget(2, stock())
    cloud.fly()
    cloud.new_life(committed=3)
    cloud.merger.answers.heard(key(stock()), None, 1)
    assert cloud.merger.work.empty
    cloud.merger.answers.heard(key(stock()), tombstone, 1)
    assert last(cloud, stock()).value is None
    send(cloud, "again", count(stock(), 7, 1, LATER), read=2)
    cloud.fly()
    cloud.merger.answers.heard(key(stock()), None, 1)
    assert last(cloud, stock()).value is not None


def test_a_state_that_comes_when_its_purge_is_long_forgotten_is_answered_with_a_null(cloud: Cloud) -> None:
    """Nothing remembers the document any more; but a group of which everything is merged here can hold none that is not."""
    cloud.merge(command("made", count(stock(), 5, 1)))
    cloud.fly()
    old = cloud.store[key(stock())]
    cloud.merge(command("gone", deleted(2)))
    cloud.fly()
    cloud.forget(2, stock())
    cloud.fly()
    cloud.gone.clear()
    cloud.new_life().resume(3)
    assert not cloud.merger.answers.heard(key(stock()), old, 3), "of ops that are not merged yet nobody knows"
    assert cloud.merger.answers.heard(key(stock()), old, 0)
    record = last(cloud, stock())
    assert (record.value, groups.parse(record.headers).purged) == (None, 2)

    send(cloud, "again", count(stock(), 7, 1, LATER), read=2)
    cloud.fly()
    assert cloud.merger.answers.heard(key(stock()), old, 0)
    assert last(cloud, stock()).value == cloud.store[key(stock())] != old


# -- folding


@pytest.mark.parametrize("lives", [2_000, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.deep])])
@pytest.mark.slow
def test_thousands_of_short_lived_devices_leave_a_document_flat(cloud: Cloud, lives: int) -> None:
    """What an op costs grows with the vector, so where that stays short the time does not grow either."""
    sizes, longest = [], 0
    for number in range(1, lives + 1):
        replica = f"store-1.{number:x}"
        ends = (f"store-1.{number - 1:x}",) if number > 1 else ()
        value = cloud.batch(
            command(f"c{number}", count(stock(), 1, 1, replica)), replica=replica, ends=ends, read=cloud.end - 1
        )
        cloud.merge_value(value, append_ms=NOW_MS + number * 3_600_000)
        longest = max(longest, len(cloud.state(stock()).vector))
        if number % 50 == 0:
            cloud.forget(cloud.end - 1)
            cloud.fly()
            sizes.append(len(cloud.store[key(stock())] or b""))
    assert cloud.value(stock(), "on_hand") == lives
    assert longest <= 128
    assert max(sizes) < 1.2 * max(sizes[:5])


def test_an_op_that_names_who_was_forgotten_is_taken(cloud: Cloud) -> None:
    lives = [f"store-1.{number:x}" for number in range(1, 64)]
    for life in lives:
        ends = (life,)
        cloud.merge_value(cloud.batch(command(life, count(stock(), 1, 1, life)), replica=life, ends=ends))
    cloud.forget(63)
    send(cloud, "64th", count(stock(), 1, 1, LATER), read=63)
    cloud.forget(64)
    send(cloud, "set", named("x", 2, LATER, **{lives[3]: 1, lives[5]: 1}), read=64)
    assert cloud.verdicts()["set"] == "accepted"
    assert cloud.state(stock()).vector == {PAST: 63, LATER: 2}


def test_what_was_taken_out_by_those_who_are_forgotten_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set in which the remove wins remembers it for an add on its way; of adds that had not seen the past there are none left."""
    app = App("door")

    @app.space("retail", partitions=1).collection(scope="place", id="name")
    class Door(Document):
        place: str
        name: str
        banned: RemoveWinsSet[str]

    monkeypatch.setattr(memory, "FOLD_FROM", 2)
    cloud, door = Cloud(declared_space=app.contract.spaces["retail"]), DocumentId("Door", "s1", "x")
    for number in range(1, 5):
        life = f"store-1.{number}"
        ops = [
            change(door, "banned", kind, f"guest {number}", seq, replica=life)
            for seq, kind in ((1, "add"), (2, "remove"))
        ]
        ops[0] = ops[0]._replace(op=ops[0].op._replace(context={}))
        ops[1] = ops[1]._replace(op=ops[1].op._replace(context={life: 1}))
        value = cloud.batch(command(life, *ops), replica=life, ends=(life,), read=cloud.end - 1)
        cloud.merge_value(value)
        cloud.forget(cloud.end - 1)
    assert cloud.value(door, "banned") == []
    kept = cloud.state(door).fields["banned"]
    assert set(kept) == {'"guest 3"', '"guest 4"'}, "theirs who are not below the floor yet"
