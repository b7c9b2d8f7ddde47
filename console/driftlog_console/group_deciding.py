"""Deciding a whole group at once: after a while in which it can be undone, and then conflict by conflict, each with its own outcome.

What is decided is the set that the person was shown, with the versions that each conflict had then: if the filter takes others by now nothing is
decided, and that is told. While it waits nobody has seen anything of it, so it can be undone without a trace; afterwards a decision is an
ordinary command, and others may have seen it. If the console ends in between, it goes on where it was when it starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from driftlog_console.deciding import Deciding, Overtaken
from driftlog_console.errors import PeopleProblem, TooMany
from driftlog_console.group_memory import GroupDecision, GroupMemory, GroupsProblem, Item, State
from driftlog_console.people import People, Person, Right
from driftlog_console.signals import set_in
from driftlog_console.words import dot
from driftlog_crdt import AlgebraError
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.errors import EdgeError, NotFound
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Conflict, Version
from driftlog_streams.reading.conflict_lists import Filter, Line, Which, mark_of_all

log = structlog.get_logger()

STANDING = "standing"
WRITTEN = "device:"
"""Before the name of the device whose version is to stand."""
MOST = 20_000
"""Conflicts in one group decision."""
MOST_OPEN = 20
"""Group decisions that are not over."""
AT_ONCE = 100
AGAIN_SECONDS = 5.0
"""The disk may have room again."""


class GroupDeciding:
    """See the module. `now_ms` is this machine's clock, `changed` is called when something of a group decision has."""

    def __init__(
        self,
        memory: GroupMemory,
        agent: EdgeAgent,
        deciding: Deciding,
        people: People,
        undo_seconds: float,
        now_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self.memory = memory
        self._agent = agent
        self._deciding = deciding
        self._people = people
        self._undo_seconds = undo_seconds
        self._now_ms = now_ms
        self._changed = changed
        self._moved = asyncio.Event()

    def ask(
        self, person: Person, which: Which, wanted: Filter, lines: Sequence[Line], shown: str, choice: str, reason: str
    ) -> str:
        """Decide these, which a person saw as the set `shown` (see `mark_of_all`); the id of the group decision.

        Raises:
            Overtaken: the set is another one by now.
            InvalidInput: no such choice, or nothing to decide.
            TooMany, GroupsProblem: nothing was changed.
        """
        if shown != mark_of_all(lines):
            raise Overtaken("the conflicts of this kind are not the same any more")
        if not lines:
            raise InvalidInput("choice", "there is nothing to decide")
        if choice != STANDING and not any(choice == WRITTEN + device for line in lines for device in line.devices):
            raise InvalidInput("choice", "choose what is to stand")
        if len(lines) > MOST:
            raise TooMany(f"{len(lines)} conflicts, at most {MOST} are decided at once", "ask for a narrower group")
        if self.memory.open() >= MOST_OPEN:
            raise TooMany(f"{MOST_OPEN} group decisions are under way", "wait until one of them is done")
        now = self._now_ms()
        due = now + round(self._undo_seconds * 1000)
        name = self.memory.add(person.name, which, wanted, choice, reason, now, due, lines)
        self._tell()
        return name

    def undo(self, name: str) -> None:
        """Let nothing be decided. Raises `Overtaken` where it has begun or is over, `GroupsProblem`."""
        if not self.memory.move(name, State.WAITING, State.UNDONE):
            raise Overtaken("it has begun, and others may have seen it")
        self._tell()

    def seconds_left(self, decision: GroupDecision) -> float:
        """For how long it can still be undone."""
        left = (decision.due_ms - self._now_ms()) / 1000
        return min(max(0.0, left), self._undo_seconds) if decision.state is State.WAITING else 0.0

    async def follow(self) -> None:
        """Decide what is due, for as long as the console runs."""
        while True:
            self._moved.clear()
            try:
                decision = self.memory.next()
                if decision is None:
                    await self._moved.wait()
                elif decision.state is State.RUNNING:
                    await self._run(decision)
                elif not await set_in(self._moved, self.seconds_left(decision)):
                    self.memory.move(decision.id, State.WAITING, State.RUNNING)
                    self._changed()
            except GroupsProblem as error:
                log.warning("a group decision waits", problem=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    def _tell(self) -> None:
        self._moved.set()
        self._changed()

    async def _run(self, decision: GroupDecision) -> None:
        while items := self.memory.todo(decision.id, AT_ONCE):
            outcomes = await asyncio.gather(*(self._one(decision, item) for item in items))
            self.memory.record(
                decision.id, [(item, done, text) for item, (done, text) in zip(items, outcomes, strict=True)]
            )
            self._changed()
        self.memory.move(decision.id, State.RUNNING, State.DONE)
        self._changed()

    async def _one(self, decision: GroupDecision, item: Item) -> tuple[bool, str]:
        """Was it decided, and by which version; or why not."""
        try:
            person = self._people.named(decision.person)
            if person is None or not person.may(Right.DECIDE, item.scope):
                return False, f"{decision.person} may not decide there any more"
            conflict = self._agent.conflict(item.conflict)
            version = _chosen(conflict, decision.choice)
            if version is None:
                return False, f"{decision.choice.removeprefix(WRITTEN)} wrote none of its versions"
            earlier = self._deciding.made_since(item.mark, person.name, decision.due_ms)
            if earlier is None or earlier.value != version.value:  # or it was decided before this console started again
                await self._decide(conflict, version, decision, item, person)
            return True, dot(version)
        except (Overtaken, NotFound, PeopleProblem, EdgeError, AlgebraError, Refused) as error:
            return False, str(error)
        except InvalidInput as error:
            return False, f"this release does not take that value for {error.field or 'it'}; look at it"

    async def _decide(
        self, conflict: Conflict, version: Version, decision: GroupDecision, item: Item, person: Person
    ) -> None:
        if decision.choice == STANDING:
            await self._deciding.keep(conflict, person, item.mark, 0, decision.reason)
        else:
            await self._deciding.decide(conflict, version.value, person, item.mark, 0, decision.reason)


def _chosen(conflict: Conflict, choice: str) -> Version | None:
    """The version that is to stand; None where the device wrote none."""
    if choice == STANDING:
        return conflict.winner
    device = choice.removeprefix(WRITTEN)
    return next((version for version in conflict.versions if device_of(version.replica) == device), None)
