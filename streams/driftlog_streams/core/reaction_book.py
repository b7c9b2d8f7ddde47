"""What a partition knows of reactions and their calls: in the row of `cloud.reaction`, which leaves before any state.

*Taken* is, by the partition of the change, how far its calls were taken: they come in its order, so whatever is not beyond that is a repetition.
*Waiting* are the records with calls that no batch has answered. *Open* are the calls that failed: one of these, and no other,
may be sent again by a person, once. *Unlisted* are those that failed and are not set aside: what they say must be read from the log first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from driftlog_schemas import bounds
from driftlog_schemas.identity import CLOUD, REACTION_REPLICA
from driftlog_schemas.messages import Call, ChainRow, Reactions, Unlisted
from driftlog_schemas.reacting import calls_bodies
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core.chain import NO_REACTIONS
from driftlog_streams.core.partition import Partition

log = structlog.get_logger()

MAX_REASONS, MAX_UNLISTED = 500, 10_000
"""Unlisted calls of which the row keeps why they failed, and all that it keeps."""
NOT_KEPT = "too many failed at once to keep why"
MAX_OPEN = 1000
"""Failed calls that may be sent again; the oldest are given up."""


def repeated(known: Reactions, calls: Sequence[Call]) -> int:
    """How many of the calls of a record were taken before: its first so many, for they come from one partition in its order."""
    taken = known.taken.get(calls[0].source, -1)
    return sum(call.position <= taken for call in calls)


def with_taken(known: Reactions, calls: Sequence[Call]) -> Reactions:
    """What is known when these were taken."""
    return known._replace(taken={**known.taken, calls[-1].source: calls[-1].position})


def with_unlisted(known: Reactions, failed: Iterable[Unlisted]) -> Reactions:
    """What is known when these have failed, too. A row must find room for all of them, so only of the first it keeps why."""
    found = {(one.offset, one.call): one for one in (*known.unlisted, *failed)}
    unlisted = [one if at < MAX_REASONS else one._replace(reason="") for at, one in enumerate(found.values())]
    if len(unlisted) > MAX_UNLISTED:
        log.error(
            "calls of reactions have failed that are not listed: too many at once", calls=len(unlisted) - MAX_UNLISTED
        )
    return known._replace(unlisted=tuple(unlisted[:MAX_UNLISTED]))


def failures(calls: Sequence[Call], failed: Iterable[Unlisted]) -> list[tuple[Call, str, str]]:
    """Those of the calls of a record that failed, each with code and reason, as they are set aside."""
    return [
        (calls[at], code, f"{calls[at].reaction} called for {calls[at].command}: {reason or NOT_KEPT}")
        for _, at, code, reason in failed
        if at < len(calls)
    ]


class ReactionBook:
    """Of one partition."""

    def __init__(self, partition: Partition) -> None:
        self._at = partition

    @property
    def row(self) -> ChainRow | None:
        """The row as merged now."""
        return self._at.book.get(REACTION_REPLICA)

    @property
    def known(self) -> Reactions:
        """What it says."""
        row = self.row
        return NO_REACTIONS if row is None else row.reactions

    def put(self, known: Reactions) -> None:
        """It says this now."""
        at = self._at
        row = self.row or ChainRow(CLOUD, REACTION_REPLICA, at.rules.name, at.number, 0, b"", 1, ())
        if known != row.reactions:
            at.write_row(
                REACTION_REPLICA, replace(row, reactions=known, offset=max(row.offset, at.offset)), urgent=True
            )

    def is_open(self, call: str) -> bool:
        """Had this call failed, and was it not sent again?"""
        return short_name(call) in self.known.open

    def close(self, call: str) -> None:
        """It is not open any more."""
        known, name = self.known, short_name(call)
        if name in known.open:
            self.put(known._replace(open=tuple(one for one in known.open if one != name)))

    def list(self, failed: Iterable[tuple[Call, str, str]], append_ms: int) -> None:
        """Set these aside, each with code and reason, and let them be sent again."""
        at, failed = self._at, [*failed]
        names = dict.fromkeys((*self.known.open, *(short_name(call.id) for call, _, _ in failed)))
        self.put(self.known._replace(open=tuple(names)[-MAX_OPEN:]))
        for call, code, reason in failed:
            at.work.failed_reactions += 1
            identity = at.rules.cloud
            if identity is None:
                continue
            again = call._replace(again=True, position=0)
            (body,) = calls_bodies(at.rules.name, at.number, [again])
            record = at.rules.batches.seal(body, identity)
            reason = bounds.cut(reason, bounds.MAX_REASON)
            at.work.outcomes.append(
                at.records.quarantined(record, code, reason, at.offset, append_ms, REACTION_REPLICA, CLOUD)
            )
