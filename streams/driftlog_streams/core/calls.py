"""Commands that reactions call for: run on what is merged (`call_running`), and written into the op log as batches of `cloud.reaction`.

A record with calls is taken where it stands: those that are repetitions go, the others wait. What is run becomes a batch of the
cloud's own chain, numbered and signed like any device's, and counts when it is read from the log: of two workers that write one the chain takes the
first, and the other looks again. The batch says which calls it answers, so a call and its command are done together or not at all. Such a command
is merged like any other: guards and sizes have their say, its changes are ops in the log, and reactions follow it.

What its function refuses, what a guard refuses and what this release does not know is set aside, and may be sent again (`reaction_book`).

Which calls wait stands in the row; what they say is in the op log, and read again from there after a take-over (`missing`, `restore`). So does what
failed before it was read again: it stays in the row until it is set aside and that is delivered (`forget_listed`).
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from driftlog_schemas.identity import CLOSING_REPLICA, REACTION_REPLICA
from driftlog_schemas.messages import (
    Batch,
    Call,
    CommandOutcome,
    Ran,
    Reacting,
    Unlisted,
    Verdict,
)
from driftlog_streams.core.call_running import REFUSED, CallRunner
from driftlog_streams.core.emitting import FAILED, Emitter
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.reaction_book import ReactionBook, failures, repeated, with_taken, with_unlisted
from driftlog_streams.core.trial import Watch
from driftlog_streams.core.work import PartitionWork

log = structlog.get_logger()

MAX_WAITING = 10_000
"""Records with calls that wait; the row has their offsets."""
_FAILURES = (Verdict.REJECTED, Verdict.DEFERRED)


class Calls:
    """Of one partition."""

    def __init__(self, partition: Partition, book: ReactionBook, emitter: Emitter, watch: Watch) -> None:
        self._at = partition
        self._book = book
        self._emitter = emitter
        self._runner = CallRunner(partition, watch)
        self._said: dict[int, tuple[Call, ...]] = {}
        """By the offset of their record."""
        self._listed: dict[int, PartitionWork] = {}
        """What was unlisted, by the offset of its record: the work with which it is set aside."""

    # -- records

    def take(self, calls: tuple[Call, ...], offset: int, append_ms: int) -> None:
        """A record with calls stands here."""
        if calls[0].again:
            self._take_again(calls, offset, append_ms)
            return
        known = self._book.known
        first = repeated(known, calls)
        if first == len(calls):
            return
        if len(known.waiting) >= MAX_WAITING:
            self._book.list(
                [(call, FAILED, "too many calls wait in this partition") for call in calls[first:]], append_ms
            )
            known = self._book.known
        else:
            self._said[offset] = calls
            known = known._replace(waiting=(*known.waiting, (offset, first)))
        self._book.put(with_taken(known, calls))

    def _take_again(self, calls: tuple[Call, ...], offset: int, append_ms: int) -> None:
        """A person has sent it again. Read a second time after a crash it is done once more: what it brings is known by its position."""
        call = calls[0]
        here = offset in dict(self._book.known.waiting)
        if not here and not self._book.is_open(call.id):
            return
        self._said[offset] = calls
        self._book.close(call.id)
        if not here:
            known = self._book.known
            self._book.put(known._replace(waiting=(*known.waiting, (offset, 0))))
        if not call.command:
            self._emitter.again(call, append_ms)

    @property
    def waits(self) -> bool:
        """Is there anything to do?"""
        return bool(self._book.known.unlisted or self._book.known.waiting)

    @property
    def last(self) -> int:
        """The number of the newest batch that is merged."""
        row = self._book.row
        return 0 if row is None else row.last

    def missing(self) -> list[int]:
        """Offsets of records that must be read again."""
        known = self._book.known
        unlisted = [one.offset for one in known.unlisted if one.offset not in self._listed]
        waiting = [offset for offset, _ in known.waiting[:1] if offset not in self._said]
        return [*dict.fromkeys((*unlisted, *waiting))]

    def restore(self, offset: int, calls: tuple[Call, ...], append_ms: int) -> None:
        """What a record says that was read again; nothing where it is gone."""
        if not calls:
            log.error("calls of reactions are lost: their record is gone from the op topic", offset=offset)
        known = self._book.known
        if offset in dict(known.waiting):
            self._said[offset] = calls
        failed = [one for one in known.unlisted if one.offset == offset]
        if failed and offset not in self._listed:
            self._list(calls, failed, append_ms)
            self._listed[offset] = self._at.work

    def forget_listed(self) -> bool:
        """What was unlisted leaves the row when it is delivered that it was set aside: sooner, a crash between the two would lose it. Did any?"""
        for offset in [offset for offset, work in self._listed.items() if work.kept is False]:
            del self._listed[offset]
        delivered = {offset for offset, work in self._listed.items() if work.kept}
        for offset in delivered:
            del self._listed[offset]
        if delivered:
            known = self._book.known
            left = tuple(one for one in known.unlisted if one.offset not in delivered)
            self._book.put(known._replace(unlisted=left))
        return bool(delivered)

    # -- batches

    def due(self, now_ms: int) -> Batch | None:
        """The next batch of `cloud.reaction`: what becomes of the oldest calls that wait. None where nothing can be said now."""
        row, waiting = self._book.row, self._book.known.waiting
        if row is None or not waiting or waiting[0][0] not in self._said or row.reactions.unlisted:
            return None
        if self._at.book.held(CLOSING_REPLICA) is not None:
            return None  # it would stand behind the end of the log: what waits is answered where the space goes on
        if self._at.offset < row.offset:
            return None  # a crash has let the row out ahead of the states: what is merged lacks changes of ours
        offset, first = waiting[0]
        calls = self._said[offset]
        if calls and not calls[0].command and self._at.book.flying(REACTION_REPLICA):
            return None  # what it has called for is not delivered yet
        done = self._runner.run(calls, first, now_ms)
        end = max(done.end, first + 1)
        indices, failed = tuple(done.indices), tuple(done.failed)
        ran = Ran(offset, first, end, tuple(done.depths), indices, failed, more=end < len(calls))
        rules, number = self._at.rules, row.last + 1
        return Batch(
            rules.name,
            self._at.number,
            REACTION_REPLICA,
            number,
            tuple(done.commands),
            rules.release,
            prev=row.head,
            floor=number,
            read=self._at.offset,
            react=Reacting(ran=ran),
        )

    # -- what became of them

    def carried_out(self, batch: Batch, outcomes: Sequence[CommandOutcome], append_ms: int) -> None:
        """A batch of ours stands here, or does so again after a crash."""
        ran = None if batch.react is None else batch.react.ran
        if ran is None or not self._at.stands_here(batch):
            return
        known = self._book.known
        waiting = dict(known.waiting)
        if waiting.get(ran.offset) == ran.first:
            waiting[ran.offset] = ran.end
            if not ran.more:
                del waiting[ran.offset]
            self._book.put(known._replace(waiting=tuple(waiting.items())))
        against = {one.command_id: one for one in outcomes if one.verdict in _FAILURES}
        failed = [Unlisted(ran.offset, *one) for one in ran.failed]
        for index, command in zip(ran.calls, batch.commands, strict=False):
            if (outcome := against.get(command.id)) is not None:
                failed.append(Unlisted(ran.offset, index, REFUSED, f"{outcome.code}: {outcome.reason}"))
        calls = self._said.get(ran.offset)
        if calls is not None:
            self._list(calls, failed, append_ms)
        elif failed:
            self._book.put(with_unlisted(self._book.known, failed))
        if ran.offset not in waiting:
            self._said.pop(ran.offset, None)

    def _list(self, calls: Sequence[Call], failed: Sequence[Unlisted], append_ms: int) -> None:
        if told := failures(calls, failed):
            self._book.list(told, append_ms)
