"""The way to a new life: asks for what `outgoing/renewal` must know, then lets it write.

One partition after another, each until it is done; what cannot be had now (no way to the broker, no answer to the batch that ends the old
life) is asked for again after a while that grows, or when news come. That batch goes beside the queue: it is the only one of its life.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError
from driftlog_edge.link.connectivity import backoff
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.ports import Asker, Route, Shipping, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_schemas import topics
from driftlog_schemas.errors import ContractError

log = structlog.get_logger()

ASK_SECONDS = 5.0
READ_SECONDS = 30.0
LOOK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 10.0
AGAIN_SECONDS = 30.0
"""How long the answer to a new life's first batch is waited for before it is sent again."""


class NotYet(EdgeError):
    """Something that must be known is not known yet."""

    code = "not_yet"


class Renewing:
    """Renews the chains of one agent, on its loop."""

    def __init__(
        self,
        renewal: Renewal,
        committer: Committer,
        route: Route,
        shipping: Callable[[], Shipping | None],
        asker: Callable[[], Asker | None],
        position: Callable[[str, int], int],
        device_id: str,
        threads: ThreadPoolExecutor,
        renewed: Callable[[], None],
    ) -> None:
        self._renewal = renewal
        self._committer = committer
        self._route = route
        self._shipping = shipping
        self._asker = asker
        self._position = position
        self._key = device_id.encode()
        self._threads = threads
        self._renewed = renewed
        self._sent: dict[tuple[str, int], tuple[Shipping, float]] = {}
        """The client that a partition's first batch was given to last, and when."""
        self._errand = Errand("renewing", self._run)

    @property
    def problem(self) -> str:
        """Why a new life waits, in words; empty when none does."""
        return self._errand.problem

    def run(self) -> None:
        """There may be a life to renew, or news of one."""
        self._errand.hurry()
        if self._renewal.due:
            self._errand.run()

    async def stop(self) -> None:
        """Leave it to the next start."""
        await self._errand.stop()

    async def _run(self) -> None:
        attempt = 0
        while due := self._renewal.due:
            place = due[attempt % len(due)]
            try:
                await self._renew(*place)
                self._errand.problem, attempt = "", 0
            except (EdgeError, ContractError, Unreachable) as error:
                attempt += 1
                self._errand.problem = f"this folder's life in {place[0]}/{place[1]} is over, a new one waits: {error}"
                log.info("a new life waits", space=place[0], partition=place[1], reason=str(error))
                await self._errand.pause(min(LONGEST_PAUSE_SECONDS, backoff(attempt, random.random)))
        self._errand.problem = ""

    async def _renew(self, space: str, partition: int) -> None:
        renewal = self._renewal
        if renewal.early(space, partition):
            raise NotYet("the partition is read again first")
        await self._read_to_the_end(topics.receipts_topic(space), partition)
        if begun := renewal.begin(space, partition):
            await self._committer.stage(begun, sync=True)
        await self._end_the_old_one(space, partition)
        values: list[bytes] = []
        span = renewal.unknown(space, partition)
        if span is not None:
            loop, topic = asyncio.get_running_loop(), topics.ops_topic(space)
            values = await loop.run_in_executor(
                self._threads, self._route.history, topic, partition, self._key, *span, READ_SECONDS
            )
            if renewal.unknown(space, partition) != span or not renewal.over(space, partition):
                raise NotYet("more was written in this folder's name meanwhile")
        # From here to staging nothing may come between.
        rebased = renewal.renew(space, partition, renewal.known(space, partition, values))
        written = self._committer.stage(rebased.writes, sync=True)
        renewal.staged(space, partition, rebased)
        await written
        log.warning(
            "this folder was restored, copied or ended elsewhere; it goes on under a new life",
            space=space,
            partition=partition,
            replica=rebased.life.replica,
            why=rebased.life.why,
            rebased=rebased.life.rebased,
            review=rebased.life.review,
        )
        self._renewed()

    async def _end_the_old_one(self, space: str, partition: int) -> None:
        """Say that the old life is over. Raises `NotYet` until the cloud knows it."""
        if self._renewal.over(space, partition):
            return
        succession = self._renewal.succession(space, partition)
        if succession is not None:
            await self._send(space, partition, succession.body)
        raise NotYet("the cloud does not know yet that the old one is over")

    async def _send(self, space: str, partition: int, body: bytes) -> None:
        """Send a first batch; again only to another client, or when no answer came for a while."""
        now, (sent_to, at) = asyncio.get_running_loop().time(), self._sent.get((space, partition), (None, 0.0))
        if self._shipping() is None or (self._shipping() is sent_to and now - at < AGAIN_SECONDS):
            return
        # The registry may be needed, and it may be slow.
        sealed = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._renewal.sealed, space, partition, body
        )
        shipping = self._shipping()
        if shipping is not None:
            shipping.send(sealed)
            self._sent[space, partition] = shipping, now

    async def _read_to_the_end(self, topic: str, partition: int) -> None:
        """Return when all that the topic holds now was read here."""
        asker = self._asker()
        if asker is None:
            raise NotYet("there is no way to the cloud")
        end = (await asker.ends([(topic, partition)], ASK_SECONDS))[topic, partition]
        try:
            async with asyncio.timeout(READ_SECONDS):
                while self._position(topic, partition) < end:  # noqa: ASYNC110  # moved by the feed, which tells nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise NotYet(f"{topic}[{partition}] is not read to its end") from error
