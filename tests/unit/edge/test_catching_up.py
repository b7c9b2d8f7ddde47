"""How far a replica has come is told in the status, and by a command that waits until it has everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from driftlog.cli import calling, edge_catch_up, edge_questions
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.ports import Chunk
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute, Place, partition_of_space
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

HERE = f"retail/{partition_of_space('retail', 's1')}"
BEHIND = {"offset": 10, "begins": 5, "ends": 25, "again": ""}
UNKNOWN = {"offset": 0, "begins": None, "ends": None, "again": ""}


class Held(CloudRoute):
    """What comes in waits until it is let through."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.through = asyncio.Event()

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[Place, int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> Any:
        async def later(chunks: Sequence[Chunk]) -> None:
            await self.through.wait()
            await arrived(chunks)

        return super().follow(loop, positions, later, trouble)


async def test_the_status_says_how_far_it_has_come(config: EdgeConfig, cloud: Cloud, ids: FixedIds) -> None:
    route, settings = Held(cloud), config.model_copy(update={"scopes": ["s1"]})
    for number in range(3):
        cloud.write(DocumentId("Stock", "s1", f"item-{number}"), "on_hand", "increment", 1)
    route.cut()
    async with EdgeAgent(app, settings, route=route, ids=ids) as agent:
        assert agent.status()["catching_up"][HERE] == UNKNOWN, "nobody has said yet where it ends"
        route.mend()
        await until(lambda: agent.status()["catching_up"][HERE]["ends"] == 3)
        assert agent.status()["catching_up"][HERE] == {"offset": 0, "begins": 0, "ends": 3, "again": ""}
        route.through.set()
        await until(lambda: agent.status()["catching_up"] == {})
        assert agent.status()["read_again"] == {}

        cloud.topic_ids["retail.state"] = "second"
        route.through.clear()
        agent._sync.lookout.hurry()
        await until(lambda: HERE in agent.status()["catching_up"])
        again = agent.status()["catching_up"][HERE]
        assert (again["offset"], again["again"]) == (0, "the topic was made anew")
        route.through.set()
        await until(lambda: agent.status()["catching_up"] == {})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What the agent's status is, look after look; the last for ever."""
    statuses: list[dict[str, Any]] = []

    def call(method: str, url: str, path: str, away_seconds: float = 0.0) -> dict[str, Any]:
        assert (method, path) == ("GET", "/v1/status")
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]

    monkeypatch.setattr(edge_catch_up, "call", call)
    monkeypatch.setattr(edge_catch_up, "LOOK_SECONDS", 0.001)
    yield statuses


def status(connection: str = "ONLINE", problem: str = "", **places: dict[str, Any]) -> dict[str, Any]:
    places = {name.replace("_", "/"): place for name, place in places.items()}
    return {"connection": connection, "problem": problem, "catching_up": places, "scopes": {"s1": {"synced_at": 17}}}


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(edge_questions.app, ["catch-up", *arguments])


def test_it_waits_until_nothing_is_missing(said: list[dict[str, Any]]) -> None:
    said += [status("OFFLINE", retail_1=UNKNOWN), status(retail_1=BEHIND), status()]
    found = ran("--json")
    assert (found.exit_code, json.loads(found.stdout)["scopes"]) == (0, {"s1": 17})
    assert len(said) == 1, "it has looked until the last"


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (status(retail_1=BEHIND), "retail/1 at 10 of 25"),
        (status(retail_1={**BEHIND, "again": "the topic was made anew"}), "read again: the topic was made anew"),
        (status("OFFLINE", "no broker answers"), "OFFLINE, no broker answers"),
    ],
)
def test_it_says_what_is_missing_when_the_time_is_over(
    said: list[dict[str, Any]], last: dict[str, Any], why: str
) -> None:
    said.append(last)
    found = ran("--timeout", "0.01")
    assert (found.exit_code, why in found.stderr, "see `driftlog edge status`" in found.stderr) == (1, True, True)


def test_an_agent_of_an_older_release_does_not_say(said: list[dict[str, Any]]) -> None:
    said.append({"connection": "ONLINE", "scopes": {}})
    found = ran()
    assert (found.exit_code, "older release" in found.stderr) == (1, True)


class Starting:
    """Stands for the connection to an agent: each answer, or why there is none, and the last for ever."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers = list(answers)

    def __enter__(self) -> Starting:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, method: str, path: str) -> httpx.Response:
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(200, json=found)


def test_it_goes_on_when_the_agent_is_started_again_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, cut = httpx.ConnectError("refused"), httpx.ReadError("cut")
    monkeypatch.setattr(edge_catch_up, "LOOK_SECONDS", 0.001)
    agent = Starting(status(retail_1=BEHIND), cut, refused, status(retail_1=BEHIND), status())
    monkeypatch.setattr(calling, "connect", lambda *_, **__: agent)
    assert ran().exit_code == 0
    monkeypatch.setattr(edge_catch_up, "AWAY_SECONDS", 0.01)
    agent = Starting(status(retail_1=BEHIND), refused)
    gone = ran()
    assert (gone.exit_code, "no agent answers" in gone.stderr) == (1, True)
    agent = Starting(refused, status())
    assert ran().exit_code == 1, "where no agent is at all nobody waits for one"


def test_who_looks_sees_a_bar_for_each_partition(said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(force_terminal=True, record=True, width=100, quiet=False)
    monkeypatch.setattr(edge_catch_up, "err", terminal)
    said += [status(retail_1=UNKNOWN, retail_2={**BEHIND, "again": "why"}), status(retail_2=BEHIND), status()]
    assert ran().exit_code == 0
    drawn = terminal.export_text()
    assert "retail/1" in drawn
    assert "retail/2" in drawn
    assert " 5/20" in drawn
