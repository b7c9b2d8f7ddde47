"""Who looks after a conflict, as its topic tells it: the newest word of a console counts, for a while, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftlog_console.fleet import FleetView
from driftlog_schemas.claims import HOUR_MS, LONGEST_MS, Claim, ClaimKind
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import DESK
from driftlog_streams.reading import claims as reading
from driftlog_streams.reading.claims import ClaimTail
from tests.fake_kafka.broker import START_MS, Broker
from tests.fuzz.topic_stranger import Cluster, cluster_on
from tests.unit.streams.cloud import IDS, device

ID = "7fc2f2abdfddfeb09ee272e6"


@pytest.fixture
def cluster(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return cluster_on(broker, monkeypatch)


@pytest.fixture
def tail(cluster: Cluster) -> ClaimTail:
    return ClaimTail("nowhere", cluster.codecs, cluster.devices.get, lambda: cluster.broker.now_ms)


@pytest.fixture
def say(cluster: Cluster) -> Callable[..., Claim]:
    """A console says something of a conflict."""

    def say(
        kind: str = ClaimKind.CLAIMED, *, signed: bool = True, key: str = "", by: str = "store-1", **more: object
    ) -> Claim:
        identity = cluster.cloud.identities[by]
        now = cluster.broker.now_ms
        claim = Claim(ID, "s1", kind, "Anna", "Bob", now + HOUR_MS, "", identity.device_id, identity.key_id, now)
        claim = claim._replace(**more)  # type: ignore[arg-type]  # fields by name
        if signed:
            claim = claim.signed(identity)
        key = key or claim.conflict_id
        cluster.broker.append(DESK, 0, key.encode(), cluster.codecs.encode_claim(claim))
        return claim

    return say


def test_the_newest_word_counts_until_it_ends(cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim]) -> None:
    first = say()
    tail.look()
    assert tail.held[ID].claim == first
    second = say(ClaimKind.DEFERRED, person="Zoe")
    tail.look()
    assert (tail.held[ID].claim, tail.held[ID].deferred) == (second, True)
    cluster.broker.pass_seconds(3601)
    tail.look()
    assert tail.held == {}
    say()
    say(ClaimKind.RELEASED)
    tail.look()
    assert tail.held == {}


def test_no_clock_makes_it_last(cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim]) -> None:
    say(until_ms=START_MS + 1_000 * LONGEST_MS)
    tail.look()
    assert tail.held[ID].ends_ms <= cluster.broker.now_ms + LONGEST_MS


def test_who_starts_later_reads_the_same(cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim]) -> None:
    for number in range(5):
        say(conflict_id=f"c{number}")
        tail.look()
    started = ClaimTail("nowhere", cluster.codecs, cluster.devices.get, lambda: cluster.broker.now_ms)
    started.look()
    assert started.held == tail.held
    assert len(tail.held) == 5


def test_what_no_console_has_signed_takes_nothing_away(
    cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim]
) -> None:
    good = say()
    cluster.broker.append(DESK, 0, ID.encode(), None)
    cluster.broker.append(DESK, 0, ID.encode(), b"no record")
    say(ClaimKind.RELEASED, signed=False)
    say(ClaimKind.RELEASED, device_id="store-2")
    say(ClaimKind.RELEASED, conflict_id="another", key=ID)
    stranger = Identity.create("store-1")
    forged = good._replace(kind=ClaimKind.RELEASED).signed(stranger)
    cluster.broker.append(DESK, 0, ID.encode(), cluster.codecs.encode_claim(forged))
    tail.look()
    assert {name: held.claim for name, held in tail.held.items()} == {ID: good}


@pytest.mark.parametrize(
    "more",
    [{"scopes": ("s2",)}, {"status": DeviceStatus.REVOKED}],
)
def test_a_console_speaks_of_its_own_scopes_while_it_is_enrolled(
    cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim], more: dict[str, object]
) -> None:
    good, identity = say(), cluster.cloud.identities["store-2"]
    line = device(identity)
    terms = line.latest._replace(**more)  # type: ignore[arg-type]  # fields by name
    cluster.devices["store-2"] = type(line)(line.device_id, line.version, line.keys, (terms,))
    say(ClaimKind.RELEASED, by="store-2")
    tail.look()
    assert tail.held[ID].claim == good


def test_a_topic_that_was_made_anew_is_read_anew(cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim]) -> None:
    say(), say(conflict_id="other")
    tail.look()
    tail._next = 99
    tail.look()
    assert tail.held.keys() == {ID, "other"}


def test_so_many_are_kept(
    cluster: Cluster, tail: ClaimTail, say: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 2)
    for number in range(4):
        say(conflict_id=f"c{number}")
    tail.look()
    assert tail.held.keys() == {"c0", "c1"}


def test_a_cluster_without_the_topic_is_said_to_be_one(cluster: Cluster) -> None:
    told: list[str] = []
    view = FleetView(KafkaSettings(), IDS, {}, None, told.append)

    class Refuses(ClaimTail):
        code = KafkaError.UNKNOWN_TOPIC_OR_PART

        def look(self) -> None:
            raise KafkaException(KafkaError(self.code))

    tail = Refuses("nowhere", cluster.codecs, cluster.devices.get, lambda: 0)
    view._look_at_claims(tail)
    assert view.claims_problem == "there is no topic driftlog.desk"
    tail.code = KafkaError._TRANSPORT
    with pytest.raises(KafkaException):
        view._look_at_claims(tail)
    working = ClaimTail("nowhere", cluster.codecs, cluster.devices.get, lambda: 0)
    cluster.broker.append(DESK, 0, b"c", None)
    view._look_at_claims(working)
    assert (view.claims_problem, told) == ("", [])
