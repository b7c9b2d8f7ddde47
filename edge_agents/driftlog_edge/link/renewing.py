"""The way to a new life: asks for what `outgoing/renewal` must know, then lets it write.

One partition after another, each until it is done; what cannot be had now (no way to the broker, no answer to the batch that ends the old
life) is asked for again after a while that grows, or when news come. That batch goes beside the queue: it is the only one of its life.
Lives that the cloud takes nothing of follow each other ever more slowly (`link/pace`), whatever news come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from driftlog_edge.asking.rerun import FETCH_SECONDS, Bring
from driftlog_edge.errand import Errand
from driftlog_edge.errors import EdgeError, Evicted
from driftlog_edge.link.connectivity import backoff
from driftlog_edge.link.pace import Pace
from driftlog_edge.outgoing.lineage import Lineage
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.ports import Asker, Route, Shipping, Unreachable
from driftlog_edge.store.committer import Committer
from driftlog_edge.turns import in_turns
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
        bring: Bring,
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
        self._bring = bring
        self._sent: dict[tuple[str, int], tuple[Shipping, float]] = {}
        """The client that a partition's first batch was given to last, and when."""
        self._pace = Pace()
        self._errand = Errand("renewing", self._run)

    @property
    def problem(self) -> str:
        """Why a new life waits, in words; empty when none does."""
        return self._errand.problem

    @property
    def due(self) -> bool:
        """Is there a life to renew?"""
        return bool(self._renewal.due)

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
                if not self._renewal.under_way(*place):
                    await self._renew(*place)
                await self._take_along(*place)
                self._errand.problem, attempt = "", 0
            except (EdgeError, ContractError, Unreachable) as error:
                attempt += 1
                self._errand.problem = f"this folder's life in {place[0]}/{place[1]} is over, a new one waits: {error}"
                log.info("a new life waits", space=place[0], partition=place[1], reason=str(error))
                await self._errand.pause(min(LONGEST_PAUSE_SECONDS, backoff(attempt, random.random)))
        self._errand.problem = ""

    async def _renew(self, space: str, partition: int) -> None:
        renewal, place = self._renewal, (space, partition)
        if renewal.early(space, partition):
            raise NotYet("the partition is read again first")
        if wait := self._pace.wait(place, asyncio.get_running_loop().time()):
            raise NotYet(
                f"the cloud has taken nothing of the last {self._pace.in_vain(place)}, "
                f"so the next begins no sooner than in {wait:.0f} s"
            )
        if not renewal.closed(space):
            await self._read_to_the_end(topics.receipts_topic(space), partition)
        if ending := renewal.begin(space, partition):
            await self._committer.stage(ending, sync=True)
        await self._end_the_old_one(space, partition)
        old, span = renewal.ending(space, partition), renewal.unknown(space, partition)
        if span is None:
            known = renewal.known(space, partition, [])
        else:
            await self._read_to_the_end(topics.state_topic(space), partition)  # what the row has forgotten they tell
            known = await asyncio.get_running_loop().run_in_executor(self._threads, self._learn, space, partition, span)
            if renewal.unknown(space, partition) != span or not renewal.over(space, partition):
                raise NotYet("more was written in this folder's name meanwhile")
        self._require(old, space, partition)
        for step in renewal.gathered(space, partition, known):
            await self._write(space, partition, step)
        in_vain = renewal.in_vain(space, partition)
        async with self._committer.turn:
            self._require(old, space, partition)
            begun = await in_turns(renewal.begun(space, partition, known))
            if begun is None:
                raise NotYet("a command was given meanwhile")
            written = self._stage(space, partition, begun)
        await self._done(written)
        self._pace.began(place, in_vain=in_vain, now=asyncio.get_running_loop().time())
        log.warning(
            "this folder was restored, copied or ended elsewhere; it goes on under a new life",
            space=space,
            partition=partition,
            replica=begun.life.replica,
            why=begun.life.why,
        )

    def _require(self, old: str, space: str, partition: int) -> None:
        """Raise `NotYet` if this life has been followed by another meanwhile: what was learnt of it is of no use to that one."""
        if not old or self._renewal.ending(space, partition) != old:
            raise NotYet("all that was open is decided meanwhile, and the newest life goes on")

    def _learn(self, space: str, partition: int, span: tuple[int, int]) -> Lineage:
        """What the chain holds besides our own batches. Blocking: reading it, and a week of batches to be walked through."""
        topic = topics.ops_topic(space)
        values = self._route.history(topic, partition, self._key, *span, READ_SECONDS)
        return self._renewal.known(space, partition, values)

    async def _take_along(self, space: str, partition: int) -> None:
        """All that the old life had promised comes into the new one, some documents at a time."""
        renewal, life = self._renewal, None
        while True:
            for _ in renewal.survey(space, partition):
                await asyncio.sleep(0)
            try:
                async with self._committer.turn:
                    step = await in_turns(renewal.step(space, partition))
                    if step is None:
                        break
                    life = step.life
                    written = self._stage(space, partition, step)
            except Evicted as found:
                # A state with another copy's dots covered what was pending on it, and then it could go.
                await self._bring(found.document, FETCH_SECONDS)
                continue
            await self._done(written)
        for last in renewal.ended(space, partition):
            await self._write(space, partition, last)
        if life is not None:
            log.warning(
                "what the old life had promised has come along",
                space=space,
                partition=partition,
                replica=life.replica,
                rebased=life.rebased,
                review=life.review,
            )

    async def _write(self, space: str, partition: int, step: Rebased) -> None:
        await self._done(self._stage(space, partition, step))

    def _stage(self, space: str, partition: int, step: Rebased) -> asyncio.Future[None]:
        written = self._committer.stage(step.writes, sync=True)
        self._renewal.staged(step)
        return written

    async def _done(self, written: asyncio.Future[None]) -> None:
        await written
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
