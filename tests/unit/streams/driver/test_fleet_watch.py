"""Workers know which versions of the app the fleet runs: by heartbeats, told by one of them, and no stranger's words count."""

from __future__ import annotations

import dataclasses

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from driftlog_schemas import asking, topics
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, enrolled, with_terms
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.support import Floor
from driftlog_streams.faust_driver import fleet_watch
from driftlog_streams.faust_driver.fleet_watch import FleetWatch
from driftlog_streams.reading import plain_reader
from driftlog_streams.reading.device_words import DeviceWords
from driftlog_streams.telling.metrics import WorkerMetrics
from tests.fake_kafka.broker import START_MS, Broker
from tests.fake_kafka.clients import Admin, Consumer
from tests.unit.streams.cloud import IDS, SPACE

DAY_MS = 86_400_000
FLOORS = (Floor("1.4", START_MS + 10 * DAY_MS), Floor("2.0", START_MS + 100 * DAY_MS))
NEEDED = dataclasses.replace(SPACE, version="2.0", floors=FLOORS)
HEARD = "driftlog_worker_devices_heard"
DEVICES, ENDS = "driftlog_worker_devices", "driftlog_worker_support_ends_timestamp_seconds"


class Fleet:
    """Devices that say what they run, and a worker that listens."""

    def __init__(self, broker: Broker, space: SpaceContract = NEEDED) -> None:
        self.broker, self.devices, self.owned, self.now_ms = broker, dict[str, Device](), {0, 3}, START_MS
        self.metrics, self._codecs = WorkerMetrics(space.name), RecordCodecs(IDS)
        self.watch = FleetWatch(
            space,
            lambda: DeviceWords("nowhere", self._codecs, space.name, self.devices.get),
            self.metrics,
            lambda: self.owned,
            lambda: self.now_ms,
        )

    def enrol(self, *names: str) -> None:
        for name in names:
            self.devices[name] = enrolled(name, DeviceKey("k1", b"?" * 32, START_MS), ("*",), ("*",), 0, 0)

    def says(self, device: str, version: str | None, *, space: str = "retail", under: str = "") -> None:
        """A heartbeat of a device; with a version of None its app names none."""
        versions = {"agent": "0.1.0", "app": "shop", f"space {space}": "ab12"}
        versions |= {} if version is None else {"app shop": version}
        word = Heartbeat(device, f"{device}.1", 1, "ONLINE", 0, 0, 0, 0, versions)
        self.broker.append(topics.HEARTBEATS, 0, (under or device).encode(), self._codecs.encode_heartbeat(word))

    def told(self, name: str, label: str = "version") -> dict[str, float]:
        """Value of a gauge by a label, the version where no other is named."""
        families = text_string_to_metric_families(generate_latest(self.metrics.registry).decode())
        return {s.labels[label]: s.value for f in families if f.name == name for s in f.samples}


@pytest.fixture
def fleet(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(plain_reader, "Consumer", lambda config: Consumer(broker, config))
    monkeypatch.setattr(asking, "AdminClient", lambda config: Admin(broker, config))
    found = Fleet(broker)
    found.enrol("a", "b", "c", "d")
    return found


async def test_it_counts_devices_by_version_and_tells_until_when_each_is_supported(fleet: Fleet) -> None:
    for device, version in {"a": "1.3", "b": "1.4", "c": "2.0", "d": None}.items():
        fleet.says(device, version)
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"1.3": 1, "1.4": 1, "2.0": 1, "none": 1}
    early, late = (floor.from_ms / 1000 for floor in FLOORS)
    assert fleet.told(ENDS) == {"1.3": early, "none": early, "1.4": late}
    fleet.says("a", "2.0")
    fleet.says("d", "2.0")
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"1.4": 1, "2.0": 3}, "a version that nobody runs any more is told no more"
    assert fleet.told(ENDS) == {"1.4": late}


async def test_it_tells_how_long_ago_devices_were_heard(fleet: Fleet) -> None:
    for device in "abcd":
        fleet.says(device, "2.0")
        fleet.broker.pass_seconds(3000)
    fleet.says("a", "2.0")
    fleet.now_ms = fleet.broker.now_ms
    await fleet.watch.look()
    assert fleet.told(HEARD, "within") == {"10m": 1, "1h": 1, "1d": 2}
    fleet.now_ms += 31 * DAY_MS
    await fleet.watch.look()
    assert fleet.told(HEARD, "within") == {"longer": 4}


async def test_only_enrolled_active_devices_of_the_space_count(fleet: Fleet) -> None:
    fleet.says("a", "1.4")
    fleet.says("stranger", "1.0")
    fleet.says("b", "1.1", under="c")
    fleet.says("c", "1.2", space="another")
    fleet.says("d", "no version")
    fleet.broker.append(topics.HEARTBEATS, 0, b"a", b"noise")
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"1.4": 1, "none": 1}
    line = fleet.devices["a"]
    fleet.devices["a"] = with_terms(line, line.latest._replace(status=DeviceStatus.REVOKED, from_ms=START_MS))
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"none": 1}


async def test_one_worker_tells_it_and_only_as_long_as_the_first_partition_is_its(fleet: Fleet) -> None:
    fleet.says("a", "1.4")
    fleet.owned = {1, 2}
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {}
    fleet.owned = {0}
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"1.4": 1}
    fleet.owned = set()
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {} == fleet.told(ENDS)


async def test_it_names_few_versions_however_many_there_are(fleet: Fleet) -> None:
    names = [f"d{number}" for number in range(60)]
    fleet.enrol(*names)
    for number, name in enumerate(names):
        fleet.says(name, f"1.{number}")
    fleet.enrol("x", "y")
    fleet.says("x", "2.0")
    fleet.says("y", "2.0")
    await fleet.watch.look()
    told = fleet.told(DEVICES)
    assert len(told) == fleet_watch.MOST_VERSIONS + 1
    assert told["2.0"] == 2 and sum(told.values()) == 62, "those that most devices run are named, and none is lost"
    assert fleet.told(ENDS)["others"] == FLOORS[1].from_ms / 1000


async def test_the_log_says_it_once_a_day_in_the_last_thirty_days_and_once_it_is_over(fleet: Fleet) -> None:
    fleet.says("b", "1.4")
    with capture_logs() as logs:
        for _ in range(2 * 110):
            await fleet.watch.look()
            fleet.now_ms += DAY_MS // 2
    told = [line for line in logs if line["event"] == "devices run a version that loses support"]
    assert len(told) == 30 + 1 + 1
    assert (told[0]["ends"], told[0]["needs"], told[0]["devices"]) == ("in 30.0 d", "2.0", 1)


async def test_a_topic_that_was_made_anew_is_read_anew(fleet: Fleet) -> None:
    fleet.says("a", "1.4")
    fleet.says("b", "1.4")
    await fleet.watch.look()
    topic = fleet.broker.partition(topics.HEARTBEATS)
    topic.records, topic.end = [], 0
    fleet.says("a", "2.0")
    await fleet.watch.look()
    assert fleet.told(DEVICES) == {"2.0": 1}


async def test_what_cannot_be_read_is_said_once_and_what_was_told_stands(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.says("a", "1.4")
    await fleet.watch.look()
    with monkeypatch.context() as away, capture_logs() as logs:

        def refuse(reader: object) -> None:
            raise TimeoutError("no answer")

        away.setattr(DeviceWords, "look", refuse)
        for _ in range(3):
            await fleet.watch.look()
    assert [line["error"] for line in logs] == ["no answer"]
    assert fleet.told(DEVICES) == {"1.4": 1}
