"""Serving the API: loopback or a unix socket; ends gracefully on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.code_pages import give_back
from driftlog_edge.collector import spare
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api.access import LOOPBACK, Access, Doorkeeper, OnlyTold, token_in, token_of
from driftlog_edge.http_api.app import build
from driftlog_edge.http_api.connections import BoundedProtocol
from driftlog_edge.http_api.heads import Heads
from driftlog_edge.http_api.listening import bound, leave, listen, mark_of
from driftlog_edge.settings_change import set_log_level
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.errors import BadSetting

log = structlog.get_logger()

STARTING_SECONDS = 0.5
"""From serving on, until the first look for the cloud is over, too."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Server(uvicorn.Server):
    """uvicorn raises a signal again when it has stopped serving, which would end the process before the agent is closed.

    `leaving` is called when it is told to end: whoever streams ends its streams. `hung_up` is called on SIGHUP; without it that ends it too.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        leaving: Callable[[], None] = lambda: None,
        hung_up: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._hung_up = hung_up

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End serving."""
        self._leaving()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Those that end serving end it; what comes after is for us to finish."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if number == signal.SIGHUP and self._hung_up is not None:
                loop.add_signal_handler(number, self._hung_up)
            else:
                loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


class _Beside(uvicorn.Server):
    """Serves until the one that handles signals has ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are not for this one."""
        yield


async def serve(
    contract: AppContract,
    config: EdgeConfig,
    during: Callable[[int], AbstractContextManager[None]] = lambda port: nullcontext(),
    reread: Callable[[], EdgeConfig] | None = None,
) -> None:
    """Run an agent and its API until told to stop; `during(port)` is entered while it serves on a port. On SIGHUP `reread` says what the settings are
    now (raises `BadSetting`); without it that stops it too.

    Raises `PortTaken`, `BadSetting` before anything is opened, `Wiped` when the replica was erased.
    """
    spare()
    set_log_level(config.log_level)
    listener, beside = listen(config), None
    try:
        beside = config.metrics_address and bound(*config.metrics_address, "choose another --metrics-address")
    except BaseException:
        listener.close()
        raise
    mark = None if config.http_socket is None else mark_of(config.http_socket)
    try:
        async with EdgeAgent(contract, config) as agent:
            # A folder that is erased gets no new token, and there is nothing to keep from anybody.
            access = Access() if agent.gone else _access(config)
            api = build(agent)
            hung_up = None if reread is None else partial(_read_again, agent, reread)
            server = Server(settings_of(Doorkeeper(api, access)), hung_up=hung_up)
            serving = nullcontext() if config.http_socket is not None else during(listener.getsockname()[1])
            with server.capture_signals(), serving:  # who is told that it serves may tell it to end
                asyncio.get_running_loop().call_later(STARTING_SECONDS, give_back)
                leaving = asyncio.create_task(_leave(agent, server))
                async with _told(api, beside):
                    await server.serve(sockets=[listener])
                leaving.cancel()
            agent.require_there()
    finally:
        listener.close()
        if beside is not None:
            beside.close()
        if config.http_socket is not None:
            leave(config.http_socket, mark)


def _read_again(agent: EdgeAgent, reread: Callable[[], EdgeConfig]) -> None:
    try:
        agent.reread_settings(reread())
    except (BadSetting, EdgeError) as error:
        log.error("the settings stay as they were", reason=str(error), remedy=error.remedy)
    except InvalidInput as error:
        log.error("the settings stay as they were", reason=f"setting {error.field}: {error.message}")


@asynccontextmanager
async def _told(api: ASGIApp, listener: socket.socket | None) -> AsyncIterator[None]:
    """While this lasts, who asks there is told how the agent is, and nothing else."""
    if listener is None:
        yield
        return
    server = _Beside(settings_of(OnlyTold(api)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def settings_of(app: ASGIApp, **more: Any) -> uvicorn.Config:
    """How an API of ours is served."""
    return uvicorn.Config(
        Heads(app),
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
        **more,
    )


async def _leave(agent: EdgeAgent, server: uvicorn.Server) -> None:
    await agent.wiped()
    server.should_exit = True


def _access(config: EdgeConfig) -> Access:
    if config.http_socket is not None:
        return Access()
    token = token_of(config.data_dir) if config.http_token_file is None else token_in(config.http_token_file)
    return Access(token, LOOPBACK | {config.http_host.lower()} | {host.lower() for host in config.http_hosts})
