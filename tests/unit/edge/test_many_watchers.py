"""A hundred watchers of one agent, over real connections. One of them reads nothing, and none of the others notices."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httptools
import httpx
import pytest

from benchmarks.agent_process import PROC, resident
from driftlog.client.place import TokenAuth
from driftlog_edge.store.changes import KEPT
from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load.waiting import until

ROOT = Path(__file__).parents[3]
WATCHERS = 100
BEFORE, MEANWHILE, AFTER, MANY = 200, 100, 200, 20_000
"""Writes: before the agent is killed, while nobody watches, when all are back, and many at once."""
SHOWN = BEFORE + MEANWHILE + AFTER
BATCH, MOST_BEHIND = 500, KEPT // 2
"""Writes in a request, and how far the slowest may be behind before the next: who is too far behind is told to read everything again."""
MOST_MIB = 100.0
"""By which an agent may grow while it takes those many, for its store's buffers and what is on its way. Kept for each watcher they would take more than 200."""
PATIENCE_SECONDS = 120.0

PING = re.compile(rb": ping[^\r]*\r\n\r\n")
DOCUMENT = re.compile(rb'"id": "([^"]+)"')
END = b"\r\n\r\n"


class Agent:
    """`driftlog edge run`, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        Identity.create("store-1").save(folder / "id.json")
        self.folder, self.port, self.token = folder, free_port(), folder / "replica/token"
        self.written = 0
        self.start()

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "driftlog", "edge", "run", "--app", "shop:app", "--scope", "s1"),
            *("--data-dir", str(self.folder / "replica"), "--identity", str(self.folder / "id.json")),
            *("--http-port", str(self.port), "--bootstrap", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "examples/retail"), *sys.path])}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
        until(self._serves, "the agent serves", PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    async def write(self, count: int, held_up: Callable[[int], bool] = lambda written: False) -> float:
        """Change so many further documents; the most of its own that the process took meanwhile, in MiB. Where `held_up` it waits."""
        auth, most = TokenAuth(self.token), 0.0
        url = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=url, auth=auth, trust_env=False, timeout=PATIENCE_SECONDS) as api:
            for begin in range(0, count, BATCH):
                names = [name_of(self.written + n) for n in range(min(BATCH, count - begin))]
                calls = [{"name": "receive", "arguments": {"store": "s1", "sku": name, "qty": 1}} for name in names]
                done = (await api.post("/v1/commands", json=calls, params={"timeout": "60s"})).raise_for_status().json()
                assert {one["status"] for one in done} == {200}
                self.written += len(names)
                most = max(most, resident(self.process.pid, "RssAnon"))
                while held_up(self.written):  # noqa: ASYNC110  # a count has no event
                    await asyncio.sleep(0.01)
        return most

    def _serves(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False, timeout=60).is_success
        return False


@contextmanager
def running(folder: Path) -> Iterator[Agent]:
    agent = Agent(folder)
    try:
        yield agent
    finally:
        agent.kill()


def name_of(number: int) -> str:
    """In the order of the numbers, also where a group of changes is told in the order of their keys."""
    return f"a{number:06}"


class Watcher:
    """One that follows the stock of the shop, and comes back with its last id where it was cut off."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.last_id, self.told, self.resyncs = b"", 0, 0
        self.changes = hashlib.blake2b()
        """Of all changes that it was told, in their order, with their ids."""
        self.first: list[str] = []
        """The documents of the first of them."""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""

    async def ask(self, receives: int = 1 << 16) -> None:
        """To be told from here on, or from where it was; `receives`: bytes that are kept for it until it reads."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._agent.port))
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=receives)
        self._parser, self._rest = httptools.HttpResponseParser(self), b""
        last = b"last-event-id: %s\r\n" % self.last_id if self.last_id else b""
        token = self._agent.token.read_text().strip().encode()
        head = b"GET /v1/watch?collection=Stock HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %s\r\n%s\r\n"
        self._writer.write(head % (token, last))

    async def follow(self, enough: Callable[[Watcher], bool]) -> None:
        """Read until there was enough, over the ends of connections."""
        while not enough(self):
            if self._reader is None:
                await self.ask()
            assert self._reader is not None
            with suppress(ConnectionError):
                if data := await self._reader.read(1 << 16):
                    self._parser.feed_data(data)
                    continue
            self.leave()

    def leave(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def on_body(self, body: bytes) -> None:
        """Some of the stream; called by the parser."""
        whole, end, self._rest = (self._rest + body).rpartition(END)
        events = whole + end
        if not events:
            return
        if b": ping" in events:
            events = PING.sub(b"", events)
        if (told := events.count(b"\r\nevent: change\r\n")) or b"\r\nevent: resync\r\n" in events:
            self.told += told
            self.resyncs += events.count(b"\r\nevent: resync\r\n")
            self.changes.update(events)
            if len(self.first) < SHOWN:
                self.first += [name.decode() for name in DOCUMENT.findall(events)]
        if b"id: " in events:
            self.last_id = events[events.rindex(b"id: ") + 4 :].partition(b"\r\n")[0]


async def all_told(watchers: list[Watcher], count: int) -> None:
    """Each of so many changes once, and all the same."""
    await asyncio.gather(*(watcher.follow(lambda one: one.told >= count) for watcher in watchers))
    (told,) = {(one.told, one.resyncs, one.changes.digest(), tuple(one.first[:SHOWN])) for one in watchers}
    assert told[:2] == (count, 0)
    assert told[3] == tuple(name_of(number) for number in range(min(count, SHOWN)))


@pytest.mark.slow
@pytest.mark.skipif(not PROC.exists(), reason="memory is read from /proc")
async def test_a_hundred_are_told_each_change_once_over_a_kill_and_one_that_reads_nothing_costs_nothing(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as agent:
        watchers, deaf = [Watcher(agent) for _ in range(WATCHERS - 1)], Watcher(agent)
        async with asyncio.timeout(4 * PATIENCE_SECONDS):
            await asyncio.gather(*(watcher.follow(lambda one: one.last_id != b"") for watcher in watchers))
            await asyncio.gather(agent.write(BEFORE), all_told(watchers, BEFORE))

            agent.kill()
            agent.start()
            await agent.write(MEANWHILE)
            await asyncio.gather(agent.write(AFTER), all_told(watchers, BEFORE + MEANWHILE + AFTER))

            await deaf.ask(receives=4096)
            await deaf.follow(lambda one: one.last_id != b"")
            before = resident(agent.process.pid, "RssAnon")

            def held_up(written: int) -> bool:
                return any(written - watcher.told > MOST_BEHIND for watcher in watchers)

            count = agent.written + MANY
            most, _ = await asyncio.gather(agent.write(MANY, held_up), all_told(watchers, count))
            assert most - before < MOST_MIB, "what a watcher has not read is not kept for it"

            await deaf.follow(lambda one: one.last_id == watchers[0].last_id)
            assert deaf.resyncs >= 1 and deaf.told < MANY, (
                "it was told to read everything again, and goes on from there"
            )
        for watcher in (*watchers, deaf):
            watcher.leave()
