"""A device that is told to erase itself does, whatever happens in the middle, and only when its operator says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import structlog

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import KeyUnusable, StoreFailed, Wiped
from driftlog_edge.http_api import build
from driftlog_edge.link import sync as sync_module
from driftlog_edge.store import key_file
from driftlog_edge.wiping import destruction
from driftlog_edge.wiping import wiper as wiper_module
from driftlog_edge.wiping.destruction import DATA_KEY_IS_GONE, KEY_IS_GONE, Order
from driftlog_schemas import topics
from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, enrolled, with_key, with_terms
from driftlog_schemas.errors import IdentityProblem
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, HandClock
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

ROOT, STRANGER = RootKey.create(), RootKey.create()
OPERATOR = OperatorKey.create(ROOT, EPOCH_MS)
CODECS = RecordCodecs(FixedIds())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(wiper_module, "backoff", lambda *args: 0.01)


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1", ROOT.public)


@pytest.fixture
def line(identity: Identity) -> Device:
    return enrolled(identity.device_id, DeviceKey(identity.key_id, identity.public_key, EPOCH_MS))


def wiped(device: Device) -> Device:
    latest = device.latest
    return with_terms(device, latest._replace(status=DeviceStatus.WIPE, from_ms=latest.from_ms + 1))


def publish(cloud: Cloud, device: Device, operator: OperatorKey = OPERATOR) -> None:
    value = CODECS.encode_signed_line(operator.sign(CODECS.encode_device(device)))
    cloud.publish(topics.DEVICES, 0, device.device_id.encode(), value)


def farewells(route: CloudRoute) -> list[Farewell]:
    return [CODECS.decode_farewell(value) for _, key, value in route.told if b"/" in key]


def erased(folder: Path) -> bool:
    """Is only left what says why there is nothing?"""
    return all(path.name.startswith(("WIPED", destruction.FAREWELL)) for path in folder.iterdir())


# -- the disk, cut off after every step


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A replica's folder with things in it, its schema cache and its identity beside it."""
    folder = tmp_path / "data"
    (folder / "deeper").mkdir(parents=True)
    for name in ("000001.sst", "CURRENT", "token", "deeper/more", "DATA_KEY", ".DATA_KEY.k3f9"):
        (folder / name).write_text("the price of tea")
    (tmp_path / "data.schemas").mkdir()
    (tmp_path / "data.schemas" / "7").write_text("{}")
    identity.save(tmp_path / "id.json")
    return folder


def order_for(identity: Identity) -> Order:
    return Order(Farewell(identity.device_id, identity.key_id, 2, "store-1.aaaaaaaa", 3, EPOCH_MS).signed(identity))


def all_steps(folder: Path, identity: Identity) -> list[str]:
    return list(destruction.destroy(folder, folder.with_name("id.json"), order_for(identity)))


def test_the_key_goes_first_then_everything_but_the_order(folder: Path, identity: Identity) -> None:
    destruction.give(folder, order_for(identity))
    steps = destruction.destroy(folder, folder.with_name("id.json"), order_for(identity))
    assert DATA_KEY_IS_GONE in steps
    assert key_file.files_in(folder) == []
    assert folder.with_name("id.json").exists() and (folder / "000001.sst").exists(), "they go after it"
    assert next(steps) == "the key's name"
    with pytest.raises(IdentityProblem):
        Identity.load(folder.with_name("id.json"))
    assert KEY_IS_GONE in steps
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data", "data.schemas"]
    assert (folder / "000001.sst").exists(), "data goes after the key"
    assert list(steps)[-1] == "the data"
    assert [path.name for path in folder.parent.rglob("*")] == ["data", "WIPED"]


def test_cut_off_after_any_step_it_is_finished_by_the_next(tmp_path: Path, identity: Identity) -> None:
    def lay(number: int) -> Path:
        place = tmp_path / str(number)
        place.mkdir()
        made: Path = folder.__wrapped__(place, identity)  # type: ignore[attr-defined]  # the fixture's own function
        destruction.give(made, order_for(identity))
        return made

    count = len(all_steps(lay(0), identity))
    assert count > 7
    for cut in range(1, count):
        data = lay(cut)
        steps = destruction.destroy(data, data.with_name("id.json"), order_for(identity))
        for _ in range(cut):
            next(steps)
        steps.close()
        assert destruction.order_in(data) == order_for(identity), "the order is there until it is told"
        assert destruction.concerns(order_for(identity), data.with_name("id.json"))
        all_steps(data, identity)
        assert [path.name for path in data.parent.rglob("*")] == ["data", "WIPED"], cut


@pytest.mark.parametrize("left", [b"", bytes(40), bytes(7) + b'ce_id": "store-1"}'])
def test_a_key_that_was_overwritten_in_part_is_known_for_what_it_was(
    folder: Path, identity: Identity, left: bytes
) -> None:
    """A file that is mounted by itself cannot be renamed first."""
    path = folder.with_name("id.json")
    path.write_bytes(left)
    all_steps(folder, identity)
    assert not path.exists()


def test_a_file_that_cannot_be_renamed_is_overwritten_where_it_is(
    folder: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    assert all_steps(folder, identity)[0] == "the key's bytes"
    assert not folder.with_name("id.json").exists()


def test_what_the_system_refuses_to_erase_is_named_and_the_rest_is_gone(
    folder: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def held(self: Path, missing_ok: bool = False) -> None:
        if self.name == "token":
            raise OSError(30, "Read-only file system")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", held)
    with pytest.raises(StoreFailed, match="token: Read-only"):
        all_steps(folder, identity)
    assert [path.name for path in folder.iterdir()] == ["token"]


def test_an_identity_of_a_later_enrolment_is_nobodys_to_destroy(folder: Path, identity: Identity) -> None:
    path = folder / "id.json"
    Identity.create("store-1", ROOT.public).save(path)
    assert not destruction.concerns(order_for(identity), path)
    list(destruction.destroy(folder, path, order_for(identity)))
    assert Identity.load(path).device_id == "store-1"
    assert [found.name for found in folder.iterdir()] == ["id.json"]


def test_an_order_that_cannot_be_read_is_no_leave_to_go_on(folder: Path) -> None:
    (folder / destruction.ORDER).write_text("{")
    (folder / destruction.ORDER).chmod(0o600)
    with pytest.raises(StoreFailed, match="WIPED"):
        destruction.order_in(folder)


# -- the agent


async def gone(agent: EdgeAgent) -> None:
    async with asyncio.timeout(30):
        await agent.wiped()


async def test_an_agent_whose_operator_says_so_is_erased_and_says_so(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device
) -> None:
    publish(cloud, line)
    route.merging = False
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        replica, keys = agent.status()["replica"], agent._store.keys
        await agent.run("receive", store="s1", sku="tea", qty=5)
        publish(cloud, wiped(line))
        await gone(agent)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as http:
            asked = [
                await http.get("/v1/documents/Stock/s1/tea"),
                await http.post("/v1/commands/receive", json={"store": "s1", "sku": "tea", "qty": 1}),
                *[await http.get(path) for path in ("/v1/status", "/v1/scopes", "/v1/watch", "/v1/log", "/readyz")],
            ]
            assert {(answer.status_code, answer.json()["code"]) for answer in asked} == {(410, "wiped")}
            assert (await http.get("/healthz")).status_code == 200
    with pytest.raises(KeyUnusable):  # as a rotation would that was under way
        keys.begin(EPOCH_MS, ())
    assert not config.identity.exists()
    assert [path.name for path in config.data_dir.iterdir()] == ["WIPED"]
    (farewell,) = farewells(route)
    assert farewell.genuine(line)
    assert (farewell.version, farewell.replica, farewell.lost) == (2, replica, 1)
    async with EdgeAgent(app, config, route=route, ids=ids) as again:
        await gone(again)
        with pytest.raises(Wiped):
            await again.run("receive", store="s1", sku="tea", qty=5)
    assert len(farewells(route)) == 1, "what was told is not told again"


@pytest.mark.parametrize("how", ["a stranger's", "spoiled", "another device's", "older", "not while offline"])
async def test_nobody_else_and_no_older_word_erases_anything(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, how: str
) -> None:
    order = wiped(line)
    if how == "a stranger's":
        publish(cloud, order, OperatorKey.create(STRANGER, EPOCH_MS))
    elif how == "spoiled":
        record = OPERATOR.sign(CODECS.encode_device(order))._replace(signature=bytes(64))
        cloud.publish(topics.DEVICES, 0, b"store-1", CODECS.encode_signed_line(record))
    elif how == "another device's":
        other = enrolled("store-2", DeviceKey("k", bytes(32), EPOCH_MS))
        publish(cloud, wiped(other))
    elif how == "older":
        kept = with_terms(order, order.latest._replace(status=DeviceStatus.ACTIVE, from_ms=order.latest.from_ms + 1))
        publish(cloud, kept)
        publish(cloud, order)
    else:
        route.up = False
        publish(cloud, order)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
        if route.up:
            await until(lambda: agent._sync.registry._complete)
        await asyncio.sleep(0.1)
        assert not agent.gone
        assert (await agent.read("Stock", "s1", "tea")).value["on_hand"] == 5
    assert config.identity.exists()


async def test_a_device_that_was_enrolled_again_erases_the_old_key_only(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, clock: HandClock
) -> None:
    """The stolen one turns up when its successor works under the same name."""
    order = wiped(line)
    back = with_terms(order, order.latest._replace(status=DeviceStatus.ACTIVE, from_ms=order.latest.from_ms + 10_000))
    successor = Identity.create("store-1", ROOT.public)
    key = DeviceKey(successor.key_id, successor.public_key, EPOCH_MS + 1)
    publish(cloud, with_key(back, key, EPOCH_MS + 1))
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await gone(agent)
    successor.save(config.identity)
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
        await until(lambda: agent._sync.registry._complete)
        assert not agent.gone
        assert not (config.data_dir / "WIPED").exists()


async def test_the_farewell_waits_for_a_way_over_a_restart(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device
) -> None:
    publish(cloud, wiped(line))
    tell = route.deliver

    def cut(*args: object) -> None:
        raise wiper_module.Unreachable("cut")

    route.deliver = cut  # type: ignore[method-assign, assignment]
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.gone and not config.identity.exists())
        await until(lambda: [path.name for path in config.data_dir.iterdir()] == ["WIPED"])
    assert farewells(route) == []
    route.deliver = tell  # type: ignore[method-assign]
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await gone(agent)
    told = farewells(route)  # a try that was under way when its agent ended may still come: the same word twice
    assert told
    assert all(farewell.genuine(line) for farewell in told)


async def test_a_wipe_comes_to_its_end_where_there_is_no_place_for_schemas_at_first_nor_for_that_it_was_told(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(cloud, wiped(line))
    give, deliver, tries = destruction.give, route.deliver, []

    def full(folder: Path, order: Order) -> None:
        if order.told:
            raise StoreFailed("no space left")
        give(folder, order)

    def no_place(topic: str, key: bytes, value: bytes, seconds: float) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise OSError(30, "Read-only file system")
        deliver(topic, key, value, seconds)

    monkeypatch.setattr(destruction, "give", full)
    route.deliver = no_place  # type: ignore[method-assign]
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await gone(agent)
    assert len(farewells(route)) == 1


async def test_a_folder_that_is_enrolled_again_before_the_farewell_was_sent_sends_it_still(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device
) -> None:
    """Over restarts of its successor, and when that is wiped in its turn."""
    publish(cloud, wiped(line))
    tell = route.deliver

    def cut(*args: object) -> None:
        raise wiper_module.Unreachable("cut")

    route.deliver = cut  # type: ignore[method-assign, assignment]
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.gone and not config.identity.exists())
        await until(lambda: [path.name for path in config.data_dir.iterdir()] == ["WIPED"])
    again = with_terms(wiped(line), line.latest._replace(from_ms=EPOCH_MS + 2))
    for _ in range(2):
        successor = Identity.create("store-1", ROOT.public)
        successor.save(config.identity)
        again = with_key(again, DeviceKey(successor.key_id, successor.public_key, EPOCH_MS + 3), EPOCH_MS + 3)
        publish(cloud, again)
        async with EdgeAgent(app, config, route=route, ids=ids) as agent:
            await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=10)
            again = with_terms(again, again.latest._replace(status=DeviceStatus.WIPE, from_ms=again.latest.from_ms + 1))
            publish(cloud, again)
            await until(lambda: agent.gone and not config.identity.exists())
            await until(lambda: erased(config.data_dir))
        again = with_terms(again, again.latest._replace(status=DeviceStatus.ACTIVE, from_ms=again.latest.from_ms + 1))
    assert farewells(route) == []
    route.deliver = tell  # type: ignore[method-assign]
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await gone(agent)
    told = {farewell.key_id for farewell in farewells(route)}
    assert len(told) == 3 and all(farewell.genuine(again) for farewell in farewells(route))
    assert [path.name for path in config.data_dir.iterdir()] == ["WIPED"], "paid"


async def test_a_successor_that_is_not_wiped_sends_what_is_owed_beside_its_own_work(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, identity: Identity
) -> None:
    config.data_dir.mkdir(exist_ok=True)
    destruction.give(config.data_dir, order_for(identity))
    (config.data_dir / f"{destruction.FAREWELL}spoilt").write_text("{")
    Identity.create("store-1").save(config.identity)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: [farewell.key_id for farewell in farewells(route)] == [identity.key_id])
        assert not agent.gone
        await until(lambda: not (config.data_dir / f"{destruction.FAREWELL}{identity.key_id}").exists())


async def test_an_order_on_a_full_disk_has_not_begun(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    line: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(folder: Path, order: Order) -> None:
        raise StoreFailed("no space", "free some")

    monkeypatch.setattr(destruction, "give", full)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        with structlog.testing.capture_logs() as logs:
            publish(cloud, wiped(line))
            await until(lambda: any("cannot be wiped yet" in entry["event"] for entry in logs))
        assert not agent.gone
        assert (await agent.run("receive", store="s1", sku="tea", qty=5)).result == 5
        monkeypatch.undo()
        await gone(agent)
    assert not config.identity.exists()


# -- who believes it


def forged(line: Device, make: Callable[[Farewell], Farewell]) -> bool:
    said = Farewell("store-1", line.keys[0].key_id, 2, "store-1.aaaaaaaa", 3, EPOCH_MS)
    return make(said).genuine(line)


def test_a_farewell_is_the_words_of_the_key_that_is_gone(line: Device, identity: Identity) -> None:
    stranger = Identity.create("store-1", ROOT.public)
    assert forged(line, lambda said: said.signed(identity))
    assert not forged(line, lambda said: said)
    assert not forged(line, lambda said: said.signed(stranger))
    assert not forged(line, lambda said: said.signed(identity)._replace(version=9))
    assert not forged(line, lambda said: said._replace(key_id=stranger.key_id).signed(stranger))
    assert not forged(line, lambda said: said._replace(device_id="store-2").signed(identity))
