"""What the operator says of a device, as its agent knows it: the line that a worker would believe, over restarts, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.link import registry_line as module
from driftlog_edge.link import sync as sync_module
from driftlog_edge.link.registry_line import PLACE, RegistryLine
from driftlog_edge.ports import Record
from driftlog_schemas import topics
from driftlog_schemas.devices import NOTICE_MS, Device, DeviceKey, DeviceStatus, enrolled, with_key, with_terms
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.operator_keys import DAY_MS, OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, HandClock, Replica
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import rests, until

ROOT, STRANGER = RootKey.create(), RootKey.create()
OPERATOR = OperatorKey.create(ROOT, EPOCH_MS)
LATER_OPERATOR = OperatorKey.create(ROOT, EPOCH_MS, 2)
CODECS = RecordCodecs(FixedIds())


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1", ROOT.public)


@pytest.fixture
def line(identity: Identity) -> Device:
    """The device as it was enrolled."""
    return enrolled(identity.device_id, DeviceKey(identity.key_id, identity.public_key, EPOCH_MS))


def record(device: Device, operator: OperatorKey = OPERATOR, at_ms: int = EPOCH_MS, offset: int = 0) -> Record:
    value = CODECS.encode_signed_line(operator.sign(CODECS.encode_device(device)))
    return Record(offset, device.device_id.encode(), value, (), at_ms)


def said(device: Device, **terms: Any) -> Device:
    """The next version, with other terms from the first moment on."""
    return with_terms(device, device.latest._replace(**{"from_ms": device.latest.from_ms + 1, **terms}))


class Reader:
    """A line over a replica's store, read by hand."""

    def __init__(self, replica: Replica, ids: FixedIds, identity: Identity | None = None) -> None:
        self.replica = replica
        self.line = RegistryLine(identity or replica.identity, RecordCodecs(ids), replica.journal, replica.clock)
        self.line.open(replica.store)

    def read(self, *records: Record) -> RegistryLine:
        self.line.learn(records)
        self.replica.journal.stage(self.line.written(records), sync=False)
        self.replica.commit()
        self.line.reached()
        return self.line

    @property
    def version(self) -> int:
        return 0 if self.line.device is None else self.line.device.version


@pytest.fixture
def reader(replica: Replica, ids: FixedIds) -> Reader:
    return Reader(replica, ids)


def test_its_own_line_stands_whatever_else_the_topic_holds(reader: Reader, line: Device) -> None:
    forged = said(said(line, status=DeviceStatus.WIPE))
    assert reader.line.device is None
    reader.read(
        record(enrolled("store-2", DeviceKey("k", bytes(32), EPOCH_MS))),
        record(said(line, scopes=("s1",))),
        record(line),
        record(forged, OperatorKey.create(STRANGER, EPOCH_MS)),
        record(forged)._replace(appended=False),
        record(forged)._replace(key=b"store-2"),
        Record(9, b"store-1", None, (), EPOCH_MS),
        Record(10, b"store-1", b"noise", (), EPOCH_MS),
    )
    facts = reader.line.facts(EPOCH_MS + 1)
    assert facts is not None
    assert (facts["status"], facts["version"], facts["scopes"], facts["key_counts"]) == ("active", 2, ["s1"], True)
    assert not reader.line.wiped
    assert reader.line.refusal(EPOCH_MS + 1) == ""


def test_an_older_line_is_not_believed_after_a_restart_either(
    lives: Callable[..., Replica], ids: FixedIds, line: Device
) -> None:
    reader = Reader(lives(), ids)
    reader.read(record(said(line)), record(enrolled("other", DeviceKey("k", bytes(32), EPOCH_MS)), LATER_OPERATOR))
    assert reader.version == 0, "the next operator's word ends the one before"
    reader.read(record(said(said(line)), LATER_OPERATOR))
    again = Reader(lives(), ids)
    assert again.version == 3
    again.read(record(said(line), LATER_OPERATOR), record(said(said(said(line, status=DeviceStatus.WIPE)))))
    assert again.version == 3
    assert not again.line.wiped


def test_under_another_root_the_topic_is_read_anew(
    lives: Callable[..., Replica], ids: FixedIds, line: Device, identity: Identity
) -> None:
    Reader(lives(), ids).read(record(line, offset=4))
    replica = lives()
    place = (module._STATE, (module._STATE[0], b"cursor/driftlog.devices/0"))
    assert all(replica.store.get(*where) is not None for where in place)
    other = Reader(replica, ids, Identity(identity.device_id, identity.key_id, identity.key, STRANGER.public))
    assert all(replica.store.get(*where) is None for where in place)
    assert other.line.device is None


def test_without_a_pinned_root_nothing_is_followed(replica: Replica, ids: FixedIds) -> None:
    assert not Reader(replica, ids, Identity.create("store-1")).line.followed


class Away(FixedIds):
    """A registry that does not answer, until it does."""

    away = True

    def id_of(self, text: str) -> int:
        if self.away:
            raise RegistryUnreachable("away", "wait")
        return super().id_of(text)

    def schema_of(self, schema_id: int) -> str:
        if self.away:
            raise RegistryUnreachable("away", "wait")
        return super().schema_of(schema_id)


def test_what_cannot_be_read_at_a_start_is_read_later_and_not_lost(lives: Callable[..., Replica], line: Device) -> None:
    ids = Away()
    ids.away = False
    Reader(lives(), ids).read(record(said(line)))
    ids.away = True
    reader = Reader(lives(), ids)
    assert reader.line.device is None
    with pytest.raises(RegistryUnreachable):
        reader.read(record(line))
    ids.away = False
    assert reader.read(record(line)).device is not None
    assert reader.version == 2


@pytest.mark.parametrize(
    ("terms", "at", "refusal", "warning"),
    [
        ({"not_after_ms": 0}, 5 * DAY_MS, "", ""),
        ({"not_after_ms": 30 * DAY_MS}, 5 * DAY_MS, "", ""),
        ({"not_after_ms": 30 * DAY_MS}, 27 * DAY_MS, "", "the permit ends in 3 days"),
        ({"not_after_ms": 30 * DAY_MS}, 30 * DAY_MS - 3_600_000 * 5, "", "the permit ends in 5 hours"),
        ({"not_after_ms": 30 * DAY_MS}, 30 * DAY_MS - 59_000, "", "the permit ends in 1 minutes"),
        ({"not_after_ms": 30 * DAY_MS, "grace_ms": DAY_MS}, 30 * DAY_MS + 9, "", "has ended, and is honoured until"),
        ({"not_after_ms": 30 * DAY_MS}, 31 * DAY_MS, "the permit ended at", ""),
        ({"status": DeviceStatus.REVOKED}, DAY_MS, "this device was revoked at", ""),
        ({"status": DeviceStatus.WIPE}, DAY_MS, "this device was told to be wiped at", ""),
    ],
)
def test_what_it_means_is_said_in_words(
    reader: Reader, line: Device, terms: dict[str, Any], at: int, refusal: str, warning: str
) -> None:
    if terms.get("not_after_ms"):
        terms = {**terms, "not_after_ms": EPOCH_MS + terms["not_after_ms"]}
    reader.read(record(said(line, **terms)))
    assert reader.line.refusal(EPOCH_MS + at).startswith(refusal)
    assert bool(refusal) == bool(reader.line.refusal(EPOCH_MS + at))
    assert refusal or warning in reader.line.warning(EPOCH_MS + at)
    assert refusal or bool(warning) == bool(reader.line.warning(EPOCH_MS + at))


def test_a_device_that_is_not_there_and_a_key_that_is_over_are_told(reader: Reader, line: Device) -> None:
    reader.read(record(enrolled("other", DeviceKey("k", bytes(32), EPOCH_MS))))
    assert "is not enrolled" in reader.line.refusal(EPOCH_MS)
    reader.read(record(with_key(line, DeviceKey("new", bytes(32), EPOCH_MS), EPOCH_MS)))
    assert reader.line.refusal(EPOCH_MS) == "", "it counts a little longer"
    assert "newest identity file" in reader.line.refusal(EPOCH_MS + NOTICE_MS)


def test_a_change_is_released_when_it_begins_to_count_and_once(reader: Reader, line: Device) -> None:
    clock = reader.replica.clock
    reader.read(record(line))
    clock.pass_seconds(1)
    assert reader.line.release_due(clock.monotonic())
    reader.read(record(said(line, from_ms=EPOCH_MS + NOTICE_MS)))
    clock.pass_seconds(NOTICE_MS / 1000)
    assert not reader.line.release_due(clock.monotonic())
    clock.pass_seconds(1)
    assert reader.line.release_due(clock.monotonic())
    assert not reader.line.release_due(clock.monotonic())
    reader.read(record(line))
    assert not reader.line.release_due(clock.monotonic() + DAY_MS), "nothing has changed"


# -- who is told to wipe


def test_a_wipe_is_for_the_keys_of_its_time(line: Device, identity: Identity) -> None:
    key = identity.key_id
    wiped = said(line, status=DeviceStatus.WIPE)
    again = said(wiped, status=DeviceStatus.ACTIVE)
    new = DeviceKey("new", bytes(32), EPOCH_MS)
    back = with_key(again, new, again.latest.from_ms - NOTICE_MS)
    kept = with_key(again, new, again.latest.from_ms - NOTICE_MS, keep=True)
    rotated = with_key(back, DeviceKey("newer", bytes(32), EPOCH_MS + DAY_MS), EPOCH_MS + DAY_MS)
    assert [d.wiped(key) for d in (line, wiped, back, kept, rotated)] == [False, True, True, False, True]
    assert not back.wiped("new")
    assert not rotated.wiped("new"), "a key that was rotated away belongs to the same good device"
    assert not wiped.wiped("of a later enrolment")
    assert not with_key(line, new, EPOCH_MS).wiped(key)


def test_nothing_is_wiped_before_the_topics_end_is_read(replica: Replica, ids: FixedIds, line: Device) -> None:
    """The line may be an old one, and the device taken back in by the next."""
    reader = Reader(replica, ids)
    reader.line.learn([record(said(line, status=DeviceStatus.WIPE))])
    assert not reader.line.wiped
    reader.line.reached()
    assert reader.line.wiped


# -- the agent


def publish(cloud: Cloud, device: Device) -> None:
    value = CODECS.encode_signed_line(OPERATOR.sign(CODECS.encode_device(device)))
    cloud.publish(topics.DEVICES, 0, device.device_id.encode(), value)


async def test_a_renewed_permit_sends_at_once_what_had_expired(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    clock: HandClock,
    line: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a person, and without sitting out a pause that had grown to an hour."""
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    ended = said(line, not_after_ms=EPOCH_MS - 1)
    clock.pass_seconds(1)
    publish(cloud, ended)
    cloud.rejects["c1"] = "expired"
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await agent.run("receive", command_id="c1", store="s1", sku="tea", qty=5)
        await until(lambda: agent.command("c1").code == "expired")
        await until(lambda: "the permit ended" in agent.status()["problem"])
        await until(lambda: rests(agent))
        assert agent.status()["registered"]["permit_ends"] == EPOCH_MS - 1
        del cloud.rejects["c1"]
        publish(cloud, said(ended, from_ms=EPOCH_MS + NOTICE_MS, not_after_ms=EPOCH_MS + 90 * DAY_MS))
        await until(lambda: agent.status()["registered"]["version"] == 3)
        assert agent.command("c1").status == "pending"
        clock.pass_seconds(NOTICE_MS / 1000 + 1)
        await until(lambda: agent.command("c1").status == "merged")
        await until(lambda: agent.status()["problem"] == "")
    assert route.cloud.of(*PLACE)


@pytest.mark.parametrize("running", [True, False])
async def test_a_registry_that_was_made_anew_is_read_from_its_start_however_long_it_is(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    line: Device,
    monkeypatch: pytest.MonkeyPatch,
    running: bool,
) -> None:
    """It does not end before what was read of it; but it is another topic, and the line stands where the cursor has passed."""
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr("driftlog_edge.link.lookout.LOOK_SECONDS", 0.01)
    publish(cloud, line)

    def made_anew() -> None:
        del cloud.topics[PLACE]
        cloud.topic_ids[topics.DEVICES] = "second"
        publish(cloud, said(line))
        for other in ("store-8", "store-9"):
            publish(cloud, enrolled(other, DeviceKey("k", bytes(32), EPOCH_MS)))

    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: (agent.status()["registered"] or {}).get("version") == 1)
        await until(lambda: agent._sync.places.cursor(*PLACE).topic_id == "first")
        if running:
            made_anew()
            await until(lambda: agent.status()["registered"]["version"] == 2)
    if not running:
        made_anew()
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.status()["registered"]["version"] == 2)
        await until(lambda: agent._sync.places.cursor(*PLACE)[:2] == (3, "second"))
