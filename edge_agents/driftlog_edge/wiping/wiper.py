"""Carries a wipe out: the keys, then what is open is closed, then the data, then the farewell; begun anew wherever it was cut off.

From the order on nothing is answered any more (`Wiped`). What is left to do is done in a thread, and the farewell is offered until the cloud has it:
only then is the wipe `over` and the process may end for good. An agent that starts on a folder with an order does this and nothing else.

A folder may be given to a new enrolment before the cloud has heard the farewell. Then it is owed: the new agent sends it, beside its own work.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import EdgeError, StoreFailed, Wiped
from driftlog_edge.link.connectivity import backoff
from driftlog_edge.ports import Route, Unreachable
from driftlog_edge.wiping import destruction
from driftlog_edge.wiping.destruction import KEY_IS_GONE, Order
from driftlog_schemas import topics
from driftlog_schemas.errors import ContractError
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry, SchemaIds

log = structlog.get_logger()

TELL_SECONDS = 10.0
AGAIN_CAP_SECONDS = 30.0


class Wiper:
    """The wipe of one data folder, if there is one."""

    def __init__(self, config: EdgeConfig, route: Route, ids: SchemaIds | None) -> None:
        self._config = config
        self._route = route
        self._ids = ids
        self._order: Order | None = None
        self._over = asyncio.Event()
        self._failure: StoreFailed | None = None

    @property
    def ordered(self) -> bool:
        """Is the replica gone, or going?"""
        return self._order is not None

    def require_none(self) -> None:
        """Raise `Wiped` if it is."""
        if self._order is not None:
            raise self.reason()

    def reason(self) -> EdgeError:
        """Why nothing is answered, as the error that says so."""
        if self._failure is not None:
            return self._failure
        return Wiped(
            "this replica was wiped by its operator",
            "for a new one enrol the device again: `driftlog devices enrol`",
        )

    def take_up(self) -> bool:
        """Is there an order of an earlier start? One that a later enrolment has overtaken is ended here.

        Raises `StoreFailed`.
        """
        folder, identity = self._config.data_dir, self._config.identity
        order = destruction.order_in(folder)
        if order is None:
            return False
        if destruction.concerns(order, identity):
            self._order = order
            return True
        for _ in destruction.destroy(folder, identity, order):
            pass
        destruction.lift(folder, order)
        log.warning("the folder of a wiped replica is given to a new one", key=order.farewell.key_id)
        return False

    def order(self, farewell: Farewell) -> None:
        """From now on there is no way back. Raises `StoreFailed`: then nothing has begun."""
        order = Order(farewell)
        destruction.give(self._config.data_dir, order)
        self._order = order
        log.error("this replica is wiped: its operator says so", version=farewell.version, lost=farewell.lost)

    async def run(self, shut: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do what is left to do. `shut` closes what has files open; the keys are gone before it is called."""
        order = self._order
        assert order is not None, "somebody has given or found the order"
        steps = destruction.destroy(self._config.data_dir, self._config.identity, order)
        try:
            await asyncio.to_thread(lambda: next(step for step in steps if step == KEY_IS_GONE))
            if shut is not None:
                await shut()
            await asyncio.to_thread(lambda: list(steps))
        except StoreFailed as error:
            self._failure = error
            log.error("the wipe is not complete; the next start goes on", reason=str(error))
        else:
            log.warning("this replica is erased", replica=order.farewell.replica, told=order.told)
            await self.pay()
            if not order.told:
                await self._tell(order.farewell)
                self._note_told(order)
        self._over.set()

    def _note_told(self, order: Order) -> None:
        try:
            destruction.give(self._config.data_dir, order._replace(told=True))
        except StoreFailed as error:
            log.warning("the next start tells the cloud of the wipe once more", reason=str(error))

    async def pay(self) -> None:
        """Send the farewells of earlier replicas of this folder that the cloud does not have; returns when it has them all."""
        for path, farewell in destruction.owed_in(self._config.data_dir).items():
            await self._tell(farewell)
            try:
                destruction.paid(path)
            except OSError as error:
                log.warning("the next start tells the cloud of an earlier wipe once more", reason=str(error))

    async def over(self) -> None:
        """Return when it is done and told, or cannot be completed."""
        await self._over.wait()

    async def _tell(self, farewell: Farewell) -> None:
        failures = 0
        while True:
            try:
                await asyncio.to_thread(self._deliver, farewell)
                break
            except (ContractError, Unreachable, OSError) as error:  # the last: there is no place for its schemas
                log.info("the cloud does not know of the wipe yet", reason=str(error))
                failures += 1
                await asyncio.sleep(min(AGAIN_CAP_SECONDS, backoff(failures, random.random, 1.0)))
        log.warning("the cloud knows of the wipe", key=farewell.key_id)

    def _deliver(self, farewell: Farewell) -> None:
        with tempfile.TemporaryDirectory() as cache:  # the replica's own is erased
            ids = self._ids or CachedRegistry(self._config.registry, Path(cache))
            value = RecordCodecs(ids).encode_farewell(farewell)
        self._route.deliver(topics.HEARTBEATS, farewell.key, value, TELL_SECONDS)
