"""A replica by hand, an agent with an in-process cloud, and its API without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import build
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock, Replica
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
        running.append(Replica(tmp_path / "replica", identity, ids, **options))
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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build(agent)), base_url="http://edge") as client:
        yield client
