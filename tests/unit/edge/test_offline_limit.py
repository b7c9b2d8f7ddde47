"""What was written on a device that was away for longer than a collection allows waits for a person, and nothing of it is sent before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from driftlog import App, Counter, Document
from driftlog.errors import DeclarationError
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.asking import overdue
from driftlog_edge.errors import DiskFull, NotFound
from driftlog_edge.link.absence import Absence
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.ports import Source, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.logged import Logged, logged
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock, Replica
from tests.unit.edge.shop import PARTITIONS, app
from tests.unit.edge.waiting import until

DAY = 86_400.0


@pytest.fixture
async def till(config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock) -> AsyncIterator[EdgeAgent]:
    """An agent that was in step a moment ago, and has gone away."""
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        await agent.offline()
        yield agent


def came(cloud: Cloud) -> list[str]:
    """The commands that the cloud has met."""
    return [command.id for batch in cloud.batches for command in batch.commands]


async def back(agent: EdgeAgent) -> None:
    """The way is there again, and nothing waits for it any more."""
    await agent.online()
    await until(lambda: agent.status()["scopes"]["s1"]["age_seconds"] < DAY)
    await until(lambda: agent.status()["pending"] == 0)


async def test_it_waits_for_a_person_who_applies_it_or_drops_it(
    till: EdgeAgent, clock: HandClock, cloud: Cloud
) -> None:
    await till.run("tax", command_id="early", store="s1", name="a", cents=5)
    await till.run("receive", command_id="stock", store="s1", sku="tea", qty=3)
    clock.pass_seconds(8 * DAY)
    await till.run("tax", command_id="late", store="s1", name="b", cents=7)
    await back(till)

    assert came(cloud) == ["stock"], "what has no limit goes as ever"
    assert [one.command.id for one in till.review()] == ["early", "late"]
    for command_id in ("early", "late"):
        answer = till.command(command_id)
        assert (answer.status, answer.code, answer.waiting_for) == ("review", "offline_too_long", "review")
        assert answer.reason == "this device was away for 8.0 d, and Tariff allows 7.0 d; apply it, or drop it"
    with pytest.raises(NotFound):
        await till.read("Tariff", "s1", "a")

    assert (await till.review_drop("late")).status == "rejected"
    await till.review_apply("early")
    await until(lambda: till.command("early").status == "merged")
    assert (await till.read("Tariff", "s1", "a")).value["cents"] == 5
    assert till.review() == []


async def test_who_was_away_for_less_is_merged_plainly_and_so_is_what_comes_after_the_return(
    till: EdgeAgent, clock: HandClock, cloud: Cloud
) -> None:
    await till.run("tax", command_id="short", store="s1", name="a", cents=5)
    clock.pass_seconds(6 * DAY)
    await back(till)
    await till.offline()
    clock.pass_seconds(6 * DAY)
    await till.run("tax", command_id="again", store="s1", name="a", cents=6)
    await back(till)
    assert came(cloud) == ["short", "again"], "twice six days are no thirteen"

    await till.offline()
    clock.pass_seconds(8 * DAY)
    await back(till)
    await till.run("tax", command_id="after", store="s1", name="a", cents=8, wait="merged")
    assert till.review() == []


async def test_what_was_built_on_it_runs_again_without_it(till: EdgeAgent, clock: HandClock, cloud: Cloud) -> None:
    await till.run("receive", command_id="there", store="s1", sku="tea", qty=10)
    await till.run("sell_taxed", command_id="taxed", store="s1", sku="tea", qty=9)
    await till.run("receive", command_id="more", store="s1", sku="tea", qty=1)
    await till.run("receive", command_id="elsewhere", store="s1", sku="milk", qty=1)
    clock.pass_seconds(8 * DAY)
    await back(till)
    assert sorted(came(cloud)) == ["elsewhere", "more", "there"]
    assert [one.command.id for one in till.review()] == ["taxed"]
    assert (await till.read("Stock", "s1", "tea")).value["on_hand"] == 11
    await till.review_apply("taxed")
    await until(lambda: till.command("taxed").status == "merged")
    assert cloud.states[DocumentId("Tariff", "s1", "today")].vector


async def test_it_is_so_over_a_start_in_between(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock, cloud: Cloud
) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
        route.cut()
        await agent.offline()
        await agent.run("tax", command_id="early", store="s1", name="a", cents=5)
    clock.pass_seconds(8 * DAY)
    route.mend()
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await back(agent)
        assert [one.command.id for one in agent.review()] == ["early"]
    assert came(cloud) == []


async def test_what_the_disk_does_not_take_is_kept_back(
    till: EdgeAgent, clock: HandClock, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await till.run("tax", command_id="early", store="s1", name="a", cents=5)
    clock.pass_seconds(8 * DAY)
    write, refused = RocksStore.write, []

    def full(store: RocksStore, writes: Writes, *, sync: bool) -> None:
        if any(key.startswith(keys.REVIEWS) for _, key in writes):
            refused.append(writes)
            raise DiskFull("no space left", "free some")
        write(store, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", full)
    await till.online()
    await until(lambda: refused)
    monkeypatch.undo()
    await till.offline()
    assert came(cloud) == [] and till.command("early").status == "pending"
    await back(till)
    assert [one.command.id for one in till.review()] == ["early"]
    assert came(cloud) == []


class Gate:
    """A shipper that is told where nothing is to be sealed."""

    def shut(self, partitions: frozenset[tuple[str, int]]) -> None:
        self.partitions = partitions


def test_nothing_is_sealed_where_something_has_a_limit_while_there_is_no_way(clock: HandClock) -> None:
    """What is sealed may be in the log, and nobody takes it back."""
    states = [("retail.state", 1), ("audit.state", 0)]
    places = SimpleNamespace(states=states, topics={t: (t.removesuffix(".state"), "state") for t, _ in states})
    gate, journal = Gate(), SimpleNamespace(get=lambda family, key: None)
    freshness = Freshness(states, cast("Any", journal), cast("Any", None), clock)
    rest: Any = None
    absence = Absence(app.contract, cast("Any", places), freshness, cast("Any", gate), rest, rest, rest)

    def shut(*, offline: bool) -> set[tuple[str, int]]:
        absence.look(offline=offline)
        return set(gate.partitions)

    assert shut(offline=False) == set(), "never in step"
    freshness.in_step(states[0], freshness.now())
    assert shut(offline=False) == set()
    assert shut(offline=True) == {("retail", 1)}, "only where something has a limit"
    clock.pass_seconds(7 * DAY)
    assert shut(offline=False) == set(), "just as long as it is allowed"
    clock.pass_seconds(1)
    assert shut(offline=False) == {("retail", 1)}, "until it has come back"
    freshness.in_step(states[0], freshness.now())
    assert shut(offline=False) == set()


def test_what_is_shut_is_not_sealed_and_the_rest_is(lives: Callable[..., Replica]) -> None:
    s1 = partition_of("s1", PARTITIONS)
    other = next(f"s{n}" for n in range(2, 99) if partition_of(f"s{n}", PARTITIONS) != s1)
    replica = lives(scopes=("s1", other))
    replica.do("receive", "shut", store="s1", sku="tea", qty=1)
    replica.do("receive", "open", store=other, sku="tea", qty=1)
    replica.shipper.shut(frozenset({("retail", s1)}))
    assert [sealed.partition for sealed in replica.ship()] == [partition_of(other, PARTITIONS)]
    replica.shipper.shut(frozenset())
    assert [sealed.partition for sealed in replica.ship()] == [s1]


async def test_who_was_never_in_step_was_not_away(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock, cloud: Cloud
) -> None:
    route.up = False
    async with EdgeAgent(app, config, route=route, ids=ids, clock=clock) as agent:
        await agent.run("tax", command_id="first", store="s1", name="a", cents=5)
        clock.pass_seconds(30 * DAY)
        await agent.offline()
        route.mend()
        await agent.online()
        await until(lambda: agent.command("first").status == "merged")
    assert came(cloud) == ["first"]


def test_a_long_queue_of_what_has_no_limit_is_not_looked_through(
    lives: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent before it is known what waits for a person: that must not take the longer the more there is to send."""
    replica = lives()
    for number in range(150):
        replica.do("receive", store="s1", sku=f"tea {number}", qty=1)
    replica.do("tax", "late", store="s1", name="a", cents=5)
    seen: list[str] = []

    def looked_at(source: Source, lsn: int) -> Logged:
        found = logged(source, lsn)
        seen.append(found.command.id)
        return found

    monkeypatch.setattr(overdue, "logged", looked_at)
    steps = overdue.Overdue(replica.again, replica.outbox, replica.journal).steps(
        "retail", partition_of("s1", PARTITIONS), {"Tariff": DAY}, 2 * DAY
    )
    assert sum(step.reviewed for step in steps if step is not None) == 1
    assert seen == ["late"]


async def test_two_reviews_do_not_run_beside_each_other(clock: HandClock) -> None:
    """A connection that begins anew meanwhile asks once more; reviews that share the pace of one might never end."""
    under_way, most = 0, 0

    def steps(*_: object) -> Iterator[None]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(3):
            yield None
        under_way -= 1

    state = ("retail.state", 1)
    places = SimpleNamespace(states=[state], topics={state[0]: ("retail", "state")})
    journal, rest = SimpleNamespace(get=lambda family, key: None), cast("Any", None)
    freshness = Freshness([state], cast("Any", journal), rest, clock)
    freshness.in_step(state, freshness.now())
    clock.pass_seconds(8 * DAY)
    review = cast("Any", SimpleNamespace(steps=steps))
    absence = Absence(app.contract, cast("Any", places), freshness, rest, review, rest, rest)
    both = asyncio.gather(absence.met(), absence.met())
    await asyncio.sleep(0)
    assert absence.reviewing, "so the queue that waits for it does not pass for one that stands still"
    await both
    assert (most, under_way, absence.reviewing) == (1, 0, False)


@pytest.mark.parametrize("limit", ["soon", "-1d", 7])
def test_a_limit_that_is_no_duration_is_refused(limit: str) -> None:
    space = App("shop").space("retail", partitions=1)
    with pytest.raises(DeclarationError, match=r"offline_limit=.*is not a duration"):

        @space.collection(scope="store", id="sku", offline_limit=limit)
        class Goods(Document):
            store: str
            sku: str
            on_hand: Counter
