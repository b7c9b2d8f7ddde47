"""A log that is closed ends with one record, for whoever reads it and whenever: nothing behind it is merged, and nothing before it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.devices import EVERYTHING
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA, is_life
from driftlog_schemas.messages import Batch, Call, Forgetting, Reacting
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admitted, Refusal
from driftlog_streams.core.flight import Stage
from driftlog_streams.core.rights import CLOSE, FORGET, has_a_right
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying.rebuild import Rebuild
from tests.unit.streams.cloud import NOW_MS, PARTITION, Cloud, change, command, count, device, ledger, stock
from tests.unit.streams.test_replaying import Log, key

OTHER = "store-2.1"
BACK = "deferred closed"
END = Batch("retail", PARTITION, CLOSING_REPLICA, 1, (), floor=1)


class Closable(Cloud):
    """With the device that closes logs."""

    def __init__(self) -> None:
        super().__init__()
        self.identities[CLOSER] = Identity.create(CLOSER)
        self.permit(CLOSE)

    def permit(self, *permissions: str) -> None:
        self.devices.lines[CLOSER] = device(self.identities[CLOSER], scopes=(), permissions=permissions)

    def end_of_log(self, batch: Batch = END) -> bytes:
        return self.rules.batches.seal(encode_body(batch), self.identities[CLOSER])

    def close(self) -> None:
        self.merge_value(self.end_of_log())


@pytest.fixture
def cloud() -> Closable:
    return Closable()


def test_nothing_behind_the_end_is_merged(cloud: Closable) -> None:
    cloud.merge(command("before", count(stock(), 1, 1)))
    cloud.close()
    before = cloud.verdicts()
    cloud.merge(command("behind", count(stock(), 1, 2)))
    cloud.merge(command("another", count(ledger(), 1, 1, OTHER)), replica=OTHER)
    cloud.merge_value(b"noise")
    cloud.fly()
    assert before == {"before": "accepted"}
    assert cloud.value(stock(), "on_hand") == 1 and not cloud.state(ledger()).vector
    assert cloud.row().last == 1 and OTHER not in cloud.rows and not cloud.notices()
    assert cloud.acknowledged == [0, 1, 2, 3, 4], "they are done with"
    assert cloud.merger.ended_at == 1


def test_whoever_takes_over_behind_the_end_stops_there_as_well(cloud: Closable) -> None:
    cloud.merge(command("before", count(stock(), 1, 1)))
    cloud.close()
    cloud.fly()
    cloud.new_life(committed=2)
    cloud.merger.resume(2)
    assert cloud.merger.ended_at == 1
    cloud.merge(command("behind", count(stock(), 1, 2)))
    cloud.fly()
    assert cloud.value(stock(), "on_hand") == 1


def test_a_second_end_is_behind_the_first(cloud: Closable) -> None:
    cloud.close()
    cloud.merge(command("between", count(stock(), 1, 1)))
    cloud.close()
    cloud.fly()
    assert cloud.merger.ended_at == cloud.row(CLOSING_REPLICA).offset == 0
    assert not cloud.state(stock()).vector


def test_what_waits_is_given_back(cloud: Closable) -> None:
    cloud.merge(command("gap", count(stock(), 1, 2)))
    cloud.merge(command("behind", count(stock(), 1, 3)))
    cloud.merge(command("other", count(ledger(), 1, 1, OTHER)), replica=OTHER)
    cloud.fly()
    assert len(cloud.parked()) == 2
    cloud.close()
    assert cloud.verdicts() == {"gap": BACK, "behind": BACK, "other": "accepted"}
    assert not cloud.parked() and not cloud.merger.parking and not cloud.state(stock()).vector


def test_what_a_person_had_given_up_stays_given_up(cloud: Closable) -> None:
    cloud.merge(command("gap", count(stock(), 1, 2)))
    cloud.fly()
    cloud.drop(*[name.decode() for name in cloud.parked()])
    cloud.close()
    assert cloud.verdicts()["gap"] == "rejected dropped" and not cloud.parked()


@pytest.mark.parametrize("committed", [0, 1, 2])
@pytest.mark.parametrize("rows_out", [(), (CLOSING_REPLICA,), ("store-1.1",), (CLOSING_REPLICA, "store-1.1")])
@pytest.mark.parametrize("until", [Stage.FIRST, Stage.SECOND, Stage.STORE, Stage.ACK])
def test_a_crash_ends_it_neither_earlier_nor_later(
    cloud: Closable, committed: int, rows_out: tuple[str, ...], until: Stage
) -> None:
    """The end was merged, and of its flight some rows got out, or all that comes before `until`."""
    log = [
        cloud.batch(command("fine", count(ledger(), 1, 1))),
        cloud.batch(command("gap", count(stock(), 1, 2))),
        cloud.end_of_log(),
        cloud.batch(command("behind", count(stock(), 1, 1))),
    ]
    for value in log[:3]:
        cloud.merge_value(value)
        if cloud.end <= committed:
            cloud.fly()
    (part,) = cloud.seal().partitions
    cloud.published += [record for record in (*part.outcomes, *part.states) if record.key.decode() in rows_out]
    cloud.carry_out(until)
    receipts = [record for record in cloud.published if record.topic.endswith(".receipts")]
    cloud.rows.update({record.key.decode(): record.value or b"" for record in receipts})
    cloud.new_life(committed=committed)
    cloud.restore_parked()
    cloud.merger.resume(committed)
    for offset in range(committed, 4):
        cloud.merge_value(log[offset], offset=offset)
    cloud.fly()
    verdicts = cloud.verdicts()
    assert verdicts == {"fine": "accepted", "gap": BACK}
    assert cloud.row(CLOSING_REPLICA).offset == cloud.merger.ended_at == 2
    assert cloud.state(ledger()).vector == {"store-1.1": 1} and not cloud.state(stock()).vector
    assert cloud.parked() == {}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    stores = WorkerStore(tmp_path / "store")
    yield stores.partition(0)
    stores.close()


def test_a_replay_stops_there_too(store: PartitionStore) -> None:
    log = Log()
    log.cloud = Closable()
    log.append(log.cloud.batch(command("before", count(stock(), 1, 1))))
    log.append(log.cloud.end_of_log())
    log.append(log.cloud.batch(command("behind", count(stock(), 1, 2))))
    log.append(log.cloud.batch(command("new", change(ledger(), "sold", "increment", 1, 3))))
    made = Rebuild(log.cloud.rules, PARTITION, store, log.cloud.devices)
    for record in log.ops:
        made.take(record)
    made.end()
    assert dict(store.documents()) == {key(stock()): log.cloud.store[key(stock())]}
    assert store.mark.group == 1, "up to the end all is in it"


@pytest.mark.parametrize("permissions", [EVERYTHING, (FORGET,), ()])
def test_only_who_may_close_logs_closes_one(cloud: Closable, permissions: tuple[str, ...]) -> None:
    cloud.permit(*permissions)
    cloud.close()
    cloud.merge(command("on", count(stock(), 1, 1)))
    assert cloud.verdicts() == {"on": "accepted"} and cloud.merger.ended_at is None
    assert [notice.code for notice in cloud.notices()] == ["forbidden"]


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (replace(END, commands=(command("c", count(stock(), 1, 1, CLOSING_REPLICA)),)), "malformed"),
        (replace(END, ends=("driftlog-closing.x",)), "malformed"),
        (replace(END, number=2, prev=bytes(16)), "malformed"),
        (replace(END, replica="driftlog-closing.a"), "malformed"),
        (replace(END, forget=Forgetting(0)), "malformed"),
        (replace(END, react=Reacting((Call("c", "r", "sell", "{}", 1, 0, 0),))), "malformed"),
        (replace(END, partition=1), "wrong_partition"),
        (replace(END, space="other"), "wrong_partition"),
    ],
)
def test_it_says_nothing_else(cloud: Closable, batch: Batch, code: str) -> None:
    admitted = cloud.admit(cloud.end_of_log(batch))
    assert isinstance(admitted, Refusal) and admitted.code == code
    assert isinstance(cloud.admit(cloud.end_of_log()), Admitted)


def test_nobody_else_is_called_so_and_no_right_goes_with_it(cloud: Closable) -> None:
    assert not is_life(CLOSING_REPLICA) and is_life("driftlog-closing2.a")
    standing = cloud.devices.lines[CLOSER].standing_at(NOW_MS)
    assert standing is not None
    assert not has_a_right("Stock", "s1", standing._replace(scopes=EVERYTHING), cloud.rules)
