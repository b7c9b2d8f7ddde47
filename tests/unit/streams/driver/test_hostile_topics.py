"""Whatever a stranger writes into the topics that workers and operators read beside the merge: the next good record is read, and what was good stands."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from driftlog_schemas import topics
from driftlog_schemas.digests import Versions
from driftlog_schemas.signing import Identity
from driftlog_streams.reading.births import cloned_devices
from driftlog_streams.reading.conflict_reader import read_conflicts
from driftlog_streams.reading.farewells import read_farewells
from driftlog_streams.reading.fleet import fleet_of, read_heartbeats, versions_of
from driftlog_streams.reading.lately_heard import EVERYBODY, LatelyHeard
from driftlog_streams.reading.past_reader import PastReader
from driftlog_streams.reading.set_aside import QUARANTINED, read_set_aside
from driftlog_streams.reading.state_digests import StateDigests
from driftlog_streams.registry.device_view import DeviceView
from tests.fake_kafka.broker import START_MS, Broker
from tests.few import few
from tests.fuzz.topic_stranger import STATES, WAITS, Cluster, Stranger, cluster_on
from tests.unit.streams.cloud import IDS, device

ROUNDS, AT_ONCE = 4, 60
MOST_LINES = 12
"""Of one kind, in a round: one for each look at a topic."""
seeds = pytest.mark.parametrize("seed", few(range(5), 2))


@pytest.fixture
def cluster(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return cluster_on(broker, monkeypatch)


def view_of(cluster: Cluster) -> DeviceView:
    view = DeviceView("nowhere", cluster.codecs, cluster.operator.certificate.root, mend=True)
    view.start(20.0)
    return view


@seeds
def test_the_device_view_knows_who_is_enrolled(cluster: Cluster, seed: int) -> None:
    stranger, watching = Stranger(cluster, seed), view_of(cluster)
    try:
        for round_ in range(ROUNDS):
            stranger.write(AT_ONCE)
            watching.catch_up(20.0)
            started = view_of(cluster)
            for view in (watching, started):
                assert {d.device_id: d for d in view.all()} == cluster.devices, f"round {round_}"
            started.close()
            fresh = device(Identity.create(f"late-{round_}"))
            cluster.devices[fresh.device_id] = fresh
            cluster.enrol(fresh)
            watching.catch_up(20.0)
            assert watching.find(fresh.device_id) == fresh
    finally:
        watching.close()


@seeds
def test_who_is_alive_is_heard(cluster: Cluster, seed: int) -> None:
    """And the floor of a partition is told, whatever stands in headers."""
    broker, stranger = cluster.broker, Stranger(cluster, seed)
    heard = LatelyHeard("nowhere", cluster.codecs, cluster.devices.__contains__)
    assert heard.since(0) is EVERYBODY
    for _ in range(ROUNDS):
        stranger.write(AT_ONCE)
        cluster.say_all()
        stranger.write(AT_ONCE)
        broker.pass_seconds(10)
        with capture_logs() as said:
            assert "store-1.1" in heard.since(START_MS)
            found = PastReader("nowhere", topics.SpaceTopics("retail")).floors([0], broker.now_ms)
        assert found.keys() <= {0} and all(
            -1 <= floor < broker.partition(topics.ops_topic("retail")).end + 1 for floor in found.values()
        )
        assert len(said) <= MOST_LINES


@seeds
def test_what_an_operator_lists_is_there_and_what_is_passed_over_is_said_once(cluster: Cluster, seed: int) -> None:
    stranger, codecs = Stranger(cluster, seed), cluster.codecs
    whom = {one.device_id: one for one in cluster.devices.values()}
    for _ in range(ROUNDS):
        stranger.write(AT_ONCE)
        for one in read_set_aside("nowhere", "retail", 1, IDS):
            assert one.what == QUARANTINED or one.id.startswith(f"{one.replica}/"), "under its own name"
        cluster.say_all()
        with capture_logs() as said:
            heard = read_heartbeats("nowhere", codecs)
            farewells = read_farewells("nowhere", codecs, whom.get)
            copies = cloned_devices("nowhere", codecs)
            conflicts = read_conflicts("nowhere", "retail", 1, codecs)
            aside = read_set_aside("nowhere", "retail", 1, IDS)
            counted = StateDigests("nowhere", Versions(IDS), STATES, 0)
            counted.read_to(counted.end())
        assert heard["store-1"].word.replica == "store-1.1"
        assert "store-1.1" in {one.replica for one in farewells["store-1"]}
        assert all(one.genuine(whom[name]) for name, found in farewells.items() for one in found)
        assert {c.id for c in cluster.cloud.conflicts()} <= {c.id for c in conflicts}
        assert {WAITS, "0:5"} <= {one.id for one in aside}
        assert counted.of("s1")[1] >= 1
        members = fleet_of(cluster.devices.values(), heard, copies)
        assert all(len(text) < 5_000 for m in members for text in m.needs(START_MS, 1))
        assert all(len(part) < 5_000 for place in versions_of(members) for part in place)
        lines = [line["topic"] for line in said if line["event"] == "records are passed over"]
        assert len(lines) == len(set(lines)) and len(said) == len(lines), said
