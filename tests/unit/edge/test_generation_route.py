"""An agent goes over to the generation of the read model that the operator has put in force, while it works, and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from driftlog.cli import edge_status
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import metrics
from driftlog_edge.link import registry_line as module
from driftlog_edge.link import sync as sync_module
from driftlog_edge.link.generation_route import GenerationRoute
from driftlog_edge.link.moving import Moving
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.link.renewing import NotYet
from driftlog_edge.ports import Chunk, Record
from driftlog_edge.store.cursors import cursor_of
from driftlog_schemas import topics
from driftlog_schemas.devices import Device
from driftlog_schemas.generations import FIRST, InForce, switched
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.moves import Moved, announcing, moving, present
from driftlog_schemas.operator_keys import OperatorKey
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import SpaceTopics
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, Replica
from tests.unit.edge.shop import PARTITIONS, Stock, app
from tests.unit.edge.test_registry_line import ROOT, STRANGER, publish, record, said
from tests.unit.edge.test_registry_line import line as line  # a fixture
from tests.unit.edge.waiting import until

SECOND = SpaceTopics("retail", 2)
STATE, RECEIPTS = topics.state_topic("retail"), topics.receipts_topic("retail")
S1 = partition_of("s1", PARTITIONS)
TEA = DocumentId("Stock", "s1", "tea")
SPACES = tuple(app.contract.spaces)


@pytest.fixture
def identity() -> Identity:
    return Identity.create("store-1", ROOT.public)


def switch(*to: InForce) -> Device:
    known: Device | None = None
    for one in to:
        known = switched(known, "retail", one, EPOCH_MS)
    assert known is not None
    return known


class Workers:
    """The cloud's workers merge this generation; others have what they had."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._publish = cloud.publish
        self.generation = 1
        cloud.publish = self.publish  # type: ignore[method-assign]

    def publish(self, topic: str, *rest: Any, **named: Any) -> Any:
        there = SpaceTopics("retail", self.generation)
        return self._publish({STATE: there.state, RECEIPTS: there.receipts}.get(topic, topic), *rest, **named)

    def make(self, generation: int) -> None:
        """It has all that there is, once."""
        self.generation = generation
        there = SpaceTopics("retail", generation)
        self._cloud.topic_ids |= dict.fromkeys((there.state, there.receipts), f"of {generation}")
        places = {partition_of(document.scope, PARTITIONS) for document in self._cloud.states}
        for place in places:
            found = [one for one in self._cloud.states if partition_of(one.scope, PARTITIONS) == place]
            self._cloud.publish_group(
                "retail", place, found, number=len(self._cloud.of(topics.ops_topic("retail"), place)) - 1
            )
        for (_, place), row in list(self._cloud.rows.items()):
            assert place == row.partition
            self._cloud.publish_row(row)


def followed(route: CloudRoute) -> set[str]:
    return {topic for topic, _ in route._feeds[-1]._positions if topic.startswith("retail.")}


async def test_an_agent_follows_the_operators_word_there_and_back(
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    line: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    workers = Workers(cloud)
    publish(cloud, line)
    settings = config.model_copy(update={"scopes": ["s1"]})

    async def shows(agent: EdgeAgent, wanted: int) -> None:
        async def shown() -> bool:
            return bool((await agent.read(Stock, "s1", "tea")).value["on_hand"] == wanted)

        await until(shown)

    async def received(agent: EdgeAgent, name: str) -> None:
        await agent.run("receive", command_id=name, store="s1", sku="tea", qty=1)
        await until(lambda: agent.command(name).status == "merged")

    async with EdgeAgent(app, settings, route=route, ids=ids) as agent:
        await received(agent, "c1")
        await shows(agent, 1)
        workers.make(2)
        cloud.write(TEA, "on_hand", "increment", 10)
        publish(cloud, switch(InForce(2, 1)))
        await until(lambda: agent.generations["retail"] == InForce(2, 1))
        await shows(agent, 1)
        assert agent.status()["generations"]["retail"] == {"followed": 1, "read": 1, "merged": 2}
        assert followed(route) >= {STATE, RECEIPTS}, "the workers go first"

        publish(cloud, switch(InForce(2, 1), InForce(2, 2)))
        await shows(agent, 11)
        assert followed(route) == {SECOND.state, SECOND.receipts, SECOND.conflicts}
        assert agent.status()["generations"]["retail"] == {"followed": 2, "read": 2, "merged": 2}
        assert b'driftlog_edge_generation{space="retail"} 2.0' in metrics.render(agent)
        await received(agent, "c2")
        await shows(agent, 12)
        workers.generation = 1
        cloud.write(TEA, "on_hand", "increment", 100)  # a worker that woke up late
    async with EdgeAgent(app, settings, route=route, ids=ids) as agent:
        await until(lambda: bool(route._feeds) and followed(route) == {SECOND.state, SECOND.receipts, SECOND.conflicts})
        await shows(agent, 12)
        publish(cloud, switch(InForce(2, 1), InForce(2, 2), InForce(2, 1)))
        await shows(agent, 112)
        assert followed(route) >= {STATE, RECEIPTS}


async def test_a_space_that_goes_on_elsewhere_is_told(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(*_: object) -> None:
        raise NotYet("retail.state[0] is not read to its end")

    monkeypatch.setattr(Moving, "_close", not_yet)
    publish(cloud, line)
    soon = announcing(switch(InForce(1, 1)), 7, EPOCH_MS)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.status()["registered"] is not None)
        assert agent.status()["problem"] == ""
        publish(cloud, soon)
        await until(lambda: "retail is being given 7 partitions" in agent.status()["problem"])
        publish(cloud, moving(soon, Moved(2, 7, 9, (0,)), EPOCH_MS))
        await until(lambda: "retail goes on with 7 partitions" in agent.status()["problem"])
        await until(lambda: agent.status()["problem"].endswith("retail.state[0] is not read to its end"))
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:  # it is remembered
        await until(lambda: "retail goes on with 7 partitions" in agent.status()["problem"])


async def test_a_strangers_word_sends_nobody_anywhere(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, cloud: Cloud, line: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.01)
    forged = record(switch(InForce(2, 2)), OperatorKey.create(STRANGER, EPOCH_MS))
    cloud.publish(topics.DEVICES, 0, forged.key, forged.value)
    publish(cloud, line)
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await until(lambda: agent.status()["registered"] is not None)
        assert agent.generations == dict.fromkeys(SPACES, FIRST)
        assert followed(route) >= {STATE, RECEIPTS}


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"followed": 1, "read": 1, "merged": 1}, "retail 1"),
        ({"followed": 1, "read": 1, "merged": 2}, "retail 1, workers merge 2"),
        ({"followed": 1, "read": 2, "merged": 2}, "retail 1, and 2 from the next connection on"),
    ],
)
def test_the_status_of_the_command_line_says_which_is_read(facts: dict[str, int], shown: str) -> None:
    disk, snapshot = {"budget_bytes": None, "warning": ""}, {"needed_in_seconds": None, "warning": ""}
    status = {"scopes": {}, "disk": disk, "disk_bytes": 1, "snapshot": snapshot, "generations": {"retail": facts}}
    assert edge_status.shown(status)["generations"] == shown


# -- what a folder remembers


def opened(replica: Replica, spaces: Sequence[str] = SPACES) -> RegistryLine:
    found = RegistryLine(replica.identity, RecordCodecs(FixedIds()), replica.journal, replica.clock, spaces)
    found.open(replica.store)
    return found


def learnt(replica: Replica, registry: RegistryLine, *records: Record) -> None:
    registry.learn(records)
    replica.journal.stage(registry.written(records), sync=False)
    replica.commit()


def test_the_generation_is_known_before_the_network_is(lives: Callable[..., Replica], line: Device) -> None:
    replica = lives()
    learnt(replica, opened(replica), record(line), record(switch(InForce(3, 2)), offset=1))
    again = opened(lives())
    assert again.generations["retail"] == InForce(3, 2)
    assert again.device is not None


def test_a_folder_of_a_release_that_knew_no_generations_reads_the_registry_once_more(
    lives: Callable[..., Replica], line: Device
) -> None:
    replica = lives()
    learnt(replica, opened(replica, ()), record(switch(InForce(2, 2))), record(said(line), offset=1))
    kept = json.loads(replica.store.get(*module._STATE) or b"")
    del kept["spaces"]
    replica.store.write({module._STATE: json.dumps(kept).encode()}, sync=True)
    replica = lives()
    registry = opened(replica)
    assert registry.device is not None and registry.device.version == 2
    cursor = (module._STATE[0], b"cursor/driftlog.devices/0")
    assert replica.store.get(*cursor) is None, "the line of the space stands before where it had read to"
    learnt(replica, registry, record(switch(InForce(2, 2))))
    assert opened(lives()).generations["retail"] == InForce(2, 2)


# -- one connection


async def test_what_one_connection_asks_is_all_of_one_generation(cloud: Cloud) -> None:
    said, asked = {"retail": 1}, []

    class Asked(CloudRoute):
        def ask(self) -> Any:
            asker = super().ask()
            extents = asker.extents

            async def noted(places: Sequence[tuple[str, int]], seconds: float) -> Any:
                asked.append({topic for topic, _ in places})
                return await extents(places, seconds)

            asker.extents = noted  # type: ignore[method-assign]
            return asker

    route = GenerationRoute(Asked(cloud), lambda: said)
    places = [(STATE, S1), (topics.ops_topic("retail"), S1)]
    asker = route.ask()
    said["retail"] = 2
    assert route.outdated
    assert set(await asker.extents(places, 1)) == set(places)
    later = route.ask()
    assert not route.outdated
    assert set(await later.extents(places, 1)) == set(places)
    assert set(await later.ends(places, 1)) == set(places)
    cloud.partitions[SECOND.state] = 9
    names = [topic for topic, _ in places]
    assert await asker.partitions(names, 1) == dict.fromkeys(names, PARTITIONS)
    assert await later.partitions(names, 1) == {STATE: 9, places[1][0]: PARTITIONS}
    assert asked == [{STATE, places[1][0]}, {SECOND.state, places[1][0]}]


async def test_what_comes_in_is_called_as_the_agent_calls_it(cloud: Cloud) -> None:
    came: list[Chunk] = []

    async def arrived(chunks: Sequence[Chunk]) -> None:
        came.extend(chunks)

    route = GenerationRoute(CloudRoute(cloud), lambda: {"retail": 2})
    cloud.publish(SECOND.state, S1, b"key", b"value")
    route.follow(asyncio.get_running_loop(), {(STATE, S1): 0, (SECOND.conflicts, S1): 0}, arrived, lambda: None)
    await until(lambda: len(came) == 2)
    assert {(chunk.topic, len(chunk.records)) for chunk in came} == {(STATE, 1), (SECOND.conflicts, 0)}
    assert route.records(STATE, S1, {b"key": 0}, 1, 1)[b"key"].value == b"value"


def test_where_a_space_goes_on_is_known_before_the_network_is_however_often_it_has_moved(
    lives: Callable[..., Replica], line: Device
) -> None:
    replica = lives()
    registry = opened(replica)
    there = moving(switched(None, "retail.p2", InForce(2, 2), EPOCH_MS), Moved(3, 4, 20, (0,) * 7), EPOCH_MS)
    words = [
        line,
        moving(switch(InForce(1, 1)), Moved(2, 7, 9, (0,)), EPOCH_MS),
        there,
        switched(None, "x.p2", InForce(2, 2), EPOCH_MS),
    ]
    learnt(replica, registry, *[record(one, offset=at) for at, one in enumerate(words)])
    space = app.contract.spaces["retail"]
    for known in (registry, opened(lives())):
        now = present(space, known.moved)
        assert (now.name, now.partitions) == ("retail.p3", 4)
        assert known.moved("x.p2") is known.moved("x") is None and set(known.generations) == {*SPACES}


def test_a_folder_of_a_release_that_knew_no_successors_reads_the_registry_once_more(
    lives: Callable[..., Replica], line: Device
) -> None:
    replica = lives()
    learnt(replica, opened(replica), record(line))
    assert cursor_of(replica.journal, *module.PLACE).offset == 1
    kept = json.loads(replica.store.get(*module._STATE) or b"")
    del kept["successors"]
    replica.store.write({module._STATE: json.dumps(kept).encode()}, sync=True)
    replica = lives()
    opened(replica)
    assert cursor_of(replica.journal, *module.PLACE).offset == 0
