"""Commands that reactions call for: run here on what is merged, and written into the op log as batches of `cloud.reaction`.

A record with calls is taken where it stands: those that are repetitions go, the others wait. What is run becomes a batch of the
cloud's own chain, numbered and signed like any device's, and counts when it is read from the log: of two workers that write one the chain takes the
first, and the other looks again. The batch says which calls it answers, so a call and its command are done together or not at all. Such a command
is merged like any other: guards and sizes have their say, its changes are ops in the log, and reactions follow it.

What its function refuses, what a guard refuses and what this release does not know is set aside, and may be sent again (`reaction_book`).

Which calls wait stands in the row; what they say is in the op log, and read again from there after a take-over (`missing`, `restore`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from driftlog_crdt import AlgebraError, HybridClock
from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, MAX_BATCH_OPS, encode_command
from driftlog_schemas.contract import CollectionContract, InvalidInput, Refused, Undeclared
from driftlog_schemas.copied_views import CopiedViews
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import REACTION_REPLICA, DocumentId
from driftlog_schemas.messages import (
    Batch,
    Call,
    Command,
    CommandOutcome,
    Failed,
    Ran,
    Reacting,
    Verdict,
)
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.running import Run, View, Writer, run_declared
from driftlog_streams.core.emitting import FAILED, Emitter
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.reaction_book import ReactionBook
from driftlog_streams.core.trial import Watch

log = structlog.get_logger()

REFUSED = "reaction_refused"
MAX_WAITING = 10_000
"""Records with calls that wait; the row has their offsets."""
BATCH_BYTES = MAX_BATCH_BYTES // 2
_FAILURES = (Verdict.REJECTED, Verdict.DEFERRED)


class Calls:
    """Of one partition."""

    def __init__(self, partition: Partition, book: ReactionBook, emitter: Emitter, watch: Watch) -> None:
        self._at = partition
        self._book = book
        self._emitter = emitter
        self._watch = watch
        self._said: dict[int, tuple[Call, ...]] = {}
        """By the offset of their record."""
        self._unlisted: dict[int, list[tuple[int, str, str]]] = {}
        """Failed calls whose record must be read again: index, code, reason."""

    # -- records

    def take(self, calls: tuple[Call, ...], offset: int, append_ms: int) -> None:
        """A record with calls stands here."""
        if calls[0].again:
            self._take_again(calls, offset, append_ms)
            return
        known = self._book.known
        source = calls[0].source
        taken = known.taken.get(source, -1)
        first = sum(call.position <= taken for call in calls)
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
        self._book.put(known._replace(taken={**known.taken, source: calls[-1].position}))

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
        return bool(self._unlisted) or bool(self._book.known.waiting)

    @property
    def last(self) -> int:
        """The number of the newest batch that is merged."""
        row = self._book.row
        return 0 if row is None else row.last

    def missing(self) -> list[int]:
        """Offsets of records that must be read again."""
        offsets = [offset for offset, _ in self._book.known.waiting[:1]]
        return [offset for offset in (*self._unlisted, *offsets) if offset not in self._said]

    def restore(self, offset: int, calls: tuple[Call, ...], append_ms: int) -> None:
        """What a record says that was read again; nothing where it is gone."""
        if not calls:
            log.error("calls of reactions are lost: their record is gone from the op topic", offset=offset)
        self._said[offset] = calls
        if failed := self._unlisted.pop(offset, None):
            self._list(offset, failed, append_ms)

    # -- batches

    def due(self, now_ms: int) -> Batch | None:
        """The next batch of `cloud.reaction`: what becomes of the oldest calls that wait. None where nothing can be said now."""
        row, waiting = self._book.row, self._book.known.waiting
        if row is None or not waiting or waiting[0][0] not in self._said:
            return None
        if self._at.offset < row.offset:
            return None  # a crash has let the row out ahead of the states: what is merged lacks changes of ours
        offset, first = waiting[0]
        calls = self._said[offset]
        if calls and not calls[0].command and self._at.book.flying(REACTION_REPLICA):
            return None  # what it has called for is not delivered yet
        done = self._run(calls, first, now_ms)
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

    def _run(self, calls: Sequence[Call], first: int, now_ms: int) -> _Done:
        done = _Done(first)
        for index, call in enumerate(calls[first:], first):
            if call.command and not self._run_one(index, call, done, now_ms):
                break
            done.end = index + 1
        return done

    def _run_one(self, index: int, call: Call, done: _Done, now_ms: int) -> bool:
        """False where it must wait for those before it to be merged."""
        views = _Views(self._at, done.views)
        writer = Writer(REACTION_REPLICA, ())
        actor = bounds.cut(f"reaction:{call.reaction}", bounds.MAX_NAME)
        run = Run(views, self._at.rules.name, lambda *_: writer, done.clock, now_ms, None, call.id, actor, lambda: True)
        try:
            declared = self._at.rules.commands.get(call.command)
            if declared is None:
                raise Undeclared("command", f"{call.command!r} is not declared here")
            with self._watch(call.command, call.id):
                run_declared(declared, run, declared.validate(json.loads(call.arguments)))
            command, size = self._command(call, run, actor)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # the app's own: the others go on
            done.failed.append(Failed(index, *_against(error)))
            return True
        finally:
            run.end()
        if command is None:
            return True
        if done.commands and (done.full(command, size) or any(map(self._depends(done), run.touched.values()))):
            return False
        done.add(index, call, command, size, run.touched)
        return True

    def _depends(self, done: _Done) -> Callable[[View], bool]:
        """May a guard refuse what is before it on a document, so that it would have been written on nothing?"""
        collections = self._at.rules.collections
        return lambda view: view.key in done.views and collections[view.document.collection].asked

    def _command(self, call: Call, run: Run[View], actor: str) -> tuple[Command | None, int]:
        """The command as it is sent; None where it changes nothing. Raises `InvalidInput`, `TooBig`."""
        if run.scope is None or not run.ops:
            return None, 0
        rules = self._at.rules
        if partition_of(run.scope, rules.partitions) != self._at.number:
            raise InvalidInput(
                call.command, f"opened a document of scope {run.scope!r}, and another one when it was called for"
            )
        hlc = max(op.hlc for _, op in run.ops)
        command = Command(call.id, call.command, run.scope, hlc, tuple(run.ops), actor)
        return command, len(encode_command(command, rules.name, REACTION_REPLICA, rules.release))

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
        failed = [(one.call, one.code, one.reason) for one in ran.failed]
        for index, command in zip(ran.calls, batch.commands, strict=False):
            if (outcome := against.get(command.id)) is not None:
                failed.append((index, REFUSED, f"{outcome.code}: {outcome.reason}"))
        if failed:
            self._list(ran.offset, failed, append_ms)
        if ran.offset not in waiting:
            self._said.pop(ran.offset, None)

    def _list(self, offset: int, failed: list[tuple[int, str, str]], append_ms: int) -> None:
        calls = self._said.get(offset)
        if calls is None:
            self._unlisted[offset] = failed
            return
        told = [
            (calls[index], code, f"{calls[index].reaction} called for {calls[index].command}: {reason}")
            for index, code, reason in failed
            if index < len(calls)
        ]
        self._book.list(told, append_ms)


@dataclass(slots=True)
class _Done:
    """A batch in the making."""

    end: int
    views: dict[bytes, View] = field(default_factory=dict)
    clock: HybridClock = field(default_factory=HybridClock)
    commands: list[Command] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    ops: int = 0
    size: int = 0

    def full(self, command: Command, size: int) -> bool:
        return self.ops + len(command.ops) > MAX_BATCH_OPS or self.size + size > BATCH_BYTES

    def add(self, index: int, call: Call, command: Command, size: int, touched: Mapping[bytes, View]) -> None:
        self.commands.append(command)
        self.depths.append(call.depth)
        self.indices.append(index)
        self.ops += len(command.ops)
        self.size += size
        self.views.update(touched)


class _Views(CopiedViews):
    """The documents of a partition as a command sees them: copies of what is merged."""

    def __init__(self, partition: Partition, before: Mapping[bytes, View]) -> None:
        super().__init__()
        self._at = partition
        self._before = before

    def collection(self, name: str) -> CollectionContract:
        declared = self._at.rules.space.collections.get(name)
        if declared is None:
            raise Undeclared("collection", f"{name!r} is not declared in space {self._at.rules.name!r}")
        return declared

    def _copied(self, document: DocumentId, key: bytes) -> View:
        collection = self.collection(document.collection)
        entry = self._at.cache.get(document, self._at.rules.collections[document.collection])
        before = self._before.get(key)
        state = entry.state if before is None else before.state
        view = View(document, key, collection, collection.document.copy(state), entry.size)
        view.known = dict(entry.state.vector)
        return view

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        return self._at.documents(collection, scope)


def _against(error: Exception) -> tuple[str, str]:
    """Code and reason."""
    if isinstance(error, Refused):
        code, reason = REFUSED, str(error)
    elif isinstance(error, InvalidInput | AlgebraError | TooBig):
        code, reason = REFUSED, f"invalid: {error}"
    else:
        code, reason = FAILED, f"{type(error).__name__}: {error}"
    return code, bounds.cut(reason, bounds.MAX_REASON)
