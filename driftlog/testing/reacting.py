"""Reactions in an app's tests: a command is merged as the cloud would, what its changes call for is run there, and what follows from that.

The ids are production's: they follow from the reaction, the change, and the place among those of its run. So a command that comes twice has each effect once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from driftlog.testing.memory import Asked, Done
from driftlog.testing.replica import Replica, guard
from driftlog_crdt import AlgebraError, DocumentState, Op
from driftlog_schemas.contract import InvalidInput, ReactionContract, Refused
from driftlog_schemas.identity import DocumentId
from driftlog_streams.core.emitting import Change, call_id, wanted_after


class Called(NamedTuple):
    """A command that a reaction has called for."""

    reaction: str
    command: str
    arguments: Mapping[str, Any]
    done: Done | None
    """None where it was refused."""
    refused: Refused | InvalidInput | AlgebraError | None = None
    """Why: by its function or a guard. In production it is set aside then, for a person to see (`driftlog parked list`)."""


def react(cloud: Replica, done: Done) -> list[Called]:
    """Merge a command at `cloud`, and run there what the app's reactions call for, also those that follow one from another; all of it in order.

    A command that `cloud` has reacted to calls for nothing again. What a reaction itself raises comes out of here: it is a defect of the app, which
    production sets aside.

    Raises:
        Refused: a guard refuses the command; then nothing has changed.
        ValueError: `cloud` has merged it by `exchange`, where no reaction runs; or it builds on what has not come yet.
        TooDeep: reactions follow one from another without end.
    """
    if done.command_id in cloud._log:
        if done.command_id in cloud._reacted:
            return []
        raise ValueError(f"{cloud.name} has merged {done.command_id!r} by exchange; let it react before that")
    guard(cloud, done)
    after = cloud._merged(done)
    waiting = deque(_reactions(cloud, done, after, 0))
    cloud._keep(done, after)
    cloud._reacted.add(done.command_id)
    found: list[Called] = []
    while waiting:
        reaction, change = waiting.popleft()
        for ordinal, wanted in enumerate(wanted_after(reaction, change)):
            asked = Asked(wanted.command, wanted.arguments, call_id(reaction.name, change, ordinal), _actor(reaction))
            try:
                ran, states = cloud._ran(asked)
                guard(cloud, ran)
            except (Refused, InvalidInput, AlgebraError) as error:
                found.append(Called(reaction.name, wanted.command, wanted.arguments, None, error))
                continue
            waiting.extend(_reactions(cloud, ran, states, change.depth + 1))
            cloud._keep(ran, states)
            cloud._reacted.add(ran.command_id)
            found.append(Called(reaction.name, wanted.command, wanted.arguments, ran))
    return found


def _actor(reaction: ReactionContract) -> str:
    return f"reaction:{reaction.name}"


def _reactions(
    cloud: Replica, done: Done, after: Mapping[DocumentId, DocumentState], depth: int
) -> Iterator[tuple[ReactionContract, Change]]:
    """Who reacts to a command that `cloud` has not merged yet, and to which change; `after` are the documents as it leaves them."""
    changed: dict[DocumentId, Op] = {}
    for document, op in done.ops:
        changed.setdefault(document, op)
    for document, op in changed.items():
        collection = cloud._contract.collection(document.collection)
        kind = collection.document
        held, now = cloud._states.get(document), after[document]
        before = None if held is None or not kind.exists(held) else kind.copy(held)
        there = kind.copy(now) if kind.exists(now) else None
        if before is None and there is None:
            continue
        change = Change(document, before, there, f"{op.replica}:{op.seq}", depth)
        for reaction in cloud._contract.spaces[collection.space].reactions.get(collection.name, ()):
            yield reaction, change
