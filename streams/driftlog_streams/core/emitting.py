"""What reactions call for when documents have changed: the app's functions are run on a change as it is merged, and what they give leaves with it.

Calls are records of the op log of the partition in which their commands will write. They are delivered before any state of their flight, like all
outcomes: so a change whose state is published has told all it calls for, and one that is merged again after a crash calls for the same once more. A
call is named by the change, by its dot, so that the command has the same id each time; and it has a *position*, by which the partition
that it goes to knows a repetition (`calls`).

A reaction that raises, gives nonsense or does not end stops nothing: it is set aside with its documents, named *open* in the row of
`cloud.reaction`, and may be sent again. One that has been ended for time too often is not run again in this process.

A rule set without the workers' identity (a replay, a dry run) runs no reactions.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, NoReturn

import structlog

from driftlog_crdt import DocumentState, canonical
from driftlog_schemas import bounds
from driftlog_schemas.contract import CommandContract, InvalidInput, ReactionContract, Refused, Wanted
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Call
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.reacting_codec import MAX_ARGUMENTS, MAX_CALLS, MAX_DEPTH, MAX_TOLD
from driftlog_schemas.running import check_name
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.reaction_book import ReactionBook
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.survey import Step
from driftlog_streams.core.trial import Overrun, Watch

log = structlog.get_logger()

FAILED, TOO_DEEP = "reaction_failed", "reaction_depth"
ORDINALS = 1 << 20
"""Positions of the changes of one record."""
PATIENCE = 3
"""So often in a life a reaction may run for too long."""


class Change(NamedTuple):
    """A document before and after a command; None where it is not there."""

    document: DocumentId
    before: DocumentState | None
    after: DocumentState | None
    cause: str
    """Names the change: its first dot."""
    depth: int
    """How many reactions have led to it."""


class Emitter:
    """Of one partition."""

    def __init__(self, partition: Partition, book: ReactionBook, watch: Watch) -> None:
        self._at = partition
        self._book = book
        self._watch = watch
        self._slow: Counter[str] = Counter()

    def before(self, steps: Iterable[Step], *, tried: bool) -> Mapping[bytes, tuple[Step, DocumentState]]:
        """The documents that somebody reacts to, as they are before their fresh changes. What was tried on copies leaves them as they are."""
        found: dict[bytes, tuple[Step, DocumentState]] = {}
        if self._at.rules.reacting:
            for step in steps:
                entry, _, weight = step
                if weight and entry.collection.reactions and entry.key not in found:
                    found[entry.key] = step, entry.state if tried else entry.collection.type.copy(entry.state)
        return found

    def changed(self, arrival: Arrival, before: Mapping[bytes, tuple[Step, DocumentState]]) -> None:
        """These have changed."""
        for (entry, op, _), state in before.values():
            kind = entry.collection.type
            was = state if kind.exists(state) else None
            now = kind.copy(entry.state) if kind.exists(entry.state) else None
            if was is None and now is None:
                continue
            change = Change(entry.document, was, now, f"{op.replica}:{op.seq}", _depth(arrival))
            for reaction in entry.collection.reactions:
                self.react(reaction, change, arrival.append_ms)

    def react(self, reaction: ReactionContract, change: Change, append_ms: int) -> None:
        """Run it, and let what it calls for leave; or set it aside."""
        name = call_id(reaction.name, change)
        try:
            calls = self._calls(reaction, change)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the app's own: whatever it is, the merge goes on
            code = TOO_DEEP if isinstance(error, TooDeep) else FAILED
            told = f"{type(error).__name__}: {error}" if code == FAILED else str(error)
            self._set_aside(reaction, change, name, code, f"reaction {reaction.name}: {told}", append_ms)
            return
        self._book.close(name)
        self._at.work.emitted += calls

    def again(self, call: Call, append_ms: int) -> None:
        """A reaction that had failed, sent again by a person: what it leads to is counted from there."""
        told = json.loads(call.arguments)
        document = DocumentId(*told["document"])
        collection = self._at.rules.collections.get(document.collection)
        reactions = () if collection is None else collection.reactions
        reaction = next((one for one in reactions if one.name == call.reaction), None)
        if collection is None or reaction is None or "lost" in told:
            reason = f"no reaction {call.reaction!r} to {document.collection!r} is declared any more"
            if "lost" in told:
                reason = (
                    "its document was larger than a record may be, and is not kept: call for what should follow by hand"
                )
            self._book.list([(call, FAILED, reason)], append_ms)
            return
        before, after = (
            None if told[when] is None else collection.type.decode(base64.b64decode(told[when]))
            for when in ("before", "after")
        )
        depth = 0 if call.depth > MAX_DEPTH else call.depth - 1
        self.react(reaction, Change(document, before, after, told["cause"], depth), append_ms)

    def _calls(self, reaction: ReactionContract, change: Change) -> list[tuple[int, Call]]:
        """What it calls for, each with the partition that it goes to. Raises whatever the app raises."""
        if self._slow[reaction.name] >= PATIENCE:
            raise TimeoutError("it has run for too long before, and is not run again by this worker; mend it")
        try:
            with self._watch(reaction.name, call_id(reaction.name, change)):
                wanted = wanted_after(reaction, change)
                places = [place_of(self._at.rules, one) for one in wanted]
        except Overrun:
            self._slow[reaction.name] += 1
            raise
        first = self._position()
        return [
            (place, self._call(reaction, change, at, one, first + at))
            for at, (one, place) in enumerate(zip(wanted, places, strict=True))
        ]

    def _position(self) -> int:
        """Of the next call: it follows those of the same record. What was taken back is not counted, or a change that is merged again would call for
        something new.
        """
        emitted = self._at.work.emitted
        last = emitted[-1][1].position if emitted else -1
        beginning = self._at.offset * ORDINALS
        return max(beginning, last + 1)

    def _call(self, reaction: ReactionContract, change: Change, ordinal: int, wanted: Wanted, position: int) -> Call:
        name, arguments = call_id(reaction.name, change, ordinal), _text(wanted.arguments)
        return Call(name, reaction.name, wanted.command, arguments, change.depth + 1, self._at.number, position)

    def _set_aside(
        self, reaction: ReactionContract, change: Change, name: str, code: str, reason: str, append_ms: int
    ) -> None:
        kind = self._at.rules.collections[change.document.collection].type
        before, after = (
            None if state is None else base64.b64encode(kind.encode(state)).decode()
            for state in (change.before, change.after)
        )
        told = {"document": [*change.document], "before": before, "after": after, "cause": change.cause}
        arguments = _text(told)
        if len(arguments) > MAX_TOLD:  # larger than a record may be: it is listed, and cannot run again
            arguments = _text({**told, "before": None, "after": None, "lost": True})
        call = Call(name, reaction.name, "", arguments, change.depth + 1, self._at.number, 0)
        self._book.list([(call, code, reason)], append_ms)


class TooDeep(Exception):
    """Too many reactions have followed one from another."""


def wanted_after(reaction: ReactionContract, change: Change) -> list[Wanted]:
    """What a reaction calls for. Raises `TooDeep`, `InvalidInput` where that is too much, and whatever the app raises."""
    run = reaction.run(change.document.scope, change.document.id, change.before, change.after)
    wanted = list(islice(run, MAX_CALLS + 1))
    if len(wanted) > MAX_CALLS:
        raise InvalidInput(reaction.name, f"calls for more than {MAX_CALLS} commands; call for fewer")
    for one in wanted:
        if len(_text(one.arguments).encode()) > MAX_ARGUMENTS:
            raise InvalidInput(one.command, f"has arguments of more than {MAX_ARGUMENTS} bytes")
    if wanted and change.depth >= MAX_DEPTH:
        raise TooDeep(f"{MAX_DEPTH} reactions have followed one from another; break the loop, or send it again")
    return wanted


class _Scope(BaseException):
    """The command wants documents of this scope. No `Exception`, so that the app does not catch it."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


class _Looking:
    """An editor without documents: it tells of which scope a command wants some."""

    command_id = actor = ""
    now_ms = 0

    def open(self, collection: str, scope: str, id: str) -> NoReturn:
        raise _Scope(scope)

    def ids(self, collection: str, scope: str) -> Iterator[str]:
        raise _Scope(scope)


def scope_of(command: CommandContract, arguments: Mapping[str, object]) -> str:
    """The scope of the first document that it opens. Raises `InvalidInput` where it opens none, and whatever it raises before."""
    try:
        command.run(_Looking(), arguments)
    except _Scope as found:
        return found.scope
    except Refused as refused:
        raise InvalidInput(command.name, f"refuses: {refused}") from refused
    raise InvalidInput(command.name, "opens no document: a reaction calls for commands that change some")


def place_of(rules: SpaceRules, wanted: Wanted) -> int:
    """The partition of a command that is called for. Raises whatever the app raises."""
    command = rules.commands[wanted.command]
    scope = scope_of(command, command.validate(wanted.arguments))
    check_name("scope", scope, bounds.MAX_SCOPE)
    return partition_of(scope, rules.partitions)


def call_id(reaction: str, change: Change, ordinal: int = -1) -> str:
    """The id of a command that a reaction calls for; of the reaction itself without an ordinal."""
    name = canonical([reaction, *change.document, change.cause, ordinal]).encode()
    return f"reaction-{hashlib.blake2b(name, digest_size=16).hexdigest()}"


def _depth(arrival: Arrival) -> int:
    """How many reactions have led to a command."""
    react = arrival.batch.react
    if react is None or react.ran is None:
        return 0
    return react.ran.depths[arrival.batch.commands.index(arrival.command)]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
