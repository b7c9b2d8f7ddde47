"""No client can be made: a certificate or a password file is being replaced, or the machine has no threads left. That is no way, like a broker that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.link import kafka_asker
from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Chunk, Unreachable
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

STATES = ("retail.state", 0)


class Unready(CloudRoute):
    """A way on which some clients cannot be made now."""

    unmade: frozenset[str] = frozenset()

    def _require(self, client: str) -> None:
        if client in self.unmade:
            raise Unreachable("no client can be made: there is no ca.pem")

    def ship(self, *given: Any, **named: Any) -> Any:
        self._require("ship")
        return super().ship(*given, **named)

    def follow(self, *given: Any, **named: Any) -> Any:
        self._require("follow")
        return super().follow(*given, **named)

    def ask(self) -> Any:
        self._require("ask")
        return super().ask()


@pytest.fixture
def route(cloud: Cloud) -> Unready:
    return Unready(cloud)


def online(agent: EdgeAgent) -> bool:
    return agent.status()["connection"] == "ONLINE"


@pytest.mark.usefixtures("quick_ticks")
@pytest.mark.parametrize("client", ["ship", "ask", "follow"])
async def test_a_connection_that_cannot_be_made_is_made_later(agent: EdgeAgent, route: Unready, client: str) -> None:
    await until(lambda: online(agent))
    route.unmade = frozenset({client})
    agent._sync.anew()
    await until(lambda: "ca.pem" in agent.status()["problem"])
    await agent.run("receive", store="s1", sku="tea", qty=1, command_id="meanwhile")
    route.unmade = frozenset()
    await until(lambda: agent.command("meanwhile").status == "merged" and online(agent))
    assert agent.status()["problem"] == ""


@pytest.mark.usefixtures("quick_ticks")
@pytest.mark.parametrize("client", ["ship", "ask", "follow"])
async def test_an_agent_starts_without_and_takes_writes(
    config: EdgeConfig, route: Unready, ids: FixedIds, client: str
) -> None:
    route.unmade = frozenset({client})
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=1, command_id="first")
        await until(lambda: "ca.pem" in agent.status()["problem"])
        route.unmade = frozenset()
        await until(lambda: agent.command("first").status == "merged")


@pytest.mark.usefixtures("quick_ticks")
async def test_who_was_told_to_stay_off_the_network_is_not_brought_back_by_it(agent: EdgeAgent, route: Unready) -> None:
    await until(lambda: online(agent))
    route.unmade = frozenset({"ship"})
    agent._sync.anew()
    await until(lambda: "ca.pem" in agent.status()["problem"])
    await agent.offline()
    route.unmade, made = frozenset(), route.connections
    await asyncio.sleep(0.1)
    assert (agent.status()["connection"], route.connections) == ("OFFLINE", made)
    await agent.online()
    await until(lambda: online(agent))


def lacking(tmp_path: Path, name: str) -> KafkaSettings:
    """Settings of a file that was there when they were read."""
    path = tmp_path / "secret"
    path.write_text("secret")
    tables: dict[str, dict[str, Any]] = {
        "ca_file": {"security_protocol": "ssl"},
        "sasl_password_file": {
            "security_protocol": "sasl_plaintext",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "edge",
        },
    }
    found = KafkaSettings(bootstrap="127.0.0.1:1", **tables[name], **{name: path})
    path.unlink()
    return found


async def _arrived(chunks: Sequence[Chunk]) -> None:
    """Nothing does."""


@pytest.mark.parametrize("name", ["ca_file", "sasl_password_file"])
async def test_each_client_says_that_it_cannot_be_made(tmp_path: Path, name: str) -> None:
    route, loop = KafkaRoute(lacking(tmp_path, name)), asyncio.get_running_loop()
    making: list[Callable[[], object]] = [
        lambda: route.ship(loop, lambda batch, error: None, lambda: None),
        lambda: route.follow(loop, {STATES: 0}, _arrived, lambda: None),
        route.ask,
        lambda: route.deliver("topic", b"", b"", 0.1),
        lambda: route.records(*STATES, {b"key": 0}, 1, 0.1),
        lambda: route.history(*STATES, b"key", 0, 1, 0.1),
    ]
    for make in making:
        with pytest.raises(Unreachable, match="no client can be made"):
            make()


async def test_an_asker_that_cannot_be_replaced_asks_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("secret")
    asker = kafka_asker.KafkaAsker(
        KafkaSettings(
            bootstrap="127.0.0.1:1",
            security_protocol="sasl_plaintext",
            sasl_mechanism="PLAIN",
            sasl_username="edge",
            sasl_password_file=path,
        )
    )
    path.unlink()
    monkeypatch.setattr(kafka_asker, "_day_began", lambda: 0.0)  # it was set back: a silent client is replaced
    with pytest.raises(Unreachable, match="secret"):
        await asker.ends([STATES], 0.01)
    path.write_text("secret")
    with pytest.raises(Unreachable, match="does not answer"):
        await asker.ends([STATES], 0.01)
    assert asker.leave()
