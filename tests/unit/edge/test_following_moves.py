"""An agent follows a space that goes on with another number of partitions: what it has promised counts once there, and readers have what they had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import NotReady
from driftlog_schemas.devices import Device
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.moved_cloud import Move
from tests.unit.edge.shop import Stock, app
from tests.unit.edge.test_registry_line import ROOT, publish
from tests.unit.edge.test_registry_line import line as line  # a fixture
from tests.unit.edge.waiting import until

SCOPES = ("s1", "s2", "s3", "s4", "s5")
AFTER = 7

pytestmark = pytest.mark.usefixtures("quick_ticks")


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1", ROOT.public)


@pytest.fixture
def opened(config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device) -> Callable[[], EdgeAgent]:
    """The agent of this test's folder."""
    publish(cloud, line)
    settings = config.model_copy(update={"scopes": list(SCOPES)})
    return lambda: EdgeAgent(app, settings, route=route, ids=ids)


async def sold(agent: EdgeAgent, round: str) -> list[str]:
    """One command in each scope; their ids."""
    names = [f"{round}/{scope}" for scope in SCOPES]
    for name, scope in zip(names, SCOPES, strict=True):
        await agent.run("receive", command_id=name, store=scope, sku="tea", qty=1)
    return names


async def merged(agent: EdgeAgent, names: list[str]) -> None:
    def status(name: str) -> str:
        try:
            return agent.command(name).status
        except NotReady:  # the folder is opened anew
            return ""

    await until(lambda: {status(name) for name in names} == {"merged"})


async def on_hand(agent: EdgeAgent) -> set[int]:
    return {int((await agent.read(Stock, scope, "tea")).value["on_hand"]) for scope in SCOPES}


async def shows(agent: EdgeAgent, wanted: int) -> None:
    async def shown() -> bool:
        return await on_hand(agent) == {wanted}

    await until(shown)


def followed(agent: EdgeAgent) -> bool:
    """Does it say that it is where the space goes on?"""
    found = agent.status()["scopes"]["s1"]["digests"] if agent.log is not None else {}
    return any(place.startswith("retail.p") for place in found)


def times(cloud: Cloud) -> Counter[str]:
    """How often each command was merged."""
    return Counter(command.id for batch in cloud.batches for command in batch.commands)


async def test_what_was_promised_before_and_meanwhile_counts_once_where_the_space_goes_on(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud
) -> None:
    move, names = Move(cloud, AFTER), list[str]()
    async with opened() as agent:
        old = agent.status()["replica"]
        names += await sold(agent, "merged before")
        await merged(agent, names)
        move.close()
        names += await sold(agent, "behind the end")
        await until(lambda: len({lsn for batch in move.in_vain for lsn in batch.lsns}) == len(SCOPES))
        move.announce()
        await until(lambda: "is being given 7 partitions" in agent.status()["problem"])
        sent = len(route.sent)
        names += await sold(agent, "announced")
        await shows(agent, 3)
        assert len(route.sent) == sent, "nothing is sealed for a log that is closed, or about to be"
        move.lay_anew(old)
        move.say()
        names += await sold(agent, "said")
        await merged(agent, names)
        await shows(agent, 4)
        assert agent.status()["problem"] == ""
        assert times(cloud) == dict.fromkeys(names, 1)
        assert [life["why"] for life in agent.status()["lives"]] == ["", "moved"]
        move.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 10)
        await until(lambda: pages_of(agent, "s1", 14))
    async with opened() as agent:  # and from there on it is as ever
        names += await sold(agent, "after")
        await merged(agent, names)
        assert times(cloud) == dict.fromkeys(names, 1)


async def pages_of(agent: EdgeAgent, scope: str, wanted: int) -> bool:
    return bool((await agent.read(Stock, scope, "tea")).value["on_hand"] == wanted)
