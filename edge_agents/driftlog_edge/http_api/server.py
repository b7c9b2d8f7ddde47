"""Serving the API: loopback or a unix socket; ends gracefully on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError
from driftlog_edge.http_api.app import build
from driftlog_schemas.contract import AppContract


class PortTaken(EdgeError):
    """Something else listens there."""


class _Server(uvicorn.Server):
    """uvicorn raises a signal again when it has stopped serving, which would end the process before the agent is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end serving; what comes after is for us to finish."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def serve(contract: AppContract, config: EdgeConfig) -> None:
    """Run an agent and its API until told to stop. Raises `PortTaken` before anything is opened."""
    listener = _listen(config)
    try:
        async with EdgeAgent(contract, config) as agent:
            settings = uvicorn.Config(build(agent), log_config=None, access_log=False, timeout_graceful_shutdown=3)
            await _Server(settings).serve(sockets=[listener])
    finally:
        listener.close()


def _listen(config: EdgeConfig) -> socket.socket:
    if config.http_socket is not None:
        listener = socket.socket(socket.AF_UNIX)
        config.http_socket.unlink(missing_ok=True)
        listener.bind(str(config.http_socket))
        return listener
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.http_host, config.http_port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"{config.http_host}:{config.http_port} cannot be listened on: {error.strerror}",
            "choose another port with --http-port",
        ) from error
    listener.listen(128)  # a second agent must be told now, not when the server starts
    return listener
