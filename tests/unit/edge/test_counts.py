"""An app with another partition count than its topics or its data folder: nothing is sent or read by it, nothing is lost, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import Offline, OtherPartitions
from driftlog_edge.ports import Family
from driftlog_edge.store import counts, keys
from driftlog_edge.store.logged import logged
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import CONTRACT, PARTITIONS, Stock
from tests.unit.edge.waiting import online, until

OTHER = PARTITIONS + 3
SCOPES = ("s1", "s2")
Opened = Callable[[int], EdgeAgent]

pytestmark = pytest.mark.usefixtures("quick_ticks")


def declaring(partitions: int) -> AppContract:
    """The app, had it declared so many."""
    return replace(
        CONTRACT, spaces={**CONTRACT.spaces, "retail": replace(CONTRACT.spaces["retail"], partitions=partitions)}
    )


@pytest.fixture
def opened(config: EdgeConfig, route: CloudRoute, ids: FixedIds) -> Opened:
    """The agent of this test's folder, its app declaring so many partitions."""
    return lambda partitions: EdgeAgent(declaring(partitions), config, route=route, ids=ids)


def kept(config: EdgeConfig) -> dict[tuple[Family, bytes], bytes]:
    """All that the folder holds."""
    store = RocksStore(config.data_dir)
    try:
        return {(family, key): value for family in Family for key, value in store.scan(family, b"")}
    finally:
        store.close()


def lying(config: EdgeConfig) -> set[int]:
    """By which counts the commands that wait lie there."""
    store = RocksStore(config.data_dir)
    try:
        found = [keys.parse_outbox(key) for key, _ in store.scan(Family.OUTBOX, b"")]
        scopes = {lsn: logged(store, lsn).command.scope for *_, lsn in found}
        return {c for _, _, at, lsn in found for c in (PARTITIONS, OTHER) if partition_of(scopes[lsn], c) == at}
    finally:
        store.close()


async def sold(agent: EdgeAgent, count: int = 3) -> None:
    for scope in SCOPES:
        for _ in range(count):
            await agent.run("receive", store=scope, sku="tea", qty=1)


async def on_hand(agent: EdgeAgent, scope: str) -> int:
    found = (await agent.read(Stock, scope, "tea")).value["on_hand"]
    assert isinstance(found, int)
    return found


def merged(cloud: Cloud, scope: str) -> int:
    """How many commands the cloud has merged there."""
    batches = [batch for batch in cloud.batches for command in batch.commands if command.scope == scope]
    assert {batch.partition for batch in batches} <= {partition_of(scope, PARTITIONS)}
    return len(batches)


def test_the_scopes_of_these_tests_move_with_the_count() -> None:
    assert all(partition_of(scope, PARTITIONS) != partition_of(scope, OTHER) for scope in SCOPES)


async def test_where_the_topics_have_another_count_nothing_is_sent_or_read_and_the_problem_says_so(
    opened: Opened, cloud: Cloud, route: CloudRoute
) -> None:
    cloud.write(DocumentId("Stock", "s1", "tea"), "on_hand", "increment", 7)
    async with opened(OTHER) as agent:
        await sold(agent)
        await until(lambda: "partitions" in agent.status()["problem"])
        assert agent.status()["problem"] == (
            f"topic retail.conflicts has {PARTITIONS} partitions, and the app of this agent declares {OTHER}: nothing is sent or read;"
            f" declare partitions={PARTITIONS} for space retail"
        )
        await until(lambda: route.asked_counts > 5)
        assert (agent.status()["connection"], agent.status()["pending"]) == ("OFFLINE", 6)
        assert route.sent == [] and route.looked == 0
        assert await on_hand(agent, "s1") == 3
        with pytest.raises(Offline):
            await agent.read(Stock, "s1", "tea", consistency="strong")


async def test_it_goes_on_by_itself_when_the_topics_have_what_is_declared(
    opened: Opened, cloud: Cloud, route: CloudRoute
) -> None:
    cloud.partitions["retail.ops"] = OTHER
    async with opened(PARTITIONS) as agent:
        await sold(agent)
        await until(lambda: "retail.ops has" in agent.status()["problem"])
        assert route.sent == []
        cloud.partitions.clear()
        await until(lambda: agent.status()["pending"] == 0)
        assert [merged(cloud, scope) for scope in SCOPES] == [3, 3]
        await until(lambda: agent.status()["problem"] == "")


async def test_what_waits_in_a_folder_that_never_met_the_cloud_moves_to_the_declared_count(
    opened: Opened, cloud: Cloud
) -> None:
    async with opened(OTHER) as agent:
        await sold(agent)
        await until(lambda: "partitions" in agent.status()["problem"])
    async with opened(PARTITIONS) as agent:
        await sold(agent, 1)
        await until(lambda: agent.status()["pending"] == 0)
        assert [merged(cloud, scope) for scope in SCOPES] == [4, 4]
        assert [await on_hand(agent, scope) for scope in SCOPES] == [4, 4]
        assert agent.conflicts() == []


async def test_cut_off_while_it_moves_it_goes_on_with_whatever_is_declared_then(
    opened: Opened, cloud: Cloud, config: EdgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(OTHER) as agent:
        await sold(agent)
    monkeypatch.setattr(counts, "AT_ONCE", 1)
    write, left = RocksStore.write, [4]

    def cut(self: RocksStore, writes: dict[tuple[Family, bytes], bytes | None], *, sync: bool) -> None:
        if not left[0]:
            raise SystemError("the power is cut")
        left[0] -= 1
        write(self, writes, sync=sync)

    monkeypatch.setattr(RocksStore, "write", cut)
    with pytest.raises(SystemError):
        async with opened(PARTITIONS):
            pass
    monkeypatch.setattr(RocksStore, "write", write)
    assert lying(config) == {PARTITIONS, OTHER}, "some by either count"
    async with opened(OTHER) as agent:
        assert [await on_hand(agent, scope) for scope in SCOPES] == [3, 3]
    assert lying(config) == {OTHER}
    async with opened(PARTITIONS) as agent:
        await until(lambda: agent.status()["pending"] == 0)
        assert [merged(cloud, scope) for scope in SCOPES] == [3, 3]


async def test_a_folder_that_has_met_the_cloud_is_not_opened_with_another_count(
    opened: Opened, cloud: Cloud, route: CloudRoute, config: EdgeConfig
) -> None:
    async with opened(PARTITIONS) as agent:
        await online(agent)
        await agent.offline()
        await sold(agent)
    before = kept(config)
    with pytest.raises(OtherPartitions, match=f"declares {OTHER} partitions of space retail.* {PARTITIONS} partitions"):
        async with opened(OTHER):
            pass
    assert kept(config) == before
    async with opened(PARTITIONS) as agent:
        await agent.online()
        await until(lambda: agent.status()["pending"] == 0)
        assert [merged(cloud, scope) for scope in SCOPES] == [3, 3]


@pytest.mark.parametrize("pending", [0, 1])
async def test_a_folder_of_a_release_that_kept_no_count_is_known_by_its_rows(
    opened: Opened, route: CloudRoute, config: EdgeConfig, pending: int
) -> None:
    async with opened(PARTITIONS) as agent:
        await sold(agent)
        await until(lambda: agent.status()["pending"] == 0)
        await agent.offline()
        await sold(agent, pending)
    store = RocksStore(config.data_dir)
    store.write({(Family.META, keys.COUNTS): None}, sync=True)
    store.close()
    before = kept(config)
    with pytest.raises(OtherPartitions, match=r"scope s[12] lies in partition"):
        async with opened(OTHER):
            pass
    assert kept(config) == before
    route.up = False
    async with opened(PARTITIONS):
        pass
    with pytest.raises(
        OtherPartitions, match=f"was written with {PARTITIONS} partitions"
    ):  # it was never met since, and was before
        async with opened(OTHER):
            pass
    route.up = True
    async with opened(PARTITIONS) as agent:
        await agent.online()
        await until(lambda: agent.status()["pending"] == 0)


async def test_what_is_moved_stays_under_the_life_that_wrote_it(
    opened: Opened, cloud: Cloud, config: EdgeConfig
) -> None:
    """The folder was given to another device meanwhile, which takes it along under its own name."""
    async with opened(OTHER) as agent:
        await sold(agent)
    Identity.create("store-2").save(config.identity.with_name("other.json"))
    config.identity.with_name("other.json").replace(config.identity)
    async with opened(PARTITIONS) as agent:
        await until(lambda: agent.status()["pending"] == 0)
    assert [merged(cloud, scope) for scope in SCOPES] == [3, 3]
    assert {batch.replica.partition(".")[0] for batch in cloud.batches} == {"store-2"}


async def test_nothing_leaves_a_new_folder_before_the_counts_were_compared(opened: Opened, route: CloudRoute) -> None:
    route.answering = False
    async with opened(PARTITIONS) as agent:
        await sold(agent)
        await until(lambda: route.asked_counts)
        assert route.sent == []
        route.answering = True
        await until(lambda: agent.status()["pending"] == 0)
        route.up = False
        await sold(agent)
    route.up, route.answering, before = True, False, len(route.sent)
    async with opened(PARTITIONS):
        await until(lambda: sum(len(batch.lsns) for batch in route.sent[before:]) == 6)
