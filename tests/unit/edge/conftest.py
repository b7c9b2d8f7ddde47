"""A replica by hand, an agent with an in-process cloud, and its API without a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import build
from driftlog_edge.http_api.access import Access, Doorkeeper
from driftlog_edge.http_api.server import settings_of
from driftlog_edge.link import clients as clients_module
from driftlog_edge.link import signal as signal_module
from driftlog_edge.link import sync as sync_module
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock, Replica
from tests.unit.edge.serving import api_of
from tests.unit.edge.shop import app


@pytest.fixture
def ids() -> FixedIds:
    return FixedIds()


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1")


@pytest.fixture
def cloud(ids: FixedIds) -> Cloud:
    return Cloud(ids)


@pytest.fixture
def lives(tmp_path: Path, identity: Identity, ids: FixedIds) -> Iterator[Callable[..., Replica]]:
    """Starts a replica in this test's folder; starting again ends the life before, as a kill would."""
    running: list[Replica] = []

    def start(**options: Any) -> Replica:
        if running:
            running.pop().close()
        running.append(Replica(tmp_path / "replica", options.pop("identity", identity), ids, **options))
        return running[-1]

    yield start
    for replica in running:
        replica.close()


@pytest.fixture
def replica(lives: Callable[..., Replica]) -> Replica:
    return lives()


@pytest.fixture
def route(cloud: Cloud) -> CloudRoute:
    return CloudRoute(cloud)


@pytest.fixture
def config(tmp_path: Path, identity: Identity) -> EdgeConfig:
    identity.save(tmp_path / "identity.json")
    return EdgeConfig(data_dir=tmp_path / "data", identity=tmp_path / "identity.json", scopes=["s1", "s2"])


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def agent(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> AsyncIterator[EdgeAgent]:
    """An agent beside a cloud that merges at once."""
    async with EdgeAgent(app, config, route=route, ids=ids) as running:
        yield running


@pytest.fixture
async def http(agent: EdgeAgent) -> AsyncIterator[httpx.AsyncClient]:
    """Its API."""
    with api_of(agent) as api:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://edge") as client:
            yield client


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An agent on a loopback port, beside an in-process cloud; it asks for no token."""
    with served(tmp_path_factory.mktemp("edge"), Access()) as address:
        yield address


@contextmanager
def served(folder: Path, access: Access) -> Iterator[str]:
    """The API of an agent in another thread, as `driftlog edge run` serves it; its address."""
    if not (folder / "identity.json").exists():
        Identity.create("store-1").save(folder / "identity.json")
    config = EdgeConfig(data_dir=folder / "data", identity=folder / "identity.json", scopes=["s1", "s2"])
    ready, server = threading.Event(), []
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # standard output is what a test reads

    async def serve() -> None:
        ids = FixedIds()
        async with EdgeAgent(app, config, route=CloudRoute(Cloud(ids)), ids=ids) as agent:
            settings = settings_of(Doorkeeper(build(agent), access), port=0)
            settings.timeout_graceful_shutdown = 1
            server.append(uvicorn.Server(settings))
            running = asyncio.create_task(server[0].serve())
            while not server[0].started:  # noqa: ASYNC110  # the server has no event for it
                await asyncio.sleep(0.01)
            ready.set()
            await running

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60), "the agent did not start"
    port = server[0].servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server[0].should_exit = True
    thread.join(60)
    structlog.configure(**before)


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens now and then happens at once."""
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(signal_module, "PROBE_SOON_SECONDS", 0.01)
    monkeypatch.setattr(signal_module, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(clients_module, "backoff", lambda *args: 0.01)
    monkeypatch.setattr(signal_module, "backoff", lambda *args: 0.01)
    monkeypatch.setattr("driftlog_edge.outgoing.pump.backoff", lambda *args: 0.01)
    monkeypatch.setattr("driftlog_edge.link.connectivity.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("driftlog_edge.link.connectivity.GIVE_UP_SECONDS", 0.0)
