"""What only comes down: a device reads it and may not write it, unless the operator lets it publish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from driftlog import App, Counter, Document, EdgeAgent, EdgeConfig, Register, Transaction, testing
from driftlog.client.failures import failure
from driftlog_edge.http_api import build
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.ports import Record
from driftlog_schemas.contract import OneWay
from driftlog_schemas.devices import PUBLISH, Device, DeviceKey, enrolled, with_terms
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, Replica

app = App("shop")
retail = app.space("retail", partitions=4)


@retail.collection(scope="store", id="sku", direction="down")
class Price(Document):
    store: str
    sku: str
    amount: Register[int] = 0


@retail.collection(scope="store", id="sku")
class Sold(Document):
    store: str
    sku: str
    pieces: Counter


@retail.command
def sell(tx: Transaction, store: str, sku: str) -> int:
    """Reads what came down, and writes what goes both ways."""
    tx.edit(Sold, store, sku).pieces.increment(1)
    return tx.edit(Price, store, sku).amount.value


@retail.command
def mark_down(tx: Transaction, store: str, sku: str, amount: int) -> None:
    tx.edit(Sold, store, sku).pieces.increment(1)
    tx.edit(Price, store, sku).amount.set(amount)


ROOT = RootKey.create()
OPERATOR = OperatorKey.create(ROOT, EPOCH_MS)
IDS = FixedIds()
STEPS = "/v1/documents/Price/s1/tea"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    Identity.create("store-1").save(tmp_path / "identity.json")
    config = EdgeConfig(data_dir=tmp_path / "data", identity=tmp_path / "identity.json", scopes=["s1"])
    route = CloudRoute(Cloud(IDS))
    route.cut()
    async with EdgeAgent(app, config, route=route, ids=IDS) as agent:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as client:
            yield client


async def test_each_way_to_write_it_is_refused_and_names_the_field(api: httpx.AsyncClient) -> None:
    tea = {"store": "s1", "sku": "tea"}
    ways = {
        "a command": await api.post("/v1/commands/mark_down", json={**tea, "amount": 5}),
        "a write": await api.post(STEPS, json=[{"field": "amount", "op": "set", "args": [5]}]),
        "a deletion": await api.post(STEPS, json=[{"field": "", "op": "delete", "args": []}]),
    }
    for way, answer in ways.items():
        body = answer.json()
        assert (answer.status_code, body["code"]) == (403, "one_way"), way
        assert body["field"] == ("Price.delete" if way == "a deletion" else "Price.amount")
        assert "--may-publish" in body["detail"]
        assert isinstance(failure(body), OneWay)
    assert (await api.get("/v1/documents/Sold/s1/tea")).status_code == 404, "of a refused command nothing stands"
    assert (await api.get("/v1/status")).json()["pending"] == 0
    assert (await api.post("/v1/commands/sell", json=tea)).json()["result"] == 0, "to look at it is no change"


def test_the_right_to_publish_comes_with_the_devices_own_line_and_goes_with_it(
    lives: Callable[..., Replica], ids: FixedIds
) -> None:
    identity = Identity.create("store-1", ROOT.public)
    replica = lives(identity=identity, contract=app.contract)
    line = RegistryLine(identity, RecordCodecs(ids), replica.journal, replica.clock)
    line.open(replica.store)
    replica.executor._publishes = lambda: line.publishes
    clerk = enrolled("store-1", DeviceKey(identity.key_id, identity.public_key, EPOCH_MS))

    def said(device: Device) -> None:
        value = RecordCodecs(ids).encode_signed_line(OPERATOR.sign(RecordCodecs(ids).encode_device(device)))
        line.learn([Record(device.version, b"store-1", value, (), EPOCH_MS)])

    def refused() -> bool:
        try:
            replica.do("mark_down", store="s1", sku="tea", amount=7)
        except OneWay:
            return True
        return False

    assert refused(), "nothing is known of the device"
    said(clerk)
    assert refused(), "'*' is not the right to publish"
    publisher = with_terms(clerk, clerk.latest._replace(from_ms=EPOCH_MS + 1, permissions=("*", PUBLISH)))
    said(publisher)
    assert not refused()
    assert replica.value("Price", "s1", "tea")["amount"] == 7
    said(with_terms(publisher, clerk.latest._replace(from_ms=EPOCH_MS + 2)))
    assert refused()
    assert replica.value("Sold", "s1", "tea")["pieces"] == 1


def test_the_kit_refuses_the_same() -> None:
    with pytest.raises(OneWay, match="Price only comes down"):
        testing.replica(app).run("mark_down", store="s1", sku="tea", amount=5)
    office, till = testing.replica(app, may_publish=True), testing.replica(app)
    office.run("mark_down", store="s1", sku="tea", amount=5)
    testing.exchange(office, till)
    assert till.run("sell", store="s1", sku="tea").result == 5


def test_in_a_simulated_world_who_may_publish_does_and_the_others_are_refused() -> None:
    result = testing.simulate(app, seed=1, replicas={"till": ["*"], "office": ["*", PUBLISH]})
    result.check()
    refused = {(one.replica, one.code) for one in result.rejected if one.command == "mark_down"}
    assert refused == {("till", "one_way")}
    assert any(document.collection == "Price" for document in result.documents["cloud"])
