"""Deciding a conflict: one clear outcome, whoever clicks what how often.

A decision is an ordinary command of the console's device, on behalf of a person. Its id follows from the versions that it decides between, and from how
often that was decided before. So the same click counts once, also after a restart; of two people who decide at once the second is told what the first
has chosen; and a version that came after the page was made is seen, not overwritten.

A decision can be held first, so that it can be undone while nobody saw it (see `holding`). Who clicks first has decided: as long as theirs is held nobody
decides the same conflict here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from weakref import WeakValueDictionary

from driftlog_console.people import Person
from driftlog_console.words import dotted
from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import Answer
from driftlog_schemas.contract import InvalidInput, Json
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_streams.reading.conflict_lists import mark

MOST_TIMES = 100
"""So often one set of versions can be decided anew; each is another command."""


class Overtaken(Exception):
    """The conflict is not any more what the page had shown. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that was made here."""

    answer: Answer
    actor: str
    value: Json
    """Of the first of its changes."""
    at_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision that is held here and nowhere else; nobody has seen anything of it."""

    id: str
    conflict: str
    scope: str
    person: str
    value: Json
    keeps: bool
    """It lets the version stand that stands; then `value` is only shown."""
    mark: str
    """Of the versions that the person saw (see `mark`)."""
    times: int
    """How often these had been decided."""
    reason: str
    made_ms: int
    due_ms: int
    """When it is given as a command."""


class Deciding:
    """Decides through the console's agent."""

    def __init__(self, agent: EdgeAgent) -> None:
        self._agent = agent
        self.held: dict[str, Asked] = {}
        """By conflict. They are of this process: values are on no disk but in the replica's store."""
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        """Of each conflict that is being decided, one after another: who comes second sees what the first has decided."""

    def made(self, conflict: Conflict) -> list[Made]:
        """What was decided here about these versions, first to last."""
        found: list[Made] = []
        for number in range(MOST_TIMES):
            made = self._made(_command_id(conflict, number))
            if made is None:
                break
            found.append(made)
        return found

    def made_since(self, shown: str, person: str, since_ms: int, times: int = 0) -> Made | None:
        """What this person was the first to decide between these versions (see `mark`) when that had been done so often, here and since then; for who
        cannot know whether they had come to it.
        """
        made = self._made(_named(shown, times))
        return made if made is not None and made.actor == person and made.at_ms >= since_ms else None

    def _made(self, command_id: str) -> Made | None:
        line = self._agent.log.of(command_id)
        if line is None:
            return None
        values = [op.value for _, op in line.command.ops]
        answer = self._agent.command(command_id)
        return Made(answer, line.command.actor, values[0] if values else None, line.entry.at_ms)

    async def keep(self, conflict: Conflict, person: Person, shown: str, times: int, reason: str = "") -> Answer:
        """Let the version stand that stands. Raises like `decide`."""
        return await self._decide(conflict, None, person, shown, times, reason)

    async def decide(
        self, conflict: Conflict, value: Json, person: Person, shown: str, times: int, reason: str = ""
    ) -> Answer:
        """Let this value stand from now on. `shown` names the versions that the person saw (see `mark`), `times` how often they had been decided.

        Raises:
            Overtaken: there are other versions, or somebody has decided.
            InvalidInput: the value cannot be one of this field; the message is for the person.
            OutboxFull, DiskFull: nothing has changed.
        """
        return await self._decide(conflict, {conflict.field: value}, person, shown, times, reason)

    async def hold(self, conflict: Conflict, asked: Asked) -> None:
        """Keep a decision in `held` instead of making it. Raises like `decide`, by what the field says now."""
        async with self._turn(conflict):
            self._require_undecided(conflict, asked.mark, asked.times)
            values = None if asked.keeps else {conflict.field: asked.value}
            await self._agent.try_resolve(conflict.id, values, actor=asked.person, how="page", reason=asked.reason)
            self.held[conflict.id] = asked

    async def _decide(
        self,
        conflict: Conflict,
        values: dict[str, Json] | None,
        person: Person,
        shown: str,
        times: int,
        reason: str,
    ) -> Answer:
        async with self._turn(conflict):
            self._require_undecided(conflict, shown, times)
            command_id = _command_id(conflict, times)
            return await self._agent.resolve(
                conflict.id, values, command_id=command_id, actor=person.name, how="page", reason=reason.strip()
            )

    def _turn(self, conflict: Conflict) -> asyncio.Lock:
        return self._turns.setdefault(conflict.id, asyncio.Lock())

    def _require_undecided(self, conflict: Conflict, shown: str, times: int) -> None:
        _require_as_shown(conflict, shown)
        if times != len(self.made(conflict)):
            raise Overtaken("somebody has decided in the meantime")
        if (asked := self.held.get(conflict.id)) is not None:
            raise Overtaken(f"{asked.person} has decided it already, and it can be undone still")
        if times >= MOST_TIMES:
            raise InvalidInput(
                conflict.field, f"this was decided {MOST_TIMES} times; wait until the cloud has merged that"
            )


def _require_as_shown(conflict: Conflict, shown: str) -> None:
    if conflict.status is ConflictStatus.RESOLVED:
        raise Overtaken("it is decided already")
    if shown != mark(conflict):
        raise Overtaken("another version came in the meantime")


def chosen(conflict: Conflict, name: str) -> Version:
    """The version that a form names. Raises `Overtaken` if it is not there any more."""
    version = dotted(conflict, name)
    if version is None:
        raise Overtaken("that version is not there any more")
    return version


def _command_id(conflict: Conflict, number: int) -> str:
    return _named(mark(conflict), number)


def _named(shown: str, number: int) -> str:
    return f"console.{shown}.{number}"
