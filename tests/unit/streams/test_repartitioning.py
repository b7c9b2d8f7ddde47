"""The steps to another number of partitions, in their order: nothing is closed that could not be laid anew, and whatever cuts it off, the same command goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.generations import InForce
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA, CLOUD
from driftlog_schemas.messages import Call, ChainRow
from driftlog_schemas.moves import Moved
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import Plan, SpaceTopics, Topic
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import DeliveryFailed, SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.reading.workers import Worker
from driftlog_streams.replaying import closing_logs, laying, repartitioning
from driftlog_streams.replaying.calls_left import CallsLeft
from driftlog_streams.replaying.closing_logs import wait_confirmed
from driftlog_streams.replaying.publication import Written
from driftlog_streams.replaying.repartitioning import Done, Outlook, Repartitioning
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, Cloud, command, count, stock

COUNT = replace(SPACE, partitions=2)


class Cut(Exception):
    """It ends here."""


class World:
    """Every part that touches a broker, and in which order they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.cut_at = ""
        self.now = InForce()
        self.ends = [7, 4]
        self.closed: dict[int, int] = {}
        self.lives = 0
        """How often somebody else has made the successor's topics anew."""
        self.answers = True
        """Do the workers take the end of a log for one?"""
        self.workers = [Worker("a", "host-1", (0, 1))]
        self.moved: Moved | None = None
        self.version = 0
        """Of the line of the space."""
        self.began: dict[int, int] = {}
        self.emptied: dict[int, int] = {}
        """Before which record each partition of the successor's op topic is deleted."""
        self.begins = 0
        """Where an attempt before has let it begin."""
        self.further = 0
        """How far more than asked for something is filled in, by whom it may be."""
        self.topics: dict[str, Topic] = {}
        """Of the successor."""
        self.laid: dict[tuple[str, int], list[OutRecord]] = {}
        """What is in them."""
        self.rewritten = ""
        """What documents say, where it is another thing than before."""
        self._cloud = Cloud()
        self.identity: Identity | None = None
        """Of the workers, where the operator gives it."""
        self.left = CallsLeft()
        """What reactions have called for and nobody has answered."""
        self.view = SimpleNamespace(find=self._cloud.devices.find, catch_up=lambda: None)
        for name, stand_in in {
            "TopicsAdmin": lambda kafka: SimpleNamespace(
                remove=self._removes,
                existing=lambda names: {one: self.topics[one] for one in names if one in self.topics},
                apply=self._makes,
                topic_ids=lambda names: [f"{one}/{self.lives}" for one in names],
                forget_before=lambda topic, offsets: self.emptied.update(offsets),
            ),
            "Logs": lambda kafka: SimpleNamespace(
                close=lambda: None, renew=lambda: None, extent=self._extent, blocks=self._blocks
            ),
            "Commits": lambda kafka, partitions: self,
            "WorkerReader": lambda kafka, merged: SimpleNamespace(look=lambda space: self.workers),
            "ChangelogRecovery": lambda kafka, rules: SimpleNamespace(
                recover=self._recovered, without_false_ends=lambda *_: None
            ),
            "Delivery": lambda kafka: SimpleNamespace(deliver=self._delivers),
            "calls_left": lambda *_: self.left,
            "require_declared": self._step("as declared"),
            "closing_identity": lambda *_: Identity.create(CLOSER),
            "close_logs": self._closes,
            "wait_confirmed": self._step("confirmed"),
            "fill_up": self._numbers,
            "copy_conflicts": self._step("conflicts"),
            "publish": self._publishes,
            "require_written": self._step("read back"),
        }.items():
            for module in (repartitioning, laying):
                monkeypatch.setattr(module, name, stand_in, raising=False)

    def _extent(self, topic: str, number: int) -> range:
        if topic == "retail.ops":
            return range(self.ends[number])
        begins = self.emptied.get(number, 0) if topic == "retail.p2.ops" else 0
        return range(begins, begins + len(self.laid.get((topic, number), ())))

    def _blocks(self, topic: str, number: int, start: int) -> Iterator[list[ChangelogRecord]]:
        there = self.laid.get((topic, number), ())
        yield [ChangelogRecord(one.key, one.value, start + at, one.headers) for at, one in enumerate(there)]

    def _removes(self, names: Sequence[str]) -> None:
        self._step("old topics go")()
        self.topics.clear()
        self.laid.clear()
        self.emptied.clear()

    def _makes(self, plan: Plan) -> None:
        self._step("topics")()
        self.topics |= {topic.name: topic for topic in plan.create}

    def _step(self, name: str, result: Any = None) -> Callable[..., Any]:
        def done(*_: Any, **__: Any) -> Any:
            if name == self.cut_at:
                raise Cut
            if self.steps[-1:] != [name]:
                self.steps.append(name)
            return result

        return done

    def _recovered(self, stores: dict[int, PartitionStore]) -> None:
        self._step("read")()
        for number, store in stores.items():
            if number in self.closed and self.answers:
                row = ChainRow(
                    CLOSER, CLOSING_REPLICA, "retail", number, 1, b"x" * 16, 1, (), offset=self.closed[number]
                )
                store.write((), store.mark, [(CLOSING_REPLICA, self._cloud.rules.records.encode_chain_row(row))])

    def _delivers(self, records: Sequence[Any]) -> None:
        if any(record.topic == "retail.p2.ops" for record in records):
            self._step("calls")()
        for record in records:
            self.laid.setdefault((record.topic, record.partition), []).append(record)

    def _publishes(self, rules: Any, number: int, store: Any, deliver: Any, **_: Any) -> Written:
        self._step("written")()
        deliver([OutRecord(rules.topics.receipts, number, b"a life", b"its row")])
        deliver([OutRecord(rules.topics.state, number, b"a document", f"{number}{self.rewritten}".encode())])
        return Written(1, 1)

    def _closes(self, rules: Any, partitions: Sequence[int], *_: Any) -> None:
        for number in partitions:
            self._step(f"closed {number}")()
            self.closed[number] = self.ends[number]
            self.ends[number] += 3  # somebody goes on writing

    def _numbers(self, kafka: Any, logs: Any, topic: str, wanted: dict[int, int], told: Any) -> dict[int, int]:
        self._step("numbered")()
        assert topic == "retail.p2.ops" and wanted == dict.fromkeys(wanted, self.begins or max(self.ends) + 1)
        told(1)
        return {number: at + self.further for number, at in wanted.items()}

    # -- as commits, as the registry

    def begin(self, topics: SpaceTopics, offsets: dict[int, int]) -> None:
        self._step(f"{topics.group} begins")()
        self.began = offsets

    def generations(self, space: str) -> tuple[InForce, frozenset[int]]:
        return self.now, frozenset({1})

    def announce(self, space: str, partitions: int | None) -> int:
        self._step(f"{space} is about to have {partitions}")()
        self.version += 1
        return self.version

    def require_announced(self, space: str, announced_in: int) -> None:
        if self.moved is not None:
            raise SetupProblem(f"{space} has moved", "")
        if announced_in != self.version:
            raise SetupProblem("somebody else has begun", "")

    def move(self, space: str, to: Moved, announced_in: int) -> None:
        self._step(f"{space} moves")()
        self.require_announced(space, announced_in)
        self.moved = to

    def work(self, **changes: Any) -> Repartitioning:
        self.steps.clear()
        space = replace(COUNT, **changes)
        return Repartitioning(space, IDS, KafkaSettings(), self, 1, cloud=self.identity)  # type: ignore[arg-type]

    def carry_out(self, partitions: int = 3, **changes: Any) -> Done:
        with self.work(**changes) as work:
            return work.carry_out(partitions, NOW_MS)

    def reacts(self) -> None:
        """Somebody calls for a command, and the operator has the workers' identity."""
        call = Call("reaction-1", "any", "sell", "{}", 1, 0, 7)
        self.left, self.identity = CallsLeft([call]), self._cloud.identities[CLOUD]


LOOKED = ["as declared", "read", "retail is about to have 3"]
CLOSED = ["closed 0", "closed 1", "confirmed", "read"]
LAID = ["old topics go", "topics", "numbered", "conflicts", *["written", "read back"] * 3]
FILLED = LAID[2:]
SAID = ["driftlog-merge-retail.p2 begins", "retail moves"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)


def test_all_is_there_and_its_workers_know_where_to_begin_before_it_counts(world: World) -> None:
    done = world.carry_out()
    assert world.steps == [*LOOKED, *CLOSED, *LAID, *SAID]
    assert done.space == "retail.p2" and done.moved == world.moved == Moved(2, 3, 11, (0, 0))
    assert world.began == world.emptied == {0: 11, 1: 11, 2: 11}


def test_its_workers_begin_where_nothing_of_the_filling_is_left(world: World) -> None:
    world.further = 4
    assert world.carry_out().moved.begins == 11, "no number is lower than that"
    assert world.began == world.emptied == {0: 15, 1: 15, 2: 15}


@pytest.mark.parametrize("cut_at", [*LOOKED, *CLOSED[:3], *dict.fromkeys(LAID), *SAID])
def test_cut_off_anywhere_the_same_command_goes_on(world: World, cut_at: str) -> None:
    world.cut_at = cut_at
    with pytest.raises(Cut):
        world.carry_out()
    assert world.moved is None
    closed, world.cut_at = dict(world.closed), ""
    world.carry_out()
    left = [step for step in CLOSED if step not in {f"closed {number}" for number in closed}]
    assert world.steps == [*LOOKED, *left, *(FILLED if cut_at in [*FILLED, *SAID] else LAID), *SAID]
    assert {len(there) for there in world.laid.values()} == {1}, "nothing was written twice"
    assert world.moved is not None and closed.items() <= world.closed.items(), "no log is closed twice"


def cut_off_at_the_end(world: World) -> None:
    world.cut_at = "retail moves"
    with pytest.raises(Cut):
        world.carry_out()
    world.cut_at = ""


def test_it_begins_where_the_attempt_before_let_it_begin(world: World) -> None:
    cut_off_at_the_end(world)
    world.ends[0] += 5  # devices that have not heard of it
    world.begins = 11
    done = world.carry_out()
    assert done.moved.begins == 11 and world.steps[-10:] == [*FILLED, *SAID]
    assert done.written_before == 6, "all of it"


def test_what_is_otherwise_by_now_is_told_and_all_is_laid_anew(world: World) -> None:
    cut_off_at_the_end(world)
    world.rewritten = " otherwise"
    with capture_logs() as told:
        done = world.carry_out()
    assert [one["changed"] for one in told] == [["retail.p2.state[0] at 0: a document"]]
    assert done.written_before == 0 and {len(there) for there in world.laid.values()} == {1}
    assert world.steps == [*LOOKED, *CLOSED[2:], "numbered", "conflicts", "written", *LAID, *SAID]


def test_topics_that_are_others_by_now_are_made_anew(world: World) -> None:
    cut_off_at_the_end(world)
    with capture_logs() as told:
        assert world.carry_out(5).moved.partitions == 5
    assert "retail.p2.ops has 3 partitions and not 5" in told[0]["changed"]
    states = world.topics["retail.p2.state"]
    world.topics[states.name] = replace(
        states, settings={**states.settings, "min.compaction.lag.ms": "7"}, replication=2
    )
    world.moved = None
    with capture_logs() as told:
        world.carry_out(5)
    (said,) = told
    assert len(said["changed"]) == 2 and "min.compaction.lag.ms=7 and not" in said["changed"][0]
    assert said["changed"][1] == "retail.p2.state has 2 replicas and not 1"


def test_who_writes_there_meanwhile_is_found_before_it_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it may be what an attempt before had under way; twice it is somebody else."""

    def written_beside(*_: Any) -> None:
        world.laid["retail.p2.conflicts", 1] = [OutRecord("retail.p2.conflicts", 1, b"a conflict", b"")]

    monkeypatch.setattr(laying, "require_written", written_beside)
    with pytest.raises(DeliveryFailed, match=r"retail.p2.conflicts\[1\] ends at 1 and not at 0"):
        world.carry_out()
    assert world.moved is None and "driftlog-merge-retail.p2 begins" not in world.steps


def test_what_somebody_else_has_laid_and_put_in_force_meanwhile_is_not_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Moved(2, 3, 11, (0, 0))
    monkeypatch.setattr(repartitioning, "wait_confirmed", lambda *_: setattr(world, "moved", other))
    with pytest.raises(SetupProblem, match="retail has moved"):
        world.carry_out()
    assert world.steps == [*LOOKED, *CLOSED[:2], "read"] and world.moved is other


def test_nothing_is_put_in_force_that_somebody_else_has_made_anew_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laying, "require_written", lambda *_: setattr(world, "lives", 1))
    with pytest.raises(SetupProblem, match="somebody else gives retail another number of partitions just now"):
        world.carry_out()
    assert world.moved is None


@pytest.mark.parametrize("step", ["wait_confirmed", "fill_up", "copy_conflicts", "publish", "require_written"])
def test_of_two_at_once_the_one_that_has_begun_last_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever the other one is, nothing is written, deleted or put in force by it any more."""
    left: list[Any] = []
    module = repartitioning if step == "wait_confirmed" else laying
    with world.work() as other:
        honest = getattr(module, step)

        def done(*given: Any, **named: Any) -> Any:
            monkeypatch.setattr(module, step, honest)
            assert other.carry_out(5, NOW_MS).moved.partitions == 5
            world.steps.clear()
            left.append((dict(world.emptied), {place: [*there] for place, there in world.laid.items()}))
            world.moved = None  # it is the line that tells, not that the space has moved
            return honest(*given, **named)

        monkeypatch.setattr(module, step, done)
        with pytest.raises(SetupProblem, match="somebody else has begun"):
            world.carry_out(3)
    assert world.moved is None
    assert left == [(world.emptied, world.laid)], "all is as the other one has left it"
    assert not {"old topics go", "calls", "driftlog-merge-retail.p2 begins"} & {*world.steps}


def test_to_look_changes_nothing(world: World) -> None:
    with world.work() as work:
        assert work.outlook(3) == Outlook(0, 0, 8, ())
    assert world.steps == LOOKED[:2]
    world.closed[1] = 3
    with world.work() as work:
        assert work.outlook(3).closed == (1,)


def test_it_is_taken_back_while_no_log_is_closed(world: World) -> None:
    with world.work() as work:
        work.take_back()
    assert world.steps == ["read", "retail is about to have None"]
    world.closed[1] = 3
    with world.work() as work, pytest.raises(SetupProblem, match="logs of partitions 1 of retail are closed"):
        work.take_back()
    assert world.steps == ["read"]


@pytest.mark.parametrize("partitions", [2, 0, -1, 10_001])
def test_it_is_another_number(world: World, partitions: int) -> None:
    with pytest.raises(SetupProblem, match=f"has 2 partitions, and cannot be given {partitions}"):
        world.carry_out(partitions)
    assert world.steps == []


def test_what_could_not_come_along_keeps_all_logs_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repartitioning, "MOST", 7)
    with pytest.raises(SetupProblem, match="counts on behind it: that is done up to 7"):
        world.carry_out()
    monkeypatch.undo()
    assert not world.closed


def test_a_document_that_nobody_can_read_keeps_all_logs_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(stores: dict[int, PartitionStore]) -> None:
        stores[1].write([(b"Unheard/s/1", b"x")], stores[1].mark)

    monkeypatch.setattr(
        repartitioning,
        "ChangelogRecovery",
        lambda *_: SimpleNamespace(recover=noise, without_false_ends=lambda *_: None),
    )
    with pytest.raises(SetupProblem, match="Unheard/s/1 cannot be read"):
        world.carry_out()
    assert not world.closed


def test_a_space_between_generations_stays(world: World) -> None:
    world.now = InForce(3, 2)
    with pytest.raises(SetupProblem, match="from generation 2 to 3 is not finished"), world.work():
        pass


REACTING: Any = {"reactions": {"Stock": ()}}
CALLED = [*LAID, "calls", *SAID]


def test_what_reactions_have_called_for_is_in_the_new_logs_before_they_count(world: World) -> None:
    world.reacts()
    assert world.carry_out(**REACTING).calls == 1
    assert world.steps == [*LOOKED, *CLOSED, *CALLED]


def test_cut_off_while_calls_come_along_the_same_command_writes_those_that_are_lacking(world: World) -> None:
    world.reacts()
    world.cut_at = "calls"
    with pytest.raises(Cut):
        world.carry_out(**REACTING)
    world.cut_at = ""
    done = world.carry_out(**REACTING)
    assert done.calls == 1 and done.written_before == 6
    assert world.steps == [*LOOKED, CLOSED[-2], CLOSED[-1], *CALLED[2:]]


def test_what_was_called_for_since_is_written_with_all_else_anew(world: World) -> None:
    """Where some calls are there already: they are numbered one after the other."""
    world.reacts()
    world.cut_at = "retail moves"
    with pytest.raises(Cut):
        world.carry_out(**REACTING)
    world.cut_at = ""
    world.left.waiting.insert(0, world.left.waiting[0]._replace(id="reaction-0"))
    done = world.carry_out(**REACTING)
    assert done.calls == 2 and done.written_before == 0
    assert world.steps == [*LOOKED, CLOSED[-2], CLOSED[-1], *FILLED, *CALLED]


def test_nothing_of_a_space_with_reactions_is_closed_before_the_key_that_their_calls_take_is_there(
    world: World,
) -> None:
    with pytest.raises(SetupProblem, match="comes along in the workers' name"):
        world.carry_out(**REACTING)
    world.identity = Identity.create(CLOUD)
    with pytest.raises(SetupProblem, match="cannot be signed: the registry does not have key"):
        world.carry_out(**REACTING)
    assert not world.closed and world.steps == []
    with world.work(**REACTING) as work:
        work.take_back()


def test_calls_of_an_earlier_release_come_along_as_well(world: World) -> None:
    """The app reacts no more; that calls are left is known when its logs are closed."""
    world.reacts()
    identity, world.identity = world.identity, None
    with pytest.raises(SetupProblem, match="comes along in the workers' name"):
        world.carry_out()
    assert world.closed and "topics" not in world.steps
    world.identity = identity
    assert world.carry_out().calls == 1


def test_workers_that_know_of_no_end_are_noticed(world: World) -> None:
    world.answers = False
    with pytest.raises(SetupProblem, match="have not taken it for one"):
        world.carry_out()
    assert world.moved is None and "topics" not in world.steps


OLD = Worker("b", "host-2", (), knows_ends=False)


def test_nothing_is_closed_while_a_worker_would_go_on_behind_the_end(world: World) -> None:
    world.workers.append(OLD)
    with pytest.raises(SetupProblem, match="does not know of the end of a log, and would go on behind it: b on host-2"):
        world.carry_out()
    assert world.steps == LOOKED[:2] and not world.closed


def test_a_worker_that_would_go_on_behind_the_end_and_comes_meanwhile_keeps_the_space_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laying, "require_written", lambda *_: world.workers.append(OLD))
    with pytest.raises(SetupProblem, match="would go on behind it: b on host-2"):
        world.carry_out()
    assert world.moved is None


def test_who_merges_must_be_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(space: str) -> list[Worker]:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(repartitioning, "WorkerReader", lambda *_: SimpleNamespace(look=silent))
    with pytest.raises(BrokerUnreachable, match="who merges space retail cannot be told"):
        world.carry_out()
    assert not world.closed


def test_the_workers_must_confirm_all_that_was_there_when_it_was_closed() -> None:
    said = iter([{0: 5}, {0: 7, 1: 2}, {0: 9, 1: 4}])
    logs = SimpleNamespace(extent=lambda topic, number: range([7, 4][number]))
    told: list[int] = []
    rules: Any = SimpleNamespace(name="retail", partitions=2, topics=SpaceTopics("retail"))
    commits: Any = SimpleNamespace(read=lambda topics: next(said))
    wait_confirmed(rules, commits, logs, 9, told.append, lambda: 0.0, lambda seconds: None)  # type: ignore[arg-type]
    assert told == [6, 2]


def test_workers_that_do_not_run_are_told_of() -> None:
    clock = iter(range(100))
    logs: Any = SimpleNamespace(extent=lambda topic, number: range(4))
    rules: Any = SimpleNamespace(name="retail", partitions=2, topics=SpaceTopics("retail"))
    commits: Any = SimpleNamespace(read=lambda topics: {0: 4, 1: 1})
    with pytest.raises(SetupProblem, match="closed, and its workers are 3 op records before their end"):
        wait_confirmed(rules, commits, logs, 5, clock=lambda: float(next(clock)), pause=lambda seconds: None)


def test_who_was_shut_out_may_not_close_logs_at_once(tmp_path: Path) -> None:
    cloud = Cloud()
    from driftlog_schemas.devices import DeviceStatus
    from tests.unit.streams.cloud import device

    class Registry:
        def enrol(self, name: str, out: Path, *terms: Any) -> Any:
            identity = Identity.create(name)
            identity.save(out)
            status = DeviceStatus.REVOKED if revoked else DeviceStatus.ACTIVE
            return device(identity, scopes=(), permissions=("_close",), status=status)

    revoked = True
    registry: Any = Registry()
    with pytest.raises(SetupProblem, match="only in a few seconds"):
        closing_logs.closing_identity(registry, tmp_path, NOW_MS)
    revoked = False
    (tmp_path / f"{CLOSER}.json").unlink()
    found = closing_logs.closing_identity(registry, tmp_path, NOW_MS)
    records: list[Any] = []
    closing_logs.close_logs(cloud.rules, [0], found, SimpleNamespace(deliver=records.extend))  # type: ignore[arg-type]
    cloud.identities[CLOSER] = found
    cloud.devices.lines[CLOSER] = device(found, scopes=(), permissions=("_close",))
    cloud.merge_value(records[0].value)
    cloud.merge(command("behind", count(stock(), 1, 1)))
    assert cloud.merger.ended_at == 0 and not cloud.state(stock()).vector
