"""A replay by the merge core alone is what the workers made; and where it is not, it says in what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog.cli.schemas import all_schemas
from driftlog_crdt import SETTLER
from driftlog_schemas import groups, row_room, topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying import rebuild
from driftlog_streams.replaying.comparing import MEMORY, differences
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.running import Running, recorded
from driftlog_streams.replaying.unregistered import FIRST, Unregistered
from tests.unit.streams.cloud import IDS, NOW_MS, PARTITION, SPACE, Cloud, change, command, count, key, ledger, stock

OTHER = "store-2.1"


class Log:
    """What a partition's records were, and what its workers made of them."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.ops: list[ChangelogRecord] = []

    def append(self, value: bytes, append_ms: int = NOW_MS) -> None:
        self.ops.append(ChangelogRecord(b"", value, len(self.ops), (), append_ms))
        self.cloud.merge_value(value, append_ms=append_ms)
        self.cloud.fly()

    @property
    def states(self) -> list[ChangelogRecord]:
        """The state topic."""
        return self.published(topics.state_topic("retail"))

    def published(self, topic: str) -> list[ChangelogRecord]:
        """What is in a topic of those that workers write."""
        records = [r for r in self.cloud.published if r.topic == topic]
        return [ChangelogRecord(r.key, r.value, at, r.headers, 0) for at, r in enumerate(records)]


@pytest.fixture
def log() -> Log:
    """A sale, a refusal, a gap that is filled, a conflict that a deadline ends, a delete that is forgotten."""
    log = Log()
    cloud = log.cloud
    log.append(cloud.batch(command("in", count(stock(), 5, 1), count(ledger(), 5, 1))))
    log.append(cloud.batch(command("too much", count(stock(), -50, 2))))
    log.append(cloud.batch(command("late", count(stock(), 1, 2, OTHER)), replica=OTHER))
    log.append(cloud.batch(command("first", change(stock(), "price", "set", 7, 1, replica=OTHER)), replica=OTHER))
    log.append(cloud.batch(command("rival", change(stock(), "price", "set", 8, 3))))
    log.append(cloud.due(*cloud.overdue()), append_ms=1 << 46)
    log.append(cloud.batch(command("gone", change(ledger(), "", "delete", None, 2, context={}))))
    log.append(cloud.forgetting(2, ledger()))
    return log


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[PartitionStore, PartitionStore]]:
    """For what runs, and for what is rebuilt."""
    both = WorkerStore(tmp_path / "stores")
    yield both.partition(0), both.partition(1)
    both.close()


def rebuilt(
    log: Log, store: PartitionStore, until: int = 99, rules: SpaceRules | None = None, waits: tuple[str, ...] = ()
) -> dict[str, str]:
    """Replay; what became of each command. These wait at its end."""
    verdicts: dict[str, str] = {}

    def told(arrival: object, outcome: CommandOutcome | None) -> None:
        name = arrival.command.id  # type: ignore[attr-defined]
        verdicts[name] = "accepted" if outcome is None else f"{outcome.verdict.value} {outcome.code}".strip()

    made = Rebuild(rules or log.cloud.rules, PARTITION, store, log.cloud.devices, told)
    for record in log.ops[: until + 1]:
        made.take(record)
    assert tuple(arrival.command.id for arrival in made.end()) == waits
    return verdicts


def running(log: Log, store: PartitionStore) -> Running:
    model = Running(store, len(log.ops))
    model.take(log.states)
    return model


@pytest.mark.parametrize("at_once", [1, 3, 500])
def test_what_is_rebuilt_is_what_runs_byte_for_byte(
    log: Log, stores: tuple[PartitionStore, PartitionStore], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", at_once)
    verdicts = rebuilt(log, stores[1])
    assert running(log, stores[0]).group == len(log.ops) - 1
    assert dict(stores[0].documents()) == dict(stores[1].documents()) == {key(stock()): log.cloud.store[key(stock())]}
    assert list(differences(log.cloud.rules, *stores)) == []
    assert verdicts == {
        "in": "accepted",
        "too much": "rejected recount",
        "late": "accepted",
        "first": "accepted",
        "rival": "accepted",
        "gone": "accepted",
    }
    for name, verdict in verdicts.items():
        row, number = log.cloud.row(OTHER if name in ("late", "first") else "store-1.1"), _number(log, name)
        said = recorded(row, number, name)
        assert said is not None and f"{said.verdict.value} {said.code}".strip() == verdict


def _number(log: Log, name: str) -> int:
    return next(number for (_, number), names in log.cloud.sent.items() if names == [name])


def test_it_stops_where_it_is_told(log: Log, stores: tuple[PartitionStore, PartitionStore]) -> None:
    rebuilt(log, stores[1], until=0)
    ((_, value),) = [pair for pair in stores[1].documents() if pair[0] == key(stock())]
    assert log.cloud.rules.collections["Stock"].codec.decode_row(value)["on_hand"] == 5
    assert key(ledger()) in dict(stores[1].documents())


def test_what_was_written_behind_a_settlement_waits_for_none_that_is_not_made_again(
    stores: tuple[PartitionStore, PartitionStore],
) -> None:
    """Where one more write is taken than was then (by another app, or as it was put off), nothing is settled between the two; whoever wrote on had seen that."""
    log = Log()
    cloud, third = log.cloud, "store-2.2"
    for replica, value in (("store-1.1", 10), (OTHER, 20)):
        price = change(stock(), "price", "set", value, 1, replica=replica)
        log.append(cloud.batch(command(f"by {replica}", price), replica=replica))
    refused = change(stock(), "price", "set", 30, 1, replica=third), count(stock(), -50, 2, third)
    log.append(cloud.batch(command("refused then", *refused), replica=third))
    log.append(cloud.due(*cloud.overdue()), append_ms=1 << 46)
    seen = {OTHER: 1, third: 2, SETTLER: 1}
    behind = change(stock(), "price", "set", 40, 2, context=seen)
    log.append(cloud.batch(command("behind", behind)), append_ms=1 << 46)
    log.append(cloud.batch(command("on", count(stock(), 5, 3))), append_ms=1 << 46)
    forged = change(stock(), "price", "set", 50, 3, replica=third, context={SETTLER: 1 << 40})
    log.append(cloud.batch(command("forged", forged), replica=third), append_ms=1 << 46)
    assert dict(cloud.state(stock()).vector) == {"store-1.1": 3, OTHER: 1, third: 2, SETTLER: 1}
    rules = SpaceRules(replace(SPACE, guards={}), IDS)
    verdicts = rebuilt(log, stores[1], rules=rules, waits=("forged",))  # no log has had so many
    assert {name for name, verdict in verdicts.items() if verdict != "accepted"} == {"forged"}
    ((_, value),) = stores[1].documents()
    vector = rules.collections["Stock"].codec.decode(value).vector
    assert dict(vector) == dict(cloud.state(stock()).vector), "the next settlement has a dot of its own"


@pytest.mark.parametrize("at_once", [1, 500])
def test_a_writer_with_many_refusals_is_heard_to_its_end(
    stores: tuple[PartitionStore, PartitionStore], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row had room, for its worker had committed what lay before; how much a replay writes at once changes nothing of that."""
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", at_once)
    monkeypatch.setattr(row_room, "MAX_ENTRIES", 3)
    log = Log()
    for number in range(1, 11):
        log.append(log.cloud.batch(command(f"c{number}", count(stock(), 1, number)), floor=number))
    assert log.cloud.row().last == 10
    verdicts = rebuilt(log, stores[1])
    assert verdicts == {f"c{number}": "accepted" for number in range(1, 11)}
    running(log, stores[0])
    assert list(differences(log.cloud.rules, *stores)) == []


def test_a_document_that_differs_is_listed_with_its_fields(
    log: Log, stores: tuple[PartitionStore, PartitionStore]
) -> None:
    running(log, stores[0])
    rebuilt(log, stores[1], until=4)
    (one, other) = differences(log.cloud.rules, *stores)
    assert (one.document, one.what) == (ledger(), "missing")
    assert (other.document, other.what, list(other.fields)) == (stock(), "differs", [MEMORY])
    stores[0].write([(key(stock()), None)], stores[0].mark)
    assert [d.what for d in differences(log.cloud.rules, *stores)] == ["missing", "missing"]
    rebuilt(Log(), stores[0])
    stores[1].write([(key(ledger()), None)], stores[1].mark)
    assert next(differences(log.cloud.rules, stores[1], stores[0])).what == "surplus"


def test_a_torn_end_and_what_no_worker_wrote_are_left_out(
    log: Log, stores: tuple[PartitionStore, PartitionStore]
) -> None:
    model = running(log, stores[0])
    whole, torn = dict(stores[0].documents()), groups.headers(model.group, last=False)
    late = [ChangelogRecord(b"Stock/s1/new", b"x", 90, torn, 0)]
    model.take(late)
    model.take([ChangelogRecord(b"Stock/s1/new", b"x", 91, groups.headers(10_000, last=True), 0)])
    assert dict(stores[0].documents()) == whole
    model.take([ChangelogRecord(b"Stock/s1/end", b"y", 92, groups.headers(model.group, last=True), 0)])
    assert dict(stores[0].documents()) == whole | {b"Stock/s1/new": b"x", b"Stock/s1/end": b"y"}


def test_a_row_that_has_forgotten_says_so(log: Log) -> None:
    row = log.cloud.row()
    assert recorded(None, 1, "in") is None
    assert recorded(row, row.last + 1, "in") is None
    old = Cloud()
    old.merge_value(old.batch(command("a", count(stock(), 1, 1))))
    old.merge_value(old.batch(command("no", count(stock(), -9, 2))))
    old.fly()
    old.merge_value(old.batch(command("c", count(stock(), 1, 3)), floor=3))
    old.fly()
    kept = old.row()
    assert kept.floor == 3
    assert recorded(kept, 1, "a") == CommandOutcome("a", Verdict.ACCEPTED)
    assert recorded(kept, 2, "no") == CommandOutcome("no", Verdict.REJECTED, "recount")


def test_a_worker_needs_no_schema_that_was_not_applied_before_it() -> None:
    asked: list[str] = []

    class Registry(FixedIds):
        def id_of(self, text: str) -> int:
            asked.append(text)
            return super().id_of(text)

    SpaceRules(SPACE, Registry()).register()
    assert set(asked) == set(all_schemas(AppContract("shop", {SPACE.name: SPACE})))


def test_what_another_app_would_write_is_registered_nowhere() -> None:
    known = FixedIds()
    registered = SpaceRules(SPACE, known)
    registered.register()

    class Registry(FixedIds):
        def id_of(self, text: str) -> int:
            from driftlog_schemas.errors import UnknownSchema

            if text in asked:
                raise UnknownSchema("never heard of")
            return known.id_of(text)

        def schema_of(self, schema_id: int) -> str:
            return known.schema_of(schema_id)

    asked: set[str] = set()
    ids = Unregistered(Registry())
    text = registered.collections["Stock"].codec.schema
    assert ids.id_of(text) == IDS.id_of(text), "a known one keeps its id"
    other = registered.collections["Parcel"].codec.schema
    asked.add(other)
    assert ids.id_of(other) == ids.id_of(other) == FIRST
    assert ids.schema_of(FIRST) == other and ids.at_hand(FIRST)
    assert ids.schema_of(known.id_of(text)) == text
