"""Commands a second over the agent's HTTP API, beside the same requests to a route that does nothing.

The agent is a process of its own, served as `driftlog edge` serves it, without a cloud, durability `os`; so what is measured is the way of a request:
socket, parsing, checks, the command, its write, the answer. The baseline is the bare framework: uvicorn and a FastAPI route that takes
the same body and answers a constant. Callers keep their connections, as an application's client does, and wait for each answer.
`processor` is the server's processor time for a request, which others on the machine do not change.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI

from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_least, ratio_at_most
from benchmarks.processor_time import cpu_seconds
from benchmarks.quiet import quiet
from driftlog_edge import EdgeConfig
from driftlog_edge.http_api.access import token_of
from driftlog_edge.http_api.server import serve
from driftlog_schemas.signing import Identity
from tests.load.app import declare

CALLERS = (1, 64)
COMMANDS = 4_000
QUICK_COMMANDS = 200
DOCUMENTS = 500
START_SECONDS = 30.0
AIM = 0.2

BODY = {"place": "s1", "item": "item-0", "times": 1}


def _edge(folder: Path, told: Connection) -> None:
    """An agent's process: says on which port it serves."""
    quiet()
    identity = folder / "identity.json"
    Identity.create("store-1").save(identity)
    config = EdgeConfig(
        data_dir=folder / "replica",
        identity=identity,
        scopes=["s1"],
        bootstrap="127.0.0.1:1",
        registry="http://127.0.0.1:1",
        http_port=0,
        durability="os",
    )

    def during(port: int) -> AbstractContextManager[None]:
        told.send((port, token_of(config.data_dir)))
        return nullcontext()

    asyncio.run(serve(declare("http").contract, config, during))


def _bare(folder: Path, told: Connection) -> None:
    """The framework alone."""
    api = FastAPI()

    @api.post("/v1/commands/hit")
    async def hit(arguments: Annotated[dict[str, Any], Body(default_factory=dict)]) -> dict[str, Any]:
        return {"status": "pending", "result": 1}

    async def run() -> None:
        server = uvicorn.Server(uvicorn.Config(api, port=0, log_config=None))
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
        told.send((server.servers[0].sockets[0].getsockname()[1], ""))
        await running

    asyncio.run(run())


class _Served:
    """A server process, and requests to it."""

    def __init__(self, run: Callable[[Path, Connection], None], folder: Path) -> None:
        folder.mkdir()
        ours, theirs = multiprocessing.Pipe()
        self._told = ours
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=run, args=(folder, theirs), daemon=True)

    def __enter__(self) -> _Served:
        self._process.start()
        if not self._told.poll(START_SECONDS):
            raise TimeoutError("the server did not start")
        self._port, self._token = self._told.recv()
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.terminate()
        self._process.join(START_SECONDS)
        self._process.kill()

    def rate(self, callers: int, commands: int) -> Samples:
        """Answered requests a second."""
        return [asyncio.run(self._round(callers, commands))]

    def processor_time(self, callers: int, commands: int) -> Samples:
        """Microseconds that the server takes for a request."""
        pid = self._process.pid
        assert pid is not None, "it was started"
        before = cpu_seconds([pid])
        asyncio.run(self._round(callers, commands))
        return [(cpu_seconds([pid]) - before) / commands * 1e6]

    async def _round(self, callers: int, commands: int) -> float:
        left = iter(range(commands))
        begun = time.perf_counter()
        await asyncio.gather(*(self._caller(left) for _ in range(callers)))
        return commands / (time.perf_counter() - begun)

    async def _caller(self, left: Iterator[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for number in left:
                body = json.dumps({**BODY, "item": f"item-{number % DOCUMENTS}"}).encode()
                writer.write(self._head(len(body)) + body)
                status = await reader.readline()
                length = 0
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                answer = await reader.readexactly(length)
                if b" 200 " not in status:
                    raise RuntimeError(f"{status!r} {answer!r}")
        finally:
            writer.close()

    def _head(self, length: int) -> bytes:
        token = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        return (
            f"POST /v1/commands/hit HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{token}"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


@contextmanager
def _asking(measure: Callable[[_Served, int, int], Samples], callers: int, ground: Ground) -> Iterator[Sides]:
    commands = QUICK_COMMANDS if ground.quick else COMMANDS
    with _Served(_edge, ground.folder / "edge") as edge, _Served(_bare, ground.folder / "bare") as bare:
        yield Sides(
            partial(measure, edge, callers, commands), partial(measure, bare, callers, commands), {"callers": callers}
        )


def _cases(callers: int) -> Iterator[Case]:
    baseline = "an empty route"
    rate: Callable[[Ground], AbstractContextManager[Sides]] = partial(_asking, _Served.rate, callers)
    time: Callable[[Ground], AbstractContextManager[Sides]] = partial(_asking, _Served.processor_time, callers)
    yield Case(f"callers={callers}", "commands/s", rate, baseline, ratio_at_least(AIM), rounds=5)
    yield Case(f"processor/callers={callers}", "us", time, baseline, ratio_at_most(1 / AIM), rounds=5)


CASES: Sequence[Case] = [case for callers in CALLERS for case in _cases(callers)]
