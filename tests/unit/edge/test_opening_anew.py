"""A running agent opens its folder anew where its space goes on: who asks meanwhile is answered, and what has no room on the disk is tried again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from driftlog_edge import EdgeAgent, agent_life, opening
from driftlog_edge.asking.answers import Call
from driftlog_edge.asking.progress import Progress
from driftlog_edge.asking.watch import Change
from driftlog_edge.errors import DiskFull, NotReady, TimedOut
from driftlog_edge.opening_anew import OpeningAnew
from driftlog_edge.power.reading import Power
from driftlog_edge.store import carrying
from driftlog_schemas.identity import DocumentId
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.moved_cloud import Move
from tests.unit.edge.shop import Stock
from tests.unit.edge.test_following_moves import AFTER, SCOPES, merged, shows, sold, times
from tests.unit.edge.test_following_moves import identity as identity  # fixtures
from tests.unit.edge.test_following_moves import opened as opened
from tests.unit.edge.test_registry_line import line as line  # a fixture
from tests.unit.edge.waiting import until

pytestmark = pytest.mark.usefixtures("quick_ticks")


async def test_a_folder_that_cannot_be_carried_yet_is_tried_again_and_then_is_there(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.opening_anew.backoff", lambda *_: 0.01)
    move, tried = Move(cloud, AFTER), list[str]()
    genuine = opening.carried

    def full(*given: Any) -> None:
        tried.append("")
        if len(tried) < 3:
            raise DiskFull("no space left", "free some")
        genuine(*given)

    monkeypatch.setattr(agent_life, "carried", full)
    async with opened() as agent:
        names = await sold(agent, "before")
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        await merged(agent, names)
        assert len(tried) == 3
        await shows(agent, 1)


async def test_a_folder_without_room_is_opened_as_it_is_and_tried_again_less_and_less_often(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, vain, genuine = Move(cloud, AFTER), list[int](), carrying._Carrying.run

    def soon(attempt: int, *_: object) -> float:
        vain.append(attempt)
        return 0.01

    monkeypatch.setattr("driftlog_edge.opening_anew.backoff", soon)

    def full(work: carrying._Carrying) -> None:
        if len(vain) < 3:
            raise DiskFull("no space left", "free some")
        genuine(work)

    monkeypatch.setattr(carrying._Carrying, "run", full)
    async with opened() as agent:
        names = await sold(agent, "before")
        await merged(agent, names)
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        await until(lambda: len(vain) > 1)
        names += await sold(agent, "meanwhile")
        await merged(agent, names)
        assert vain == [1, 2, 3]
        await shows(agent, 2)
    assert times(cloud) == dict.fromkeys(names, 1)


async def test_what_is_asked_meanwhile_is_answered_when_the_folder_is_open(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, genuine, come, go = Move(cloud, AFTER), opening.carried, threading.Event(), threading.Event()

    def slow(*given: Any) -> None:
        come.set()
        assert go.wait(60)
        genuine(*given)

    monkeypatch.setattr(agent_life, "carried", slow)
    async with opened() as agent:
        names = await sold(agent, "before")
        await merged(agent, names)
        waits = await agent.run("receive", command_id="long", store="s1", sku="rum", qty=1)
        move.close()
        move.lay_anew(agent.status()["replica"])
        long = asyncio.create_task(
            agent.run("receive", command_id="behind", store="s2", sku="rum", qty=1, wait="merged")
        )
        move.say()
        await until(come.is_set)
        calls = [Call("receive", {"store": scope, "sku": "tea", "qty": 1}, f"many/{scope}") for scope in SCOPES]
        asked: list[asyncio.Task[Any]] = [
            asyncio.create_task(agent.run_many(calls)),
            asyncio.create_task(agent.run("receive", command_id="one", store="s1", sku="gin", qty=1)),
            asyncio.create_task(agent.read(Stock, "s3", "tea")),  # type: ignore[arg-type]
            asyncio.create_task(agent.page(Stock, "s4")),  # type: ignore[arg-type]
        ]
        with pytest.raises(TimedOut, match="command behind is on the disk"):
            await long
        with pytest.raises(NotReady):
            agent.scopes()
        assert not any(task.done() for task in asked)
        go.set()
        answers: list[Any] = await asyncio.wait_for(asyncio.gather(*asked), 60)
        many, one, read, page = answers
        assert [answer.command_id for answer in many] == [call.command_id for call in calls]
        assert one.command_id == "one" and read.value["on_hand"] in (1, 2) and [id for id, _ in page] == ["tea"]
        await merged(agent, [*names, *(call.command_id for call in calls), "one", "behind", waits.command_id])
        await shows(agent, 2)


async def test_an_agent_that_is_ended_while_it_cannot_be_carried_ends(
    opened: Callable[[], EdgeAgent], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, tried = Move(cloud, AFTER), asyncio.Event()
    loop = asyncio.get_running_loop()

    def full(*_: Any) -> None:
        loop.call_soon_threadsafe(tried.set)
        raise DiskFull("no space left", "free some")

    with monkeypatch.context() as patched:
        patched.setattr(agent_life, "carried", full)
        async with opened() as agent:
            names = await sold(agent, "before")
            await merged(agent, names)
            move.close()
            move.lay_anew(agent.status()["replica"])
            move.say()
            async with asyncio.timeout(60):
                await tried.wait()
            with pytest.raises(NotReady, match="opened"):
                agent.status()
            with pytest.raises(NotReady):
                await agent.run("receive", store="s1", sku="tea", qty=1, seconds=0.05)
            assert agent.damage is None
    async with opened() as agent:
        await until(lambda: agent.status()["connection"] == "ONLINE")
        await shows(agent, 1)


async def test_readers_have_what_they_had_while_where_it_goes_on_is_not_read(
    opened: Callable[[], EdgeAgent], route: CloudRoute, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, genuine = Move(cloud, AFTER), opening.carried

    def cut(*given: Any) -> None:
        genuine(*given)
        route.cut()

    monkeypatch.setattr(agent_life, "carried", cut)
    async with opened() as agent:
        names = await sold(agent, "before")
        await merged(agent, names)
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        await until(lambda: not route.up)
        names += await sold(agent, "there, offline")  # it waits until the folder is open
        await shows(agent, 2)
        assert (
            agent.status()["read_again"]["retail.p2/0"]["why"] == "the space goes on with another number of partitions"
        )
        route.mend()
        await merged(agent, names)
        await until(lambda: not agent.status()["read_again"])
        await shows(agent, 2)


async def test_a_watch_goes_on_over_it_and_so_does_what_was_told(opened: Callable[[], EdgeAgent], cloud: Cloud) -> None:
    move, seen = Move(cloud, AFTER), list[Change]()
    async with opened() as agent:
        names = await sold(agent, "before")
        await merged(agent, names)

        async def watch() -> None:
            async for change in agent.watch(Stock, "s1"):  # type: ignore[arg-type]
                seen.append(change)

        watching = asyncio.create_task(watch())
        agent.set_power(Power(battery_percent=55))
        move.close()
        move.lay_anew(agent.status()["replica"])
        move.say()
        await agent.run("receive", command_id="meanwhile", store="s1", sku="tea", qty=1)
        await merged(agent, ["meanwhile"])
        already = len(seen)
        move.write(DocumentId("Stock", "s1", "rum"), "on_hand", "increment", 1)
        await until(lambda: [change.document for change in seen[already:]].count(DocumentId("Stock", "s1", "rum")) == 1)
        assert not watching.done()
        assert agent.power()["told"]["battery_percent"] == 55
    await asyncio.wait_for(watching, 60)


async def test_who_has_waited_for_as_long_as_he_may_is_not_asked_for_again() -> None:
    """Where the loop's clock is a little late he would be asked for without a pause."""
    asked, free = list[str](), asyncio.Event()

    async def nothing(reason: object = None) -> None: ...

    async def come() -> bool:
        return await free.wait()

    async def ask() -> None:
        asked.append("")
        raise NotReady("the folder is opened anew", "ask again in a moment")

    anew = OpeningAnew(Progress(), nothing, come, nothing)
    anew.entered()
    anew.begin()
    with pytest.raises(NotReady):
        await anew.asked(ask, 0.01)
    assert len(asked) == 1
    free.set()
    await anew.over()
