"""Sends the fleet its word of this agent when one is due. Nothing depends on it: one that cannot be sent is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from driftlog_edge.link.connectivity import Connection
from driftlog_edge.link.heartbeats import Pulse
from driftlog_edge.ports import Shipping, Unreachable
from driftlog_schemas import avro_files, topics
from driftlog_schemas.errors import ContractError
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()


class Heart:
    """The heartbeats of one agent. `made` gives the next one: its key and value."""

    def __init__(
        self,
        ids: SchemaIds,
        made: Callable[[], tuple[bytes, bytes]],
        shipping: Callable[[], Shipping | None],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._ids = ids
        self._made = made
        self._shipping = shipping
        self._threads = threads
        self._pulse = Pulse()
        self._schema_known = False

    def due(self, now: float, connection: Connection, *, saving: bool) -> bool:
        """Should one be sent now?"""
        return self._pulse.due(now, connection, saving=saving)

    def news(self) -> None:
        """Something has changed that people wait for: do not let them wait for the next one."""
        self._pulse.news()

    async def beat(self, now: float) -> None:
        """Send one."""
        self._pulse.sent(now)
        try:
            if not self._schema_known:  # the registry is needed once, and it may be slow
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._ids.id_of, avro_files.text("heartbeat"))
                self._schema_known = True
            shipping = self._shipping()
            if shipping is None:
                self._pulse.gone()
                return
            shipping.tell(topics.HEARTBEATS, *self._made(), self._pulse.gone)
        except (ContractError, Unreachable) as error:  # there will be a next one
            log.info("no heartbeat", reason=str(error))
            self._pulse.gone()
