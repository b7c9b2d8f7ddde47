"""A console without a broker: a real agent beside an in-process cloud, the real pages, and a fleet that a test makes up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog_console.app import build
from driftlog_console.at_devices import AtDevices
from driftlog_console.claims import Claims
from driftlog_console.deciding import Deciding
from driftlog_console.desk import Desk, now_ms
from driftlog_console.fleet import Seen
from driftlog_console.flow import FlowView
from driftlog_console.gate import Gate
from driftlog_console.group_deciding import GroupDeciding
from driftlog_console.group_memory import GroupMemory
from driftlog_console.held_memory import HeldMemory
from driftlog_console.history.view import HistoryView, Place
from driftlog_console.holding import Holding
from driftlog_console.inbox import Inbox
from driftlog_console.lag_memory import LagMemory
from driftlog_console.landings import Landings
from driftlog_console.people import People, Right
from driftlog_console.sessions import Sessions
from driftlog_console.signals import Signals
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.claims import Claim
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_schemas.record_codecs import conflict_id
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_streams.reading.claims import Held
from tests.unit.console.op_log import Lags, OpLog, Workers, history_of
from tests.unit.edge import conftest as edge
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import online, until

ids, identity, cloud, route, config, agent = (
    edge.ids,
    edge.identity,
    edge.cloud,
    edge.route,
    edge.config,
    edge.agent,
)
TEA = DocumentId("Stock", "s1", "tea")
DAY_MS = 86_400_000
UNDO_SECONDS = 0.3
HOST = "http://127.0.0.1:7430"
OURS = {"sec-fetch-site": "same-origin"}


def version(value: Any, replica: str = "till-7.k3f7q2w7", seq: int = 1, **more: Any) -> Version:
    """One write in a conflict."""
    now_ms = time.time_ns() // 1_000_000
    facts: dict[str, Any] = {"hlc": now_ms << 16, "append_ms": now_ms, "command_id": f"c-{replica}-{seq}"}
    return Version(replica, seq, value=value, **(facts | more))


def conflict(document: DocumentId = TEA, place: str = "price", *versions: Version, **more: Any) -> Conflict:
    """Two people have set one price, unless said otherwise."""
    now_ms = time.time_ns() // 1_000_000
    facts: dict[str, Any] = {
        "policy": "review",
        "rule": "register",
        "opened_ms": now_ms,
        "detected_ms": now_ms,
        "deadline_ms": now_ms + 2 * DAY_MS,
        "status": ConflictStatus.OPEN,
    }
    found = versions or (version(420, actor="Anna", seen=3), version(390, "store-2.b2c3d4e5", 2, actor="Bob", seen=1))
    return Conflict(conflict_id(document, place), document, place, tuple(found), **(facts | more))


@dataclass
class Fleet:
    """What `FleetView` would have read."""

    seen: Seen = field(default_factory=Seen)
    looked_again: int = 0
    claims: dict[str, Held] = field(default_factory=dict)
    claims_problem: str = ""
    written: list[Claim] = field(default_factory=list)
    """Claims that everybody was told."""

    def look_again(self) -> None:
        self.looked_again += 1


@dataclass
class Console:
    """What a test works with."""

    desk: Desk
    cloud: Cloud
    people: People
    fleet: Fleet
    app: Any
    log: OpLog
    """What the history is made of: of a space of one partition, whose documents are named as those of the app."""
    lags: Lags
    """What the broker says of how far the workers are, when it is asked."""
    workers: Workers
    """And of who they are."""

    @property
    def history(self) -> HistoryView:
        """Nobody reads the log but a test that says so."""
        assert self.desk.history is not None, "it has one here"
        return self.desk.history

    async def opened(self, *conflicts: Conflict) -> None:
        """They are in the inbox, or as they now are."""
        for one in conflicts:
            self.cloud.publish_conflict(one)

        def there() -> bool:
            known = {line.id: line for line in self.desk.inbox}
            return all(
                one.id in known and self.desk.agent.conflict(one.id) == one and known[one.id].status is one.status
                for one in conflicts
            )

        await until(there)

    def client(self, name: str = "anna", *rights: Right, scopes: tuple[str, ...] = ("*",)) -> httpx.AsyncClient:
        """Somebody with a token, as a program has it."""
        token = self.people.add(name, rights, scopes)
        return self.browser({"authorization": f"Bearer {token}", "accept": "text/html"})

    def browser(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        """Somebody without one."""
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers or {"accept": "text/html"})


@asynccontextmanager
async def beside(agent: EdgeAgent, cloud: Cloud, folder: Path) -> AsyncIterator[Console]:
    """A running console of this agent."""
    signals, fleet, people = Signals(), Fleet(), People(folder)
    deciding, memory, landings = Deciding(agent), GroupMemory(folder), Landings(folder, agent)
    inbox = Inbox(agent, lambda: signals.tell("conflicts"), landings.note)
    groups = GroupDeciding(memory, agent, deciding, people, UNDO_SECONDS, now_ms, lambda: signals.tell("groups"))
    held = HeldMemory(folder)
    holding = Holding(held, agent, deciding, people, 0.0, now_ms, lambda: signals.tell("conflicts"))
    claims = Claims(lambda: agent.identity, fleet, fleet.written.append, now_ms)  # type: ignore[arg-type]  # stands in for it
    log, lags, workers = OpLog(), Lags(), Workers()
    history = history_of(log, folder / "history", lambda: signals.tell("documents"))
    desk = Desk(
        agent=agent,
        kafka=KafkaSettings(),
        batches=BatchCodec(FixedIds()),
        inbox=inbox,
        deciding=deciding,
        holding=holding,
        groups=groups,
        landings=landings,
        claims=claims,
        at_devices=AtDevices(lambda: fleet.seen.members),
        fleet=fleet,  # type: ignore[arg-type]  # stands in for it
        history=history,
        flow=FlowView(
            lags, lambda: {Place("retail", 0)}, now_ms, lambda: signals.tell("flow"), LagMemory(folder), workers
        ),
        telling=None,
        people=people,
        sessions=Sessions(people, time.monotonic),
        signals=signals,
        silent_seconds=3600.0,
    )
    following = [asyncio.create_task(work) for work in (inbox.follow(), groups.follow())]
    giving = asyncio.create_task(holding.follow())
    await online(agent)
    try:
        yield Console(desk, cloud, people, fleet, Gate(build(desk), frozenset({"127.0.0.1"})), log, lags, workers)
    finally:
        holding.close()
        await giving
        held.close()
        desk.flow.close()
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        memory.close()
        history.close()
        landings.close()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Console]:
    """A console with an agent of its own, for who has no fixtures."""
    Identity.create("console").save(folder / "identity.json")
    config = EdgeConfig(data_dir=folder / "data", identity=folder / "identity.json", scopes=["s1", "s2"])
    known = FixedIds()
    merged = Cloud(known)
    async with (
        EdgeAgent(app, config, route=CloudRoute(merged), ids=known) as alone,
        beside(alone, merged, folder / "data") as found,
    ):
        yield found


@pytest.fixture
def log() -> OpLog:
    return OpLog()


@pytest.fixture
def view(log: OpLog, tmp_path: Path) -> Iterator[HistoryView]:
    found = history_of(log, tmp_path / "history")
    yield found
    found.close()


@pytest.fixture
async def console(agent: EdgeAgent, cloud: Cloud, tmp_path: Path) -> AsyncIterator[Console]:
    """A running one that holds the scopes s1 and s2."""
    async with beside(agent, cloud, tmp_path / "data") as found:
        yield found


@pytest.fixture(autouse=True)
def one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the op log of the tests has lies in one."""
    monkeypatch.setattr("driftlog_console.desk.partition_of", lambda scope, partitions: 0)


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What happens now and then happens at once."""
    monkeypatch.setattr("driftlog_edge.link.sync.TICK_SECONDS", 0.01)
    monkeypatch.setattr("driftlog_edge.link.signal.PROBE_SOON_SECONDS", 0.01)
    monkeypatch.setattr("driftlog_edge.link.signal.PROBE_SECONDS", 0.05)
    monkeypatch.setattr("driftlog_edge.link.connectivity.SETTLE_SECONDS", 0.0)
    yield
