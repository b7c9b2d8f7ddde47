"""Sealed batches on their way out, one after another, as far as the way is free.

A batch is sent only after the write that sealed it is synced, and with it every command it carries, whatever durability those had: an op
or a number that the cloud has but the device forgot would let the device use it again. In a long queue the next ones are sealed while the disk syncs the
ones before, and those share the sync that follows: else each would wait for a sync of its own, which takes longer than sealing it. Where nothing else is on its
way, a batch is sealed in the write that makes its commands durable, and waits for no sync of its own. What fails is tried again after a while that grows to five
minutes: the store may have no space, the registry may not be there for the first batch, the client may have no room.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

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
"""Batches that may be sealed and not sent: what turns critical meanwhile leaves behind them."""


class _Ahead(NamedTuple):
    """A batch that is sealed and not sent."""

    batch: Sealed
    synced: asyncio.Future[None] | None
    """The write that sealed it; None of what was sealed before."""


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
        self._along: tuple[Shipping, _Ahead] | None = None
        """A batch that was sealed along with commands, and the client that is to have it."""
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

    def seal_along(self) -> None:
        """A write is about to be synced: seal the next batch in it, if nothing else is on its way."""
        shipping, ahead = self._shipping(), deque[_Ahead]()
        if shipping is None or self._errand.running or not self._envelope_known or not self._shipper.waiting:
            return
        with suppress(ContractError, EdgeError):  # the pump will meet the same, and say so
            if self._seal(ahead):
                self._along = shipping, ahead.popleft()
                self._errand.run()

    async def stop(self) -> None:
        """Give up waiting for another attempt."""
        await self._errand.stop()

    async def _run(self) -> None:
        attempt = 0
        while self._along is not None or self._shipping() is not None:
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
        if self._along is None and not self._shipper.waiting:
            return False
        if not self._envelope_known:  # the registry is needed once, and it may be slow
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._ids.id_of, avro_files.text("signed_batch"))
            self._envelope_known = True
        shipping, ahead = self._shipping(), deque[_Ahead]()
        if self._along is not None:
            (shipping, sealed), self._along = self._along, None
            ahead.append(sealed)
        try:
            found = shipping is not None and await self._move(ahead, shipping)
            await _synced(ahead)
        except (ContractError, EdgeError, Unreachable):
            await _synced(ahead)
            raise
        finally:
            for batch, _ in ahead:  # those that no client has, also where the connection is another by now
                self._shipper.failed(batch)
        if not found:
            await asyncio.sleep(0)  # others run before the next step
        return found or bool(ahead) or self._shipper.passing

    async def _move(self, ahead: deque[_Ahead], shipping: Shipping) -> bool:
        """Seal and send until nothing more can go by this client; was there anything? What is sealed is in `ahead` until the client has it."""
        found, more = False, True
        while self._shipping() is shipping:
            while ahead and (ahead[0].synced is None or ahead[0].synced.done()):
                batch, synced = ahead[0]
                if synced is not None:
                    synced.result()
                shipping.send(batch)
                del ahead[0]
            if more and len(ahead) < AHEAD:
                more = self._seal(ahead)
                found |= more
                await asyncio.sleep(0)  # others run before the next is sealed
            elif ahead:
                await _synced(islice(ahead, 1))
                more = True  # what was delivered meanwhile has made room
            else:
                break
        return found

    def _seal(self, ahead: deque[_Ahead]) -> bool:
        """Add the next batch; was there one?"""
        try:
            found = self._shipper.next()
        except (ContractError, EdgeError):
            if not ahead:
                raise
            return False  # what is sealed goes first; then the next look meets the same again
        if found is None:
            return False
        batch, writes = found
        ahead.append(_Ahead(batch, self._committer.stage(writes, sync=True) if writes else None))
        return True


async def _synced(ahead: Iterable[_Ahead]) -> None:
    """Return when the disk has them, or has refused them: until then none may go, nor go again."""
    if waiting := [synced for _, synced in ahead if synced is not None and not synced.done()]:
        await asyncio.wait(waiting)
