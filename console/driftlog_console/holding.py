"""Undoing a single decision while nobody saw it: it is held here for some seconds, and then given as the ordinary command that it is.

What the field does not take is refused before anything is held. While a decision is held, it is in this process only. A console that is stopped gives what it
holds at once, into the replica's log; one that is killed has not sent it, and says so when it starts again. When a decision is due, the conflict may be
another one, or the person may not decide there any more: then it is not sent, and the conflict's page says why.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from driftlog_console.deciding import Asked, Deciding, Overtaken
from driftlog_console.errors import PeopleProblem, TooMany
from driftlog_console.held_memory import End, HeldMemory, HeldProblem, Unsent
from driftlog_console.people import People, Person, Right
from driftlog_console.signals import set_in
from driftlog_crdt import AlgebraError
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.errors import EdgeError
from driftlog_schemas.contract import InvalidInput, Json, Refused
from driftlog_schemas.messages import Conflict, ConflictStatus

MOST_HELD = 1000
"""Decisions at once."""


class Holding:
    """See the module. `now_ms` is this machine's clock, `changed` is called when something of a decision that was held has."""

    def __init__(
        self,
        memory: HeldMemory,
        agent: EdgeAgent,
        deciding: Deciding,
        people: People,
        undo_seconds: float,
        now_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._agent = agent
        self._deciding = deciding
        self._people = people
        self._undo_seconds = undo_seconds
        self._now_ms = now_ms
        self._changed = changed
        self._moved = asyncio.Event()
        self._closing = False

    async def keep(self, conflict: Conflict, person: Person, shown: str, times: int, reason: str = "") -> None:
        """Let the version stand that stands. Raises like `decide`."""
        if not self._undo_seconds:
            await self._deciding.keep(conflict, person, shown, times, reason)
            return
        await self._hold(conflict, conflict.winner.value, person, shown, times, reason, keeps=True)

    async def decide(
        self, conflict: Conflict, value: Json, person: Person, shown: str, times: int, reason: str = ""
    ) -> None:
        """Let this value stand from now on: when it was held for as long as it can be undone. Raises like `Deciding.decide`, and `TooMany` and
        `HeldProblem`: then nothing is held.
        """
        if not self._undo_seconds:
            await self._deciding.decide(conflict, value, person, shown, times, reason)
            return
        await self._hold(conflict, value, person, shown, times, reason, keeps=False)

    def of(self, conflict: Conflict) -> Asked | None:
        """What is held of it."""
        return self._deciding.held.get(conflict.id)

    def seconds_left(self, asked: Asked) -> float:
        """For how long it can still be undone."""
        return min(max(0.0, (asked.due_ms - self._now_ms()) / 1000), self._undo_seconds)

    def undo(self, conflict_id: str, name: str, by: Person) -> None:
        """Let the decision of this name (`Asked.id`) not be made. Raises `Overtaken` where it is not held any more."""
        asked = self._deciding.held.get(conflict_id)
        if asked is None or asked.id != name:
            raise Overtaken("it is not held any more")
        del self._deciding.held[conflict_id]
        self._memory.end(conflict_id, End.UNDONE, by.name)
        self._tell()

    def unsent(self, conflict: Conflict) -> Unsent | None:
        """The last decision about it, where that was held and not sent."""
        found = self._memory.of(conflict.id)
        if found is None or (conflict.status is ConflictStatus.RESOLVED and found.end is End.UNDONE):
            return None
        sent = self._deciding.made_since(found.mark, found.person, found.made_ms, found.times)
        return None if found.end is End.LOST and sent is not None else found

    async def follow(self) -> None:
        """Give what is due, until `close`; then what is left."""
        while True:
            self._moved.clear()
            first = min(self._deciding.held.values(), key=lambda asked: asked.due_ms, default=None)
            if first is None:
                if self._closing:
                    return
                await self._moved.wait()
            elif self._closing or not await set_in(self._moved, self.seconds_left(first)):
                await self._give(first)

    def close(self) -> None:
        """Nothing is held any longer: `follow` gives it, and ends."""
        self._closing = True
        self._moved.set()

    def _tell(self) -> None:
        self._moved.set()
        self._changed()

    async def _hold(
        self,
        conflict: Conflict,
        value: Json,
        person: Person,
        shown: str,
        times: int,
        reason: str,
        *,
        keeps: bool,
    ) -> None:
        if len(self._deciding.held) >= MOST_HELD:
            raise TooMany(f"{MOST_HELD} decisions are held", "wait until some are sent")
        now = self._now_ms()
        due = now + round(self._undo_seconds * 1000)
        scope, name = conflict.document.scope, secrets.token_hex(8)
        asked = Asked(name, conflict.id, scope, person.name, value, keeps, shown, times, reason.strip(), now, due)
        await self._deciding.hold(conflict, asked)
        try:
            self._memory.add(asked)
        except HeldProblem:
            del self._deciding.held[conflict.id]
            raise
        self._tell()

    async def _give(self, asked: Asked) -> None:
        del self._deciding.held[asked.conflict]
        problem = await self._problem_of(asked)
        if problem:
            self._memory.end(asked.conflict, End.REFUSED, problem)
        else:
            self._memory.forget(asked.conflict)
        self._changed()

    async def _problem_of(self, asked: Asked) -> str:
        """Make the decision; or why it cannot be made, without a value in it."""
        try:
            person = self._people.named(asked.person)
            if person is None or not person.may(Right.DECIDE, asked.scope):
                return f"{asked.person} may not decide there any more"
            conflict = self._agent.conflict(asked.conflict)
            if asked.keeps:
                await self._deciding.keep(conflict, person, asked.mark, asked.times, asked.reason)
            else:
                await self._deciding.decide(conflict, asked.value, person, asked.mark, asked.times, asked.reason)
        except (Overtaken, PeopleProblem, EdgeError) as error:
            return str(error)
        except (InvalidInput, AlgebraError, Refused):
            return "the field does not take that value any more"
        return ""
