"""Sealed batches on their way out, one after another, as far as the way is free.

A batch is sent only after the write that sealed it is synced, and with it every command it carries, whatever durability those had: an op
or a number that the cloud has but the device forgot would let the device use it again. In a long queue some are sealed one after another and synced
together: else each would wait for a sync of its own, which takes longer than sealing it. What fails is tried again after a while that grows to five
minutes: the store may have no space, the registry may not be there for the first batch, the client may have no room.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError
from driftlog_edge.link.connectivity import backoff
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Sealed, Shipping, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_schemas import avro_files
from driftlog_schemas.errors import ContractError
from driftlog_schemas.registry import SchemaIds

log = structlog.get_logger()
AHEAD = 8
"""Batches that may wait for one sync: what turns critical meanwhile leaves behind them."""


class Pump:
    """Moves batches from the shipper to the client of the present connection."""

    def __init__(
        self,
        shipper: Shipper,
        committer: Committer,
        ids: SchemaIds,
        shipping: Callable[[], Shipping | None],
    ) -> None:
        self._shipper = shipper
        self._committer = committer
        self._ids = ids
        self._shipping = shipping
        self._envelope_known = False
        self._errand = Errand("pump", self._run)

    @property
    def problem(self) -> str:
        """Why nothing goes out, in words; empty when all is well."""
        return self._errand.problem

    def run(self) -> None:
        """Send what waits; harmless when it is under way already."""
        if self._shipping() is not None:
            self._errand.run()

    def hurry(self) -> None:
        """There is a new connection: send what waits, and do not sit out a pause."""
        self._errand.hurry()
        self.run()

    async def stop(self) -> None:
        """Give up waiting for another attempt."""
        await self._errand.stop()

    async def _run(self) -> None:
        attempt = 0
        while self._shipping() is not None:
            try:
                more = await self._one()
                self._errand.problem, attempt = "", 0  # also when what could not be sent is no longer there
                if not more:
                    return
            except (ContractError, EdgeError, Unreachable) as error:
                attempt += 1
                self._errand.problem = str(error)
                log.warning("cannot ship yet", reason=str(error))
                await self._errand.pause(backoff(attempt, random.random))

    async def _one(self) -> bool:
        if not self._shipper.waiting:
            return False
        if not self._envelope_known:  # the registry is needed once, and it may be slow
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._ids.id_of, avro_files.text("signed_batch"))
            self._envelope_known = True
        shipping = self._shipping()
        run: list[Sealed] = []
        try:
            await self._seal(run)
            if not run:
                await asyncio.sleep(0)  # others run before the next step
                return self._shipper.passing
            while run and shipping is not None and self._shipping() is shipping:
                shipping.send(run[0])
                del run[0]
        finally:
            for batch in run:  # those that no client has, also where the connection is another by now
                self._shipper.failed(batch)
        return True

    async def _seal(self, run: list[Sealed]) -> None:
        """Add the next batches to `run`, in order; return when all are synced. They are in it from when they are sealed."""
        synced: list[asyncio.Future[None]] = []
        while len(run) < AHEAD:
            try:
                found = self._shipper.next()
            except (ContractError, EdgeError):
                if not run:
                    raise
                break  # what is sealed goes first; the next look meets the same again
            if found is None:
                break
            batch, writes = found
            run.append(batch)
            if writes:
                synced.append(self._committer.stage(writes, sync=True))
            await asyncio.sleep(0)  # others run before the next is sealed
        await asyncio.gather(*synced)
