"""Running a console: an agent of its own, the views over it, and the pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn
from confluent_kafka import KafkaException

from driftlog_console.app import build
from driftlog_console.at_devices import AtDevices
from driftlog_console.claims import Claims
from driftlog_console.config import ConsoleConfig
from driftlog_console.deciding import Deciding
from driftlog_console.desk import Desk, now_ms
from driftlog_console.errors import NothingToShow, SpaceMoved
from driftlog_console.fleet import FleetView
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
from driftlog_console.notices.memory import NoticeMemory
from driftlog_console.notices.telling import Telling
from driftlog_console.notices.webhook import Webhook
from driftlog_console.people import People
from driftlog_console.scopes import ScopesSeen
from driftlog_console.sessions import Sessions
from driftlog_console.signals import Signals
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.collector import spare
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api.access import LOOPBACK
from driftlog_edge.http_api.listening import bound
from driftlog_edge.http_api.server import Server, settings_of
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import AppContract
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry, SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.asking_again import while_refused_with
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.claims import write_claim
from driftlog_streams.reading.merge_lag import LagReader
from driftlog_streams.reading.topic_reading import MOVING
from driftlog_streams.reading.workers import WorkerReader
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.pinning import given_root

log = structlog.get_logger()

LOOK_SECONDS = 1.0
SCOPES_SECONDS = 15.0
"""How often new scopes are looked for, where none were named."""


async def serve(contract: AppContract, config: ConsoleConfig, started: Callable[[str], None]) -> None:
    """Run until told to stop; `started` is told the address.

    Raises `PortTaken`, `NothingToShow`, `SpaceMoved`, and what an agent's start raises.
    """
    spare()
    listener = bound(config.http_host, config.http_port, "choose another port with --http-port")
    try:
        seen = None
        if not config.scopes:
            seen = ScopesSeen(config.kafka, {name: space.partitions for name, space in contract.spaces.items()})
            config = config.model_copy(update={"scopes": await _scopes(seen)})
        async with EdgeAgent(contract, config) as agent, desk_of(agent, config) as desk:
            hosts = LOOPBACK | {config.http_host.lower()} | {host.lower() for host in config.http_hosts}
            tls = {"ssl_certfile": config.http_certificate_file, "ssl_keyfile": config.http_key_file}
            server = Server(settings_of(Gate(build(desk), hosts), **tls), desk.signals.close)
            here = agent.present
            tasks = [
                asyncio.create_task(_leave(agent, server)),
                asyncio.create_task(_leave_behind(agent, here, server)),
            ]
            if seen is not None:
                tasks.append(asyncio.create_task(_widen(agent, seen)))
            started(_address(config, listener.getsockname()[1]))
            await server.serve(sockets=[listener])
            for task in tasks:
                task.cancel()
            agent.require_there()
            if agent.present != here:
                raise SpaceMoved(
                    "a space goes on in other topics, with another number of partitions",
                    "start the console again: it reads them then",
                )
    finally:
        listener.close()


@asynccontextmanager
async def desk_of(agent: EdgeAgent, config: ConsoleConfig) -> AsyncIterator[Desk]:
    """What the pages of an agent's console stand on, while it is followed."""
    signals, loop = Signals(), asyncio.get_running_loop()

    def changed(name: str) -> None:
        loop.call_soon_threadsafe(signals.tell, name)

    landings = Landings(config.data_dir, agent)
    inbox = Inbox(agent, lambda: signals.tell("conflicts"), landings.note)
    root = given_root(config.trust.root) or Identity.load(config.identity).root
    spaces = {name: space.partitions for name, space in agent.present.spaces.items()}
    ids = CachedRegistry(config.registry, config.data_dir.with_name(f"{config.data_dir.name}.schemas"), lasting=True)
    fleet = FleetView(config.kafka, ids, spaces, root, changed)
    people, deciding = People(config.data_dir), Deciding(agent)
    memory = GroupMemory(config.data_dir)
    groups = GroupDeciding(memory, agent, deciding, people, config.undo_seconds, now_ms, lambda: signals.tell("groups"))
    held = HeldMemory(config.data_dir)
    holding = Holding(held, agent, deciding, people, config.undo_seconds, now_ms, lambda: signals.tell("conflicts"))
    codecs = RecordCodecs(ids)
    claims = Claims(lambda: agent.identity, fleet, lambda one: write_claim(config.kafka, codecs, one), now_ms)
    history = _history(agent, config, ids, root, changed)
    lags = LagMemory(config.data_dir)

    def merged(space: str) -> int:
        return agent.generations[space].merged

    flow = FlowView(
        LagReader(config.kafka, merged),
        lambda: _places(agent),
        now_ms,
        lambda: changed("flow"),
        lags,
        WorkerReader(config.kafka, merged),
    )
    telling = _telling(inbox, config)
    following = [asyncio.create_task(work) for work in (inbox.follow(), _documents(agent, signals), groups.follow())]
    giving = asyncio.create_task(holding.follow())
    if telling is not None:
        following.append(asyncio.create_task(telling.follow()))
    fleet.start()
    flow.start()
    if history is not None:
        history.start()
    try:
        yield Desk(
            agent=agent,
            kafka=config.kafka,
            batches=BatchCodec(ids),
            inbox=inbox,
            deciding=deciding,
            holding=holding,
            groups=groups,
            landings=landings,
            claims=claims,
            fleet=fleet,
            at_devices=AtDevices(lambda: fleet.seen.members),
            history=history,
            flow=flow,
            telling=telling,
            people=people,
            sessions=Sessions(people, time.monotonic),
            signals=signals,
            silent_seconds=config.silent_seconds,
        )
    finally:
        signals.close()
        holding.close()
        await asyncio.wait([giving])  # it gives what is held, to the agent's log
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        memory.close()
        held.close()
        landings.close()
        if telling is not None:
            telling.memory.close()
        await asyncio.to_thread(fleet.close)
        await asyncio.to_thread(flow.close)
        if history is not None:
            await asyncio.to_thread(history.close)


def _telling(inbox: Inbox, config: ConsoleConfig) -> Telling | None:
    if config.webhook_url is None:
        return None
    hour = 3_600_000
    return Telling(
        NoticeMemory(config.data_dir),
        Webhook(config.webhook_url, config.webhook_secret),
        inbox.open,
        now_ms,
        int(config.webhook_before_hours * hour),
        int(config.webhook_digest_hours * hour),
    )


def _places(agent: EdgeAgent) -> set[Place]:
    """Where the changes of all that is held are logged."""
    spaces, scopes = agent.present.spaces.values(), agent.scopes()
    return {Place(space.name, partition_of(scope, space.partitions)) for space in spaces for scope in scopes}


def _history(
    agent: EdgeAgent, config: ConsoleConfig, ids: SchemaIds, root: bytes | None, changed: Callable[[str], None]
) -> HistoryView | None:
    if not config.history_room:
        return None
    return HistoryView(
        agent.present.spaces,
        ids,
        DeviceView(config.kafka, RecordCodecs(ids), root),
        ChangelogReader(config.kafka),
        config.data_dir / "history",
        agent.scopes,
        lambda: changed("documents"),
        config.history_changes,
        config.history_room,
    )


async def _documents(agent: EdgeAgent, signals: Signals) -> None:
    async for _ in agent.watch():
        signals.tell("documents")


async def _scopes(seen: ScopesSeen) -> list[str]:
    try:
        found = await asyncio.to_thread(while_refused_with(MOVING)(seen.look))
    except (KafkaException, RecoveryFailed) as error:
        raise NothingToShow(
            f"which scopes there are cannot be read: {error}",
            "name them with --scope, or see what `driftlog doctor` says",
        ) from error
    if not found:
        raise NothingToShow("no scope has a document yet", "name those to show with --scope")
    return found


async def _widen(agent: EdgeAgent, seen: ScopesSeen) -> None:
    """Hold what is new."""
    while True:
        await asyncio.sleep(SCOPES_SECONDS)
        try:
            for space, in_force in agent.generations.items():
                seen.read(space, in_force.read, agent.present.spaces[space].partitions)
            found = await asyncio.to_thread(seen.look)
            if set(found) - set(agent.scopes()):
                await agent.hold(sorted({*found, *agent.scopes()}))
        except (KafkaException, RecoveryFailed, EdgeError) as error:
            log.warning("new scopes cannot be looked for", problem=str(error))


async def _leave_behind(agent: EdgeAgent, here: AppContract, server: uvicorn.Server) -> None:
    """The agent follows a space to other topics by itself. What else is read here begins anew with the next process."""
    while agent.present == here:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(LOOK_SECONDS)
    server.should_exit = True


async def _leave(agent: EdgeAgent, server: uvicorn.Server) -> None:
    await agent.wiped()
    server.should_exit = True


def _address(config: ConsoleConfig, port: int) -> str:
    scheme = "http" if config.http_certificate_file is None else "https"
    if scheme == "http" and config.http_host not in LOOPBACK:
        log.warning(
            "other machines reach this console without TLS, tokens in the clear: give it a certificate, or a proxy"
        )
    return f"{scheme}://{config.http_host}:{port}/"
