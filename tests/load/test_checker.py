"""The judge is judged: a good run is found good, and each way to spoil it is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import Device
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.admission import admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.flight import Flight, FlightDeck, Stage
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.work import OutRecord
from tests.load.app import declare
from tests.load.checker import Judgement, judge, latest_by_key
from tests.load.expectation import Expectation
from tests.load.fleet import Fleet
from tests.load.history import History, TopicRecord
from tests.load.workload import Shape, Workload

START_MS = 1_790_000_000_000
SPACE: SpaceContract = declare("load", 4).contract.spaces["load"]
FLEET = Fleet.of("probe", 5, seed=7)
IDS = FixedIds()


class Registry:
    def __init__(self, fleet: Fleet) -> None:
        self._devices = {device.device_id: device for device in fleet.registry()}

    def find(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)


def merged_run(ops: int = 3000) -> tuple[History, Expectation]:
    """A workload with late and repeated records through the merge core, one flight every ten records."""
    shape = Shape("load", partitions=4, keys=60, scopes=12, ops_per_batch=10, late=0.05, repeated=0.05, seed=3)
    workload = Workload(shape, FLEET, IDS, START_MS)
    rules, registry = SpaceRules(SPACE, IDS), Registry(FLEET)
    mergers = [PartitionMerger(rules, p, StateCache(_nothing), ChainBook(_nothing, rules.records)) for p in range(4)]
    ends: dict[tuple[str, int], int] = {}
    topics: dict[str, list[TopicRecord]] = {}

    def append(topic: str, record: OutRecord) -> None:
        offset = ends.get((topic, record.partition), 0)
        ends[topic, record.partition] = offset + 1
        topics.setdefault(topic, []).append(
            TopicRecord(record.partition, offset, START_MS, record.key, record.value, record.headers)
        )

    for count, record in enumerate(workload.records(ops)):
        out = OutRecord("load.ops", record.partition, record.key, record.value)
        append("load.ops", out)
        offset = ends["load.ops", record.partition] - 1
        merger = mergers[record.partition]
        merger.merge(admit(record.value, START_MS, record.partition, rules, registry), offset, START_MS)
        if count % 10 == 9:
            fly(mergers, rules, append)
    while any(not merger.work.empty for merger in mergers):  # tombstones leave one flight after what released them
        fly(mergers, rules, append)
    names = ("ops", "state", "receipts", "conflicts", "parked")
    return History(**{name: topics.get(f"load.{name}", []) for name in names}), workload.expectation


def _nothing(key: object) -> None:
    return None


def fly(mergers: list[PartitionMerger], rules: SpaceRules, append: Callable[[str, OutRecord], None]) -> None:
    deck = FlightDeck()
    deck.add(Flight([merger.seal() for merger in mergers]))
    while effects := deck.effects():
        for flight, stage in effects:
            for record in flight.records(stage) if stage <= Stage.SECOND else ():
                append(record.topic, record)
            deck.finished(flight, stage)


Run = tuple[History, Expectation]


@pytest.fixture(scope="module")
def run() -> Run:
    return merged_run()


def judged(run: Run, **changed: list[TopicRecord]) -> Judgement:
    history, expectation = run
    return judge(dataclasses.replace(history, **changed), expectation, SPACE, IDS)


def test_a_good_run_is_good(run: Run) -> None:
    found = judged(run)
    assert found.good, found
    assert found.ops >= 3000
    assert found.repeated_records > 0


def test_the_load_disputes_parks_and_repeats(run: Run) -> None:
    history, expectation = run
    assert any(end.disputed for _, end in expectation.documents())
    assert history.parked
    assert history.conflicts


def test_same_seed_same_bytes() -> None:
    shape = Shape("load", keys=50, late=0.1, seed=5)
    one, other = (Workload(shape, FLEET, IDS, START_MS) for _ in range(2))
    assert list(one.records(500)) == list(other.records(500))


def last_state(history: History) -> TopicRecord:
    return max(latest_by_key(history.state).values(), key=lambda r: (r.partition, r.offset))


@pytest.mark.parametrize(
    ("topic", "spoil", "sign"),
    [
        ("state", lambda rs, h: [r for r in rs if r.key != last_state(h).key], "missing in the state topic"),
        ("state", lambda rs, h: [r for r in rs if r is not last_state(h)], "is not the replay"),
        ("state", lambda rs, h: [*rs, next(r for r in rs if r.key == last_state(h).key)], "expected"),
        ("state", lambda rs, h: [*rs, rs[0]._replace(key=b"Item/place-0/ghost")], "never written"),
        ("state", lambda rs, h: [*rs[:-1], rs[-1]._replace(headers=[("driftlog.group", b"999999")])], "torn"),
        ("ops", lambda rs, h: [r for r in rs if r.value != rs[-1].value], "different ones are in the log"),
        ("conflicts", lambda rs, h: rs[: len(rs) // 2], "conflict"),
        ("receipts", lambda rs, h: rs[: len(rs) // 2], "have no receipt"),
        ("parked", lambda rs, h: [r for r in rs if r.value is not None], "still parked"),
    ],
)
def test_what_is_spoiled_is_found(
    run: Run, topic: str, spoil: Callable[[list[TopicRecord], History], list[TopicRecord]], sign: str
) -> None:
    history, _ = run
    found = judged(run, **{topic: spoil(list(getattr(history, topic)), history)})
    assert any(sign in fault for fault in found.faults), found
