"""The chain row of a life that is over goes, and what is kept of it in `cloud.over` is enough: its name never begins again, nothing counts twice."""

from __future__ import annotations

import pytest

from driftlog_schemas import topics
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA
from driftlog_schemas.messages import ChainRow, Command, DocumentOp
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import forgetting, over
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.flight import Stage
from driftlog_streams.core.forgetting import plan
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from tests.unit.streams.cloud import Cloud, change, command, count, ledger, stock
from tests.unit.streams.test_forgotten_recovery import Kept

OLD, NEXT, COPY = "store-1.1", "store-1.2", "store-1.3"


def rooted(name: str, *ops: DocumentOp, written: int, root: str = OLD) -> Command:
    return command(name, *ops)._replace(root=root, written=written)


def send(cloud: Cloud, replica: str, *commands: Command, ends: tuple[str, ...] = (), read: int | None = None) -> bytes:
    """Append a batch of somebody who has read all there is, and merge it."""
    value = cloud.batch(*commands, replica=replica, ends=ends, read=cloud.end - 1 if read is None else read)
    cloud.merge_value(value)
    return value


def pass_time(cloud: Cloud) -> None:
    for _ in range(3):
        cloud.merge_value(None)
    cloud.fly()


def remove(cloud: Cloud, *replicas: str) -> int:
    """After a while the partition forgets the rows of these; at which record."""
    pass_time(cloud)
    at = cloud.forget(cloud.end - 1, over=replicas)
    cloud.fly()
    return at


def over_and_removed(cloud: Cloud, *brought: Command) -> int:
    """`OLD` counts 5, `NEXT` ends it and brings these; then its row goes."""
    send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    send(cloud, NEXT, *brought, ends=(OLD,))
    return remove(cloud, OLD)


def receipts(cloud: Cloud) -> list[tuple[str, bytes | None]]:
    name = topics.receipts_topic("retail")
    return [(record.key.decode(), record.value) for record in cloud.published if record.topic == name]


def verdict(cloud: Cloud, replica: str, name: str) -> str:
    cloud.fly()
    (found,) = [o for entry in cloud.row(replica).entries for o in entry.outcomes if o.command_id == name]
    return f"{found.verdict.value} {found.code}"


# -- it goes


def test_the_row_goes_behind_what_is_kept_of_it_and_neither_before_the_record_that_says_so(cloud: Cloud) -> None:
    send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    send(cloud, NEXT, ends=(OLD,))
    pass_time(cloud)
    value = cloud.forgetting(cloud.end - 1, over=(OLD,))
    assert cloud.rows[OLD] is not None
    cloud.merge_value(value)
    cloud.fly()
    assert [key for key, _ in receipts(cloud)[-3:]] == [CLOUD_REPLICA, OVER_REPLICA, OLD]
    assert receipts(cloud)[-1][1] is None and cloud.rows[OLD] is None
    assert cloud.row(OVER_REPLICA).over.keys() == {short_name(OLD)}


def nobody_ended_it(cloud: Cloud) -> None:
    send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    pass_time(cloud)


def it_ended_a_moment_ago(cloud: Cloud) -> None:
    nobody_ended_it(cloud)
    send(cloud, NEXT, ends=(OLD,))


def somebody_spoke_in_its_name(cloud: Cloud) -> None:
    it_ended_a_moment_ago(cloud)
    pass_time(cloud)
    send(cloud, OLD, command("again", count(stock(), 5, 2, OLD)))


def a_command_of_it_came_with_another_life(cloud: Cloud) -> None:
    it_ended_a_moment_ago(cloud)
    pass_time(cloud)
    send(cloud, NEXT, rooted("late", count(stock(), 5, 1, NEXT), written=0))


def a_command_of_it_waits(cloud: Cloud) -> None:
    waits = change(stock(), "name", "set", "x", 1, replica=OLD, context={"store-2.1": 1})
    send(cloud, OLD, command("waits", waits), read=1 << 20)
    send(cloud, NEXT, ends=(OLD,))
    cloud.fly()


@pytest.mark.parametrize(
    "happened",
    [
        nobody_ended_it,
        it_ended_a_moment_ago,
        somebody_spoke_in_its_name,
        a_command_of_it_came_with_another_life,
        a_command_of_it_waits,
    ],
)
def test_a_row_that_somebody_may_still_need_stays(cloud: Cloud, happened: object) -> None:
    happened(cloud)  # type: ignore[operator]
    cloud.fly()
    floor = 0 if happened is a_command_of_it_waits else cloud.end - 1
    cloud.forget(floor, over=(OLD, "store-1.77"))
    cloud.fly()
    assert cloud.rows[OLD] is not None
    assert OVER_REPLICA not in cloud.rows


@pytest.mark.parametrize(("lives", "most"), [(10_000, 10_000), (200, 90)], ids=["all", "more than it holds"])
@pytest.mark.slow
def test_ten_thousand_lives_leave_one_row(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, lives: int, most: int) -> None:
    monkeypatch.setattr(over, "MAX_OVER", most)
    monkeypatch.setattr(forgetting, "MAX_OVER", most)
    rows = {}
    for replica in [f"store-1.{number:x}" for number in range(lives)]:
        row = ChainRow("store-1", replica, "retail", 0, 3, replica.encode().ljust(16), 4, (), ended="ended", ended_at=0)
        cloud.rows[replica], rows[replica] = cloud.rules.records.encode_chain_row(row), row
    before = sum(len(row or b"") for row in cloud.rows.values())
    pass_time(cloud)
    written = 0
    while True:
        found = plan(cloud.merger.forgotten, cloud.end - 1, (), rows.values(), bool)
        if found is None or not found.over:
            break
        cloud.forget(found.floor, over=found.over)
        cloud.fly()
        rows = {replica: row for replica, row in rows.items() if cloud.rows[replica] is not None}
        rows[OVER_REPLICA] = cloud.row(OVER_REPLICA)
        written += len(cloud.rows[OVER_REPLICA] or b"")
    gone = len(rows.pop(OVER_REPLICA).over)
    assert len(rows) == lives - gone, "none is lost"
    assert gone == most if most < lives else len(rows) <= gone // forgetting.MANY
    size = len(cloud.rows[OVER_REPLICA] or b"")
    assert size < 45 * gone and size < before / 2
    assert written < forgetting.MANY * size, "it is not written once for each of them"


# -- and its life does not begin again


def test_a_copy_that_comes_back_is_refused_and_told_how_its_chain_stood(cloud: Cloud) -> None:
    at = over_and_removed(cloud)
    head = cloud.row(OVER_REPLICA).over[short_name(OLD)].head
    send(cloud, OLD, command("stale", count(stock(), 100, 2, OLD)))
    cloud.fly()
    row = cloud.row(OLD)
    assert row.notice is not None
    assert (row.notice.code, row.ended, row.last, row.head, row.entries) == ("ended", "ended", 1, head, ())
    assert row.forgotten == cloud.end - 1 > at
    assert cloud.value(stock(), "on_hand") == 5


def test_the_row_of_a_copy_that_came_back_goes_again_after_a_while(cloud: Cloud) -> None:
    over_and_removed(cloud)
    send(cloud, OLD, command("stale", count(stock(), 100, 2, OLD)))
    came_back = cloud.end - 1
    cloud.fly()
    cloud.forget(came_back, over=(OLD,))
    cloud.fly()
    assert cloud.rows[OLD] is not None, "who has sent it may not have read it yet"
    at = remove(cloud, OLD)
    assert cloud.rows[OLD] is None
    (left,) = cloud.row(OVER_REPLICA).over.values()
    assert (left.removed, left.last, left.ended) == (at, 1, "ended")


@pytest.mark.parametrize("number", [1, 2, 7])
def test_whatever_number_a_batch_of_it_has_it_anchors_nothing(cloud: Cloud, number: int) -> None:
    over_and_removed(cloud)
    batch = cloud.batch(
        command("stale", count(ledger(), 1, 1, OLD)), replica=OLD, number=number, floor=number, read=cloud.end - 1
    )
    cloud.merge_value(batch)
    cloud.fly()
    assert cloud.state(ledger()).vector == {}
    assert cloud.row(OLD).ended == "ended"


def test_a_batch_of_before_its_end_that_comes_late_counts_nothing(cloud: Cloud) -> None:
    first = send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    send(cloud, NEXT, ends=(OLD,))
    remove(cloud, OLD)
    cloud.merge_value(first)
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 5


def test_a_life_that_ends_it_once_more_is_told_how_its_chain_stood(cloud: Cloud) -> None:
    """Its folder asks for the row of its old life, and would wait for it for ever."""
    over_and_removed(cloud)
    send(cloud, COPY, ends=(OLD,))
    cloud.fly()
    assert (cloud.row(OLD).ended, cloud.row(OLD).last, cloud.row(OLD).notice) == ("ended", 1, None)
    assert cloud.row(OLD).ended_at == 1


def test_its_name_is_still_forgotten_in_vectors_and_known_in_contexts(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_streams.core.memory.FOLD_FROM", 2)
    over_and_removed(cloud)
    send(cloud, NEXT, command("other", count(stock(), 1, 1, NEXT)))
    assert OLD not in cloud.state(stock()).vector
    seen = change(stock(), "name", "set", "x", 2, replica=NEXT, context={OLD: 1})
    send(cloud, NEXT, command("knows", seen))
    assert cloud.value(stock(), "name") == "x"


# -- nothing counts twice


def test_what_another_copy_may_have_brought_is_for_a_person(cloud: Cloud) -> None:
    at = over_and_removed(cloud, rooted("both", count(stock(), 10, 1, NEXT), written=0))
    send(cloud, COPY, rooted("both", count(stock(), 10, 1, COPY), written=0), ends=(OLD,))
    assert verdict(cloud, COPY, "both") == "rejected maybe_counted"
    send(cloud, COPY, rooted("later", count(stock(), 100, 2, COPY), written=at))
    assert cloud.value(stock(), "on_hand") == 115, "what was written since nobody can have brought before"
    send(cloud, COPY, command("both", count(stock(), 10, 3, COPY))._replace(root=OLD))
    assert cloud.value(stock(), "on_hand") == 125, "a person has decided"
    remove(cloud, OLD)
    send(cloud, NEXT, rooted("later", count(stock(), 100, 2, NEXT), written=at))
    assert verdict(cloud, NEXT, "later") == "rejected maybe_counted"
    assert cloud.value(stock(), "on_hand") == 125


def test_what_nobody_has_brought_comes_along_and_once(cloud: Cloud) -> None:
    """A device that was away for longer than its row was kept, as long as its folder was never copied."""
    over_and_removed(cloud)
    send(cloud, COPY, rooted("promised", count(stock(), 10, 1, COPY), written=0), ends=(OLD,))
    send(cloud, NEXT, rooted("promised", count(stock(), 10, 1, NEXT), written=0))
    assert cloud.value(stock(), "on_hand") == 15
    assert verdict(cloud, NEXT, "promised") == "accepted repeated"


# -- what is read again, and what comes late


@pytest.mark.parametrize("out", range(4), ids=["nothing", "the cloud's row", "what is kept", "the tombstone too"])
def test_a_crash_anywhere_in_it_comes_to_the_same(cloud: Cloud, out: int) -> None:
    send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    send(cloud, NEXT, ends=(OLD,))
    pass_time(cloud)
    committed = cloud.merger.committed
    value = cloud.forgetting(cloud.end - 1, over=(OLD,))
    cloud.merge_value(value)
    (part,) = cloud.seal().partitions
    cloud.rows.update(part.rows[:out])
    store = Kept()
    store.rows = cloud.rows
    Restoration(cloud.rules).without_removed(store, Recovered())
    assert (cloud.rows[OLD] is None) is (out > 1), "what is kept of it stands for it"
    cloud.new_life(committed=committed)
    cloud.merger.resume(committed)
    cloud.merge_value(value, offset=committed)
    cloud.fly()
    send(cloud, OLD, command("stale", count(stock(), 100, 2, OLD)))
    cloud.fly()
    assert cloud.row(OLD).notice is not None
    assert cloud.value(stock(), "on_hand") == 5
    kept = cloud.rules.records.decode_chain_row(cloud.rows[OVER_REPLICA] or b"").over
    assert kept[short_name(OLD)].removed == committed


def late(cloud: Cloud, name: str, value: bytes | None, offset: int) -> ChangelogRecord:
    return ChangelogRecord(name.encode(), value, offset, ())


def test_recovery_takes_no_row_that_was_removed_in_whatever_order_they_come(cloud: Cloud) -> None:
    over_and_removed(cloud)
    words = dict(receipts(cloud))
    old = next(value for name, value in receipts(cloud) if name == OLD and value is not None)
    kept = words[OVER_REPLICA]
    for found, stale in (
        ([(OVER_REPLICA, kept), (OLD, old)], True),
        ([(OLD, old), (OVER_REPLICA, kept)], True),
        ([(OLD, old), (OVER_REPLICA, kept), (OLD, None)], True),
        ([(OLD, None), (OVER_REPLICA, kept)], False),
    ):
        store, recovered, restoration = Kept(), Recovered(ops_end=100), Restoration(cloud.rules)
        for offset, (name, value) in enumerate(found):
            restoration.take_rows(store, recovered, [late(cloud, name, value, offset)])
        restoration.without_removed(store, recovered)
        assert store.rows.get(OLD) is None, found
        assert (OLD in recovered.stale_rows) is stale, "the topic is told again that there is none"


@pytest.mark.parametrize("value", [None, b"", b"\x00noise"], ids=["a tombstone", "nothing", "noise"])
def test_recovery_tells_a_row_again_over_which_somebody_has_written_what_is_none(
    cloud: Cloud, value: bytes | None
) -> None:
    """Compaction would keep only that, and who begins with nothing would not know the life."""
    send(cloud, OLD, command("first", count(stock(), 5, 1, OLD)))
    cloud.fly()
    row = cloud.rows[OLD]
    store, recovered, restoration = Kept(), Recovered(ops_end=100), Restoration(cloud.rules)
    restoration.take_rows(store, recovered, [late(cloud, OLD, row, 0), late(cloud, "unknown.1", value, 1)])
    assert not recovered.stale_rows
    restoration.take_rows(store, recovered, [late(cloud, OLD, value, 2)])
    assert store.rows[OLD] == row and recovered.stale_rows == {OLD: 2} and recovered.settled.rows == 1
    restoration.take_rows(store, recovered, [late(cloud, OLD, row, 3)])
    assert not recovered.stale_rows


@pytest.mark.parametrize("ours", ["nothing", "the row as it was removed", "the row as it came back"])
def test_recovery_keeps_the_row_of_a_copy_that_came_back(cloud: Cloud, ours: str) -> None:
    over_and_removed(cloud, rooted("promised", count(stock(), 10, 1, NEXT), written=0))
    before = [value for name, value in receipts(cloud) if name == OLD and value is not None][-1]
    send(cloud, OLD, command("stale", count(stock(), 100, 2, OLD)))
    cloud.fly()
    store, recovered, restoration = Kept(), Recovered(ops_end=100), Restoration(cloud.rules)
    if ours != "nothing":
        store.rows[OLD] = before if ours == "the row as it was removed" else cloud.rows[OLD]
    restoration.take_rows(
        store, recovered, [late(cloud, name, value, at) for at, (name, value) in enumerate(receipts(cloud))]
    )
    restoration.without_removed(store, recovered)
    assert store.rows[OLD] == cloud.rows[OLD] is not None
    assert OLD not in recovered.stale_rows


@pytest.mark.parametrize("apart", [True, False], ids=["read apart", "read with it"])
def test_recovery_answers_a_tombstone_that_came_late(cloud: Cloud, apart: bool) -> None:
    """Of a worker that had removed the row and was cut off until it was there again: edges would have no answer by it."""
    over_and_removed(cloud)
    send(cloud, OLD, command("stale", count(stock(), 100, 2, OLD)))
    cloud.fly()
    found = [late(cloud, name, value, at) for at, (name, value) in enumerate([*receipts(cloud), (OLD, None)])]
    store, recovered, restoration = Kept(), Recovered(ops_end=100), Restoration(cloud.rules)
    for records in (found[:-1], found[-1:]) if apart else (found,):
        restoration.take_rows(store, recovered, records)
    restoration.without_removed(store, recovered)
    assert store.rows[OLD] == cloud.rows[OLD] is not None
    assert OLD in recovered.stale_rows, "the topic is told again that there is one"


def test_the_owner_answers_a_late_row_with_a_tombstone_and_a_strangers_tombstone_with_a_row(cloud: Cloud) -> None:
    over_and_removed(cloud)
    old = next(value for name, value in receipts(cloud) if name == OLD and value is not None)
    assert cloud.merger.answers.heard_row(OLD.encode(), old)
    cloud.fly()
    assert receipts(cloud)[-1] == (OLD, None)
    assert not cloud.merger.answers.heard_row(OLD.encode(), None)
    for name in (NEXT, OVER_REPLICA):
        assert cloud.merger.answers.heard_row(name.encode(), None)
        cloud.fly()
        assert receipts(cloud)[-1] == (name, cloud.rows[name]) != (name, None)


# -- a record that is read again retires nobody who has spoken since


@pytest.mark.parametrize("waits", [True, False], ids=["a command of it waits", "none of it was taken"])
def test_who_was_first_heard_after_a_forgetting_is_not_over_when_that_is_read_again(cloud: Cloud, waits: bool) -> None:
    pass_time(cloud)
    committed = cloud.end
    values = [cloud.forgetting(committed - 1, retired={OLD: "store-1"})]
    cloud.merge_value(values[0])
    op = change(stock(), "name", "set", "x", 2, replica=OLD, context={})
    values.append(cloud.batch(command("c", op), replica=OLD, read=committed - 1 if waits else 0))
    cloud.merge_value(values[1])
    flight = cloud.seal()
    cloud.rows.update(flight.partitions[0].rows)
    cloud.published += flight.records(Stage.FIRST)
    cloud.new_life(committed=committed)
    cloud.restore_parked()
    cloud.merger.resume(committed)
    for offset, value in enumerate(values, committed):
        cloud.merge_value(value, offset=offset)
    cloud.fly()
    row = cloud.row(OLD)
    assert row.ended == ""
    if waits:
        assert verdict(cloud, OLD, "c") == "parked gap"
    else:
        assert row.notice is not None and row.notice.code == "away"
