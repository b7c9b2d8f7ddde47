"""An agent follows a space that goes on with another number of partitions: what it has promised counts once there, and readers have what they had."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import EdgeError, NotReady, Offline, TimedOut
from driftlog_edge.incoming.intake import Intake
from driftlog_edge.link import sync
from driftlog_edge.link.lookout import Lookout
from driftlog_edge.link.moving import Moving
from driftlog_edge.link.registry_line import RegistryLine
from driftlog_edge.ports import Chunk, Family
from driftlog_edge.salvage.run import salvage
from driftlog_edge.store import keys
from driftlog_edge.store.lives import Chain
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas import groups, topics
from driftlog_schemas.devices import Device
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.moved_cloud import Move
from tests.unit.edge.shop import CONTRACT, PARTITIONS, Stock, app
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


def lives(agent: EdgeAgent) -> list[dict[str, Any]]:
    """As its status tells them; none while the folder is opened anew."""
    try:
        return list(agent.status()["lives"])
    except NotReady:
        return []


async def on_hand(agent: EdgeAgent, scope: str) -> object:
    return (await agent.read(Stock, scope, "tea")).value["on_hand"]  # type: ignore[arg-type]  # the agent's own kind of document


async def shows(agent: EdgeAgent, wanted: int, scopes: Sequence[str] = SCOPES) -> None:
    async def shown() -> bool:
        return {await on_hand(agent, scope) for scope in scopes} == {wanted}

    await until(shown)


async def told(agent: EdgeAgent, problem: str) -> None:
    """Return when the agent says so."""
    await until(lambda: problem in agent.status()["problem"])


def salvaged(config: EdgeConfig, to: Path) -> EdgeConfig:
    """The settings of an agent on what is salvaged of a folder."""
    saved = config.model_copy(update={"data_dir": to, "scopes": list(SCOPES)})
    salvage(CONTRACT, config.data_dir, saved.data_dir, ())
    return saved


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
        sealed = {lsn for batch in route.sent for lsn in batch.lsns}
        names += await sold(agent, "announced")
        await shows(agent, 3)
        assert {lsn for batch in route.sent for lsn in batch.lsns} == sealed, (
            "nothing is sealed for a log that is closed, or about to be"
        )
        move.lay_anew(old)
        move.say()
        names += await sold(agent, "said")
        await merged(agent, names)
        await shows(agent, 4)
        assert agent.status()["problem"] == ""
        assert times(cloud) == dict.fromkeys(names, 1)
        assert [life["why"] for life in agent.status()["lives"]] == ["", "moved"]
        move.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 10)
        await shows(agent, 14, ["s1"])
    async with opened() as agent:  # and from there on it is as ever
        names += await sold(agent, "after")
        await merged(agent, names)
        assert times(cloud) == dict.fromkeys(names, 1)


async def test_nothing_is_sealed_for_a_log_that_is_closed_from_the_first_moment_on(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        await merged(agent, await sold(agent, "before"))
        move.close()
        move.announce()
        await told(agent, "is being given 7 partitions")
    sent = len(route.sent)
    monkeypatch.setattr(sync, "TICK_SECONDS", 3600.0)  # whatever is looked after now and then comes later
    async with opened() as agent:
        await sold(agent, "at once")
        link = agent._sync
        await until(lambda: link._way_out is not None)
        link.pump.run()
        await until(lambda: link.pump._envelope_known and link.pump._errand._task is None)
        assert len(route.sent) == sent


async def test_who_was_away_over_the_move_follows_when_he_is_back(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud
) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        old = agent.status()["replica"]
        names = await sold(agent, "merged")
        await merged(agent, names)
        route.merging = False
        names += await sold(agent, "in the log, and merged while it is away")
        await until(lambda: sum(len(batch.lsns) for batch in route.sent) == len(names))
        route.cut()
        names += await sold(agent, "written offline")
    for batch in route.sent[-len(SCOPES) :]:
        cloud.merge(batch)
    move.announce()
    move.close()
    move.lay_anew(old)
    move.say()
    route.merging = True
    async with opened() as agent:
        names += await sold(agent, "still offline")
        await shows(agent, 4)
        route.mend()
        await merged(agent, names)
        await shows(agent, 4)
    assert times(cloud) == dict.fromkeys(names, 1)


async def test_what_a_topic_that_was_made_anew_answers_is_read_before_anything_comes_along(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move is looked at before the topics are, and in those of before more was read than the new ones have."""
    move, asked = Move(cloud, AFTER), asyncio.Event()
    async with opened() as agent:
        old = agent.status()["replica"]
        names = [*await sold(agent, "first"), *await sold(agent, "second")]
        await merged(agent, names)
        names += await sold(agent, "third")
        await merged(agent, names)
        route.merging = False
        refused = await sold(agent, "in the log, and refused while it is away")
        await until(lambda: sum(len(batch.lsns) for batch in route.sent) == len([*names, *refused]))
    receipts = topics.receipts_topic("retail")
    for place in [place for place in cloud.topics if place[0] == receipts]:
        del cloud.topics[place]
    cloud.topic_ids[receipts] = "made anew"
    cloud.forbids |= set(refused)
    for batch in route.sent[-len(SCOPES) :]:
        cloud.merge(batch)
    cloud.forbids.clear()
    move.close()
    move.lay_anew(old)
    move.say()
    route.merging = True
    look, read = Lookout.look, Moving._read_to_the_end

    async def later(lookout: Lookout, *, beginning: bool = False) -> Any:
        await asked.wait()
        return await look(lookout, beginning=beginning)

    async def first(moving: Moving, space: str) -> None:
        asyncio.get_running_loop().call_later(0.5, asked.set)
        await read(moving, space)

    with monkeypatch.context() as patched:
        patched.setattr(Moving, "_read_to_the_end", first)
        patched.setattr(Lookout, "look", later)
        patched.setattr(RegistryLine, "moved", lambda _, space: move.to if space == "retail" else None)
        async with opened() as agent:
            await until(lambda: "moved" in [life["why"] for life in lives(agent)])
            await merged(agent, names)
            assert {agent.command(name).status for name in refused} == {"rejected"}
    assert times(cloud) == dict.fromkeys([*names, *refused], 1)


@pytest.mark.parametrize("stage", ["_read_to_the_end", "_pack"])
async def test_it_is_cut_off_on_its_way_and_the_next_start_goes_on(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        old = agent.status()["replica"]
        names = await sold(agent, "before")
        await merged(agent, names)
        move.close()
        names += await sold(agent, "behind the end")
        move.lay_anew(old)
        come = asyncio.Event()

        async def hang(*_: object) -> None:
            come.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr(Moving, stage, hang)
            move.say()
            async with asyncio.timeout(60):
                await come.wait()
            names += await sold(agent, "meanwhile")
    async with opened() as agent:
        await shows(agent, 3)
        await merged(agent, names)
        await shows(agent, 3)
    assert times(cloud) == dict.fromkeys(names, 1)


async def test_no_read_counts_as_in_step_by_topics_of_before(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Move(cloud, AFTER)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async with opened() as agent:
        await merged(agent, await sold(agent, "before"))
        assert (await agent.read(Stock, "s1", "tea", consistency="strong")).value["on_hand"] == 1  # type: ignore[arg-type]
        with monkeypatch.context() as patched:
            patched.setattr(Moving, "_pack", hang)
            move.close()
            move.lay_anew(agent.status()["replica"])
            move.say()
            await told(agent, "retail goes on with 7 partitions")
            with pytest.raises(Offline, match="goes on in other topics"):
                await agent.read(Stock, "s1", "tea", consistency="strong")  # type: ignore[arg-type]
            assert await on_hand(agent, "s1") == 1
    async with opened() as agent:
        move.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 10)

        async def strong() -> bool:
            try:
                return bool((await agent.read(Stock, "s1", "tea", consistency="strong")).value["on_hand"] == 11)  # type: ignore[arg-type]
            except EdgeError:
                return False

        await until(strong)


async def test_no_read_counts_as_in_step_before_the_operators_lines_are_read(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was away may have read the topics of before to their ends long before he hears that they were left."""
    move, lines = Move(cloud, AFTER), asyncio.Event()
    async with opened() as agent:
        await merged(agent, await sold(agent, "before"))
        old = agent.status()["replica"]
    move.close()
    move.lay_anew(old)
    move.say()
    take = Intake._take_lines

    async def late(intake: Intake, chunk: Chunk) -> None:
        await lines.wait()
        await take(intake, chunk)

    monkeypatch.setattr(Intake, "_take_lines", late)
    async with opened() as agent:
        await until(lambda: agent.status()["connection"] == "ONLINE")
        for promise in ({"consistency": "strong"}, {"max_age": 0.001}):
            with pytest.raises(TimedOut):
                await agent.read(Stock, "s1", "tea", seconds=0.5, **promise)  # type: ignore[arg-type]
        assert route.asked, "the broker was asked"
        lines.set()

        async def strong() -> bool:
            try:
                return bool((await agent.read(Stock, "s1", "tea", consistency="strong")).value["on_hand"] == 1)  # type: ignore[arg-type]
            except EdgeError:
                return False

        await until(strong)
        assert "retail.p2/0" in str(agent.status()["scopes"])


async def test_a_group_that_nobody_ends_at_the_end_of_a_closed_log_holds_up_nobody(
    opened: Callable[[], EdgeAgent], cloud: Cloud
) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        old = agent.status()["replica"]
        names = await sold(agent, "before")
        await merged(agent, names)
        move.close()
        for scope in SCOPES:  # a worker that had been suspended says once more what it knew, and is gone
            document = DocumentId("Stock", scope, "tea")
            place = partition_of(scope, PARTITIONS)
            torn = groups.headers(len(cloud.of(topics.ops_topic("retail"), place)) - 1, last=False)
            cloud.publish(
                topics.state_topic("retail"), place, document_key(document), cloud.state_value(document), torn
            )
        move.lay_anew(old)
        move.say()
        names += await sold(agent, "said")
        await merged(agent, names)
        await shows(agent, 2)
    assert times(cloud) == dict.fromkeys(names, 1)


async def test_a_move_that_is_taken_back_lets_go_what_waited(opened: Callable[[], EdgeAgent], cloud: Cloud) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        move.announce()
        await told(agent, "is being given 7 partitions")
        names = await sold(agent, "announced")
        assert not times(cloud)
        move.take_back()
        await merged(agent, names)
        assert agent.status()["problem"] == "" and len(agent.status()["lives"]) == 1


async def test_what_waited_in_the_closed_log_comes_along_once(opened: Callable[[], EdgeAgent], cloud: Cloud) -> None:
    move = Move(cloud, AFTER)
    async with opened() as agent:
        old = agent.status()["replica"]
        cloud.parks.add("waits/s1")
        names = await sold(agent, "waits")
        await until(lambda: agent.command("waits/s1").status == "parked")
        await merged(agent, names[1:])
        move.announce()
        (parked,) = (c for batch in cloud.batches for c in batch.commands if c.id == "waits/s1")
        move.say_closed(old, parked)
        move.close()
        move.lay_anew(old)
        cloud.parks.clear()
        move.say()
        await merged(agent, names)
        await shows(agent, 1)
        assert times(cloud) == Counter(dict.fromkeys(names, 1)) + Counter(["waits/s1"]), "parked, and merged"


async def test_a_folder_that_has_said_nothing_yet_follows_without_what_is_left_there(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("nothing there is an answer to it")

    monkeypatch.setattr(Moving, "_read_to_the_end", never)
    move = Move(cloud, AFTER)
    move.close()
    move.lay_anew()
    cloud.states.clear()
    move.say()
    async with opened() as agent:

        def there() -> bool:
            try:
                return "retail.p2/0" in str(agent.status()["scopes"])
            except NotReady:
                return False

        await until(there)
        names = await sold(agent, "the first")
        await merged(agent, names)
        await shows(agent, 1)
    assert times(cloud) == dict.fromkeys(names, 1)


async def test_what_an_older_release_takes_in_a_folder_that_has_followed_is_told_and_salvaged(
    opened: Callable[[], EdgeAgent],
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    """One that keeps no count of partitions opens it, and goes on under the name of before."""
    move = Move(cloud, AFTER)
    async with opened() as agent:
        move.announce()
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        await merged(agent, await sold(agent, "said"))
        assert agent.status()["problem"] == ""
        store = agent._store
        row = next(value for key, value in store.scan(Family.CONFIRMED, keys.space_prefix(move.name)))
        chain = {(Family.META, keys.chain_key("retail", 1)): Chain("store-1.older", number=2).encode()}
        at = keys.confirmed_prefix("retail", 1, 0) + document_key(DocumentId("Stock", "s1", "tea"))
        store.write({**chain, (Family.CONFIRMED, at): row}, sync=True)
    async with opened() as agent:
        await told(agent, "an older release has written in this folder")
    saved = salvaged(config, tmp_path / "saved")
    async with EdgeAgent(app, saved, route=route, ids=ids) as agent:
        await until(lambda: not agent.status()["problem"] and not agent.status()["read_again"])
        await shows(agent, 1)


@pytest.mark.parametrize(
    "lost", [(keys.move_key("retail"),), (keys.move_key("retail"), keys.COUNTS)], ids=["move", "both"]
)
async def test_a_damaged_folder_that_has_lost_where_its_space_went_follows_again_and_nothing_counts_twice(
    opened: Callable[[], EdgeAgent],
    config: EdgeConfig,
    route: CloudRoute,
    ids: FixedIds,
    cloud: Cloud,
    tmp_path: Path,
    lost: tuple[bytes, ...],
) -> None:
    """What it has sent where the space goes on is not asked about any more, so that is for a person."""
    move = Move(cloud, AFTER)
    async with opened() as agent:
        move.announce()
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        names = await sold(agent, "merged")
        await merged(agent, names)
        route.merging = False
        before = len(route.sent)
        sent = await sold(agent, "sent")
        await until(lambda: sum(len(batch.lsns) for batch in route.sent[before:]) == len(sent))
        route.cut()
        unsent = await sold(agent, "unsent")
    for batch in route.sent[before:]:
        cloud.merge(batch)
    store = RocksStore(config.data_dir)
    store.write({(Family.META, key): None for key in lost}, sync=True)
    store.close()
    saved = salvaged(config, tmp_path / "saved")
    route.merging = True
    route.mend()
    async with EdgeAgent(app, saved, route=route, ids=ids) as agent:
        await until(lambda: [life["why"] for life in lives(agent)][-1:] == ["moved"] or not lives(agent))
        await until(lambda: bool(lives(agent)) and not agent.status()["problem"] and not agent.status()["pending"])
        assert times(cloud) == dict.fromkeys([*names, *sent], 1)
        assert {one.command.id for one in agent.review()} == {*sent, *unsent}
        await shows(agent, 2)
        for name in unsent:
            await agent.review_apply(name)
        await merged(agent, unsent)
        await shows(agent, 3)
