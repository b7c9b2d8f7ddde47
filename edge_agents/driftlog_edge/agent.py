"""The edge agent: a replica, its conversation with the cloud, and what an application asks of it.

    async with EdgeAgent(app, config) as edge:
        await edge.run("sell", store="s1", sku="tea", qty=1)

Every write is local first and answered when durable; every read says how fresh it is. One loop runs everything; the disk and the
network have threads of their own. What the parts do is theirs (`assembly` puts them together); here is what they do for a caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from driftlog_crdt import covers
from driftlog_edge.agent_decisions import AgentDecisions
from driftlog_edge.asking import pages
from driftlog_edge.asking.answers import (
    DEFAULT_TIMEOUT,
    MAX_CALLS,
    Answer,
    Call,
    Consistency,
    Durability,
    Merged,
    Page,
    Reading,
    Wait,
)
from driftlog_edge.asking.executor import Executed
from driftlog_edge.asking.watch import Change, Passed, only_changes
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import NotReady
from driftlog_edge.power.reading import Power
from driftlog_schemas import topics
from driftlog_schemas.contract import DocumentClass, InvalidInput, Json
from driftlog_schemas.generations import InForce
from driftlog_schemas.identity import DocumentId

__all__ = ["Answer", "Call", "Consistency", "EdgeAgent", "Reading", "Wait"]


class EdgeAgent(AgentDecisions):
    """One device's replica. `route`, `ids` and `clock` stand in for Kafka, the registry and the device's clock."""

    # -- writes

    async def run(
        self,
        command: str,
        /,
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
        **arguments: Any,
    ) -> Answer:
        """Run a declared command. Arguments named like an option of this method go through `run_with`."""
        return await self.run_with(
            command,
            arguments,
            command_id=command_id,
            wait=wait,
            durability=durability,
            seconds=seconds,
            session=session,
            actor=actor,
        )

    async def run_with(
        self,
        command: str,
        arguments: Mapping[str, Any],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Run a declared command.

        `wait`: answered when it is on disk, shipped, or merged. `durability` for this command alone: `os` answers before the
        fsync, so a power cut (not a crash of the process) may take it back; it is never sent before it is durable.

        Raises:
            InvalidInput, Refused, AlgebraError, OutboxFull, DiskFull, Evicted: nothing has changed.
            TimedOut: not shipped or merged in time; the write stands and its status can be asked. Not on the disk in time: with a
                `command_id` it may come to stand yet, without one nothing has changed.
        """
        return await self._anew.asked(
            lambda: self._submission.take(
                lambda: self._executor.run(command, arguments, command_id, actor), wait, seconds, session, durability
            ),
            seconds,
        )

    async def run_many(
        self,
        calls: Sequence[Call],
        *,
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
    ) -> list[Answer | Exception]:
        """Run declared commands one after another, at most 1,000. Each has the answer that `run_with` would give it, or the error that it would
        raise, in the order in which they were given; what is refused changes nothing for the others.

        Raises:
            InvalidInput: too many; none has run.
        """
        if len(calls) > MAX_CALLS:
            raise InvalidInput(
                "commands", f"{len(calls)} commands, at most {MAX_CALLS} at once; give the rest in another call"
            )
        answers: dict[int, Answer | Exception] = {}
        left = list(range(len(calls)))

        async def ask() -> None:
            executes = [partial(self._execute, calls[number]) for number in left]
            some = await self._submission.take_all(executes, wait, seconds, session, durability)
            answers.update(zip(left, some, strict=True))
            left[:] = [number for number in left if isinstance(answers[number], NotReady)]
            if left:
                raise cast("NotReady", answers[left[0]])

        try:
            await self._anew.asked(ask, seconds)
        except NotReady:
            if not answers:
                raise
        return [answers[number] for number in range(len(calls))]

    def _execute(self, call: Call) -> Executed:
        return self._executor.run(call.command, call.arguments, call.command_id, call.actor)

    async def write(
        self,
        document: DocumentId,
        changes: Sequence[tuple[str, str, Sequence[Json]]],
        *,
        command_id: str = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        seconds: float = DEFAULT_TIMEOUT,
        session: str = "",
        actor: str = "",
    ) -> Answer:
        """Change one document without a declared command. Raises like `run_with`."""
        return await self._anew.asked(
            lambda: self._submission.take(
                lambda: self._executor.write(document, changes, command_id, actor), wait, seconds, session, durability
            ),
            seconds,
        )

    def command(self, command_id: str, session: str = "") -> Answer:
        """What became of a command. Raises `NotFound`."""
        return self._submission.answer(command_id, session)

    # -- reads

    async def read(
        self,
        kind: type[DocumentClass] | str,
        scope: str,
        id: str,
        *,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: float | None = None,
        seconds: float = DEFAULT_TIMEOUT,
    ) -> Reading:
        """One document.

        `eventual` answers from the replica at once; `causal` waits until it has all that the session has seen; `strong`
        waits until it has all that the cloud had merged when asked, own writes included. `max_age` in seconds.

        Raises:
            NotFound, Deleted, InvalidInput
            Evicted: it made room on the disk, and there is no way to fetch it again.
            Offline: a strong read without the cloud, or data older than `max_age` and no way to newer.
            TimedOut: not in `seconds`.
        """
        document = DocumentId(self._collection(kind), scope, id)
        return await self._anew.asked(
            lambda: self._reader.read(document, consistency, session, max_age, seconds), seconds
        )

    async def page(
        self, kind: type[DocumentClass] | str, scope: str, limit: int = 100, after: str = ""
    ) -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`; deleted and evicted ones are passed over."""
        collection = self._collection(kind)
        read = await self._anew.asked(lambda: self._reader.page(collection, scope, limit, after), DEFAULT_TIMEOUT)
        return read.documents

    async def bounded_page(
        self, kind: type[DocumentClass] | str, scope: str, limit: int = 100, after: str = ""
    ) -> Page:
        """A `page` that ends earlier where its documents are large, for who makes one answer of it: whether there may be more, and how many it has
        passed over because they are evicted."""
        collection = self._collection(kind)
        return await self._anew.asked(
            lambda: self._reader.page(collection, scope, limit, after, pages.PAGE_BYTES), DEFAULT_TIMEOUT
        )

    def watch(
        self,
        kind: type[DocumentClass] | str = "",
        scope: str = "",
        last_id: str = "",
        seconds: float | None = None,
    ) -> AsyncIterator[Change]:
        """Changes of a collection and scope (empty for all), from now or after the event `last_id`; for so long, or for ever.

        Raises `NotHeld`.
        """
        return only_changes(self.watch_events(kind, scope, last_id, seconds))

    def watch_events(
        self, kind: type[DocumentClass] | str, scope: str, last_id: str, seconds: float | None
    ) -> AsyncIterator[list[Change | Passed]]:
        """The same, as many at once as there are, for who keeps the id of the last event: it is told too that nothing wanted has changed, where much else has."""
        collection = self._watchable(kind, scope)
        return self._events(collection, scope, last_id or self.watchers.now, seconds)

    async def _events(
        self, collection: str, scope: str, last_id: str, seconds: float | None
    ) -> AsyncIterator[list[Change | Passed]]:
        """One watch, also over an opening of the folder while it lasts."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while True:
            watchers = self.watchers
            async for events in watchers.events(collection, scope, last_id, None if end is None else end - loop.time()):
                last_id = events[-1].id
                yield events
            if watchers is self.watchers or self.gone or not await self._anew.over():
                return

    def _watchable(self, kind: type[DocumentClass] | str, scope: str) -> str:
        self.require_there()
        if scope:
            self._reader.require_held(scope)
        return self._collection(kind) if kind else ""

    def _collection(self, kind: type[DocumentClass] | str) -> str:
        return self.contract.collection(kind if isinstance(kind, str) else kind.__driftlog__.name).name

    def merged_by(self, document: DocumentId, replica: str, seq: int) -> Merged | None:
        """How far this replica has read the states by now, where the cloud has merged that write of the document as far as it knows; else None."""
        vector = self._views.confirmed_vector(document)
        if vector is None or not covers(vector, replica, seq):
            return None
        space, partition = self._views.generations.place(document.collection, document.scope)
        cursor = self._sync.places.cursor(topics.state_topic(space), partition)
        return Merged(f"{space}/{partition}", cursor.offset, cursor.topic_id)

    @property
    def generations(self) -> Mapping[str, InForce]:
        """Of each space which generations of its read model are in force, as far as the registry was read."""
        return self._sync.registry.generations

    # -- scopes

    def scopes(self) -> list[str]:
        """The scopes that this replica holds."""
        return list(self._holdings)

    async def hold(self, scopes: Sequence[str], *, seconds: float = DEFAULT_TIMEOUT) -> list[str]:
        """Hold these scopes from now on: new ones are fetched, left ones go from the disk.

        Raises:
            InvalidInput: none, or a name that cannot be one.
            Unconfirmed: commands in a scope that would be left are not confirmed by the cloud.
            TimedOut: not in `seconds`. It goes on unless it says that nothing has changed, and `scopes` tells what it has come to.
        """
        await self._lasting.run("the change of scopes", partial(self._scope_change.hold, scopes), seconds)
        return self.scopes()

    # -- power

    def power(self) -> dict[str, Any]:
        """What is known of power and network, and what follows from it."""
        return self._sync.power.facts()

    def set_power(self, power: Power) -> dict[str, Any]:
        """Tell it. It stands above what the device's own source says, for `power.valid_seconds`; a fact that is None is not told any more."""
        self._sync.power.tell(power)
        self._power = power, self._clock.monotonic()
        return self.power()

    # -- settings

    def settings(self) -> dict[str, Any]:
        """Those that may change while this runs, as they are now."""
        return self._settings.shown()

    def change_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Go by these until the agent ends; what they do not name stays. Raises `InvalidInput`: nothing has changed."""
        self.config = self._settings.change(given)
        return self.settings()

    def reread_settings(self, found: EdgeConfig) -> None:
        """Go by these as far as they may change while this runs; the others are told in the log. Raises `InvalidInput`: nothing has changed."""
        self.config = self._settings.reread(found)

    # -- status

    async def tidy(self) -> None:
        """Forget now what is done and older than `keep_hours`; it happens by itself every minute."""
        await self._housekeeping.tidy()

    async def rotate_data_key(self) -> dict[str, Any]:
        """Encrypt with another data key from now on; what is known of it then. What is stored is written anew in the background.

        Raises `KeyUnusable`, `DiskFull`: nothing has changed.
        """
        rotation = self._rotation
        await rotation.begin()
        return rotation.facts()

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        return self._vitals.status(self._sync)
