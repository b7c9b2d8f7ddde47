"""Commands that run again, by themselves or because a person says so: same id, new dots.

A refused command was seen without effect, but commands that came after it had been computed on a view that showed it. What was sent already the
cloud judges: what was built on the refused change comes back as `builds_on_refused`. What was not sent is taken back here, with all that was
computed on it in turn. Both run again on the corrected view, in their order, with the arguments that they were given; if the app refuses
now, that is their answer.

What is to run again is marked in the store before it is taken out of the queue, so a crash in between loses nothing. None stops the others: one that cannot run
now (what it looks at is evicted, or of a newer release) is passed over, with what comes behind it on its documents, and one in which the app's own function fails
goes to a person.

On the *review list* is what nobody can decide alone (see `outgoing/rebase`); a person applies it, which runs it again, or drops it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import structlog

from driftlog_crdt import AlgebraError
from driftlog_edge.asking import asked
from driftlog_edge.asking.executor import Executed, Executor
from driftlog_edge.asking.intent import Earlier
from driftlog_edge.asking.pages import COMMANDS_BYTES, check_limit, page_of
from driftlog_edge.errors import EdgeError, Evicted, NotFound, NotReadable
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.stood_on import stood_on
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry, Status, entry_of
from driftlog_edge.store.handover import NotTakenAlong
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import TAKEN_FULL
from driftlog_edge.store.logged import changed_keys, decode_logged, logged
from driftlog_edge.store.pending import Fate, marks_of
from driftlog_edge.store.unseen import withdrawn
from driftlog_edge.store.views import Views
from driftlog_edge.turns import in_turns
from driftlog_schemas import bounds
from driftlog_schemas.contract import InvalidInput, OneWay, Refused
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command

log = structlog.get_logger()

FAILED = "failed"
"""Code of a command in which the app's function failed when it ran again."""


class NotNow(Exception):
    """A command that is to run again waits for something. `documents` are what it changes, `why` says for what it waits."""

    def __init__(self, documents: set[bytes], why: EdgeError | ContractError) -> None:
        super().__init__(str(why))
        self.documents, self.why = documents, why


@dataclass(slots=True)
class Round:
    """One way through what is to run again."""

    after: bytes = b""
    """The key of the last mark that was passed over."""
    passed: set[bytes] = field(default_factory=set)
    """The documents of what was."""


class Reviewed(NamedTuple):
    """A command on the review list."""

    command: Command
    entry: Entry


class Again:
    """Runs commands of one replica again."""

    def __init__(self, executor: Executor, views: Views, outbox: Outbox, journal: Journal) -> None:
        self._executor = executor
        self._views = views
        self._outbox = outbox
        self._journal = journal

    # -- what was built on a refused change

    def take_back(
        self,
        space: str,
        partition: int,
        refused: Iterable[bytes],
        reviewed: Callable[[Command], tuple[str, str] | None] = lambda command: None,
        staying: set[int] | None = None,
    ) -> dict[Place, bytes | None]:
        """The writes that mark all unsent commands of these documents, and of theirs in turn, to run again. Stage them at once.

        Those go to the review list instead for which `reviewed` says why: code and reason. Those stay that the cloud has put off while what was
        written behind them is on its way to it, for that waits there for their changes; `staying` is told their lsns. Those stay, too, that another copy of the
        folder has sent and that are on their way into a new life: what the cloud says of them stands (`TakingAlong`).
        """
        refused = list(refused)
        stay = stood_on(self._journal, self._outbox.queue.entries, space, partition, refused)
        if staying is not None:
            staying |= stay
        writes: dict[Place, bytes | None] = {}
        todo = list(refused)
        met = set(todo)
        while todo:
            document = todo.pop()
            for mark in list(marks_of(self._journal, document)):
                if mark.fate is not Fate.UNKNOWN or mark.lsn in stay:
                    continue
                if (Family.PENDING, keys.pending_key(document, mark.lsn)) in writes:
                    continue
                if self._comes_along_decided(space, partition, mark.lsn):
                    continue
                taken = self._outbox.queue.withdraw(space, partition, mark.lsn)
                if not taken:
                    continue
                command = logged(self._journal, mark.lsn).command
                documents = changed_keys(command)
                writes.update(taken)
                writes.update(withdrawn(self._journal, space, partition, command, writes))
                if why := reviewed(command):
                    entry = entry_of(self._journal, command.id)
                    assert entry is not None, "what waits is in the command log"
                    writes[Family.COMMANDS, command.id.encode()] = entry.with_status(Status.REVIEW, *why).encode()
                    writes[Family.META, keys.review_key(mark.lsn)] = command.id.encode()
                else:
                    writes[Family.META, keys.again_key(mark.lsn)] = command.id.encode()
                for key in documents:
                    writes[Family.PENDING, keys.pending_key(key, mark.lsn)] = None
                    self._views.forget(key)
                self._views.backlog.dropped(mark.lsn)
                todo += documents - met
                met |= documents
        return writes

    def _comes_along_decided(self, space: str, partition: int, lsn: int) -> bool:
        handovers = self._outbox.lives.handovers
        if (space, partition) not in handovers.under_way:
            return False
        return handovers.of(space, partition, logged(self._journal, lsn).command.id) is not None

    def marked(self) -> bool:
        """Does something wait to run again?"""
        return next(iter(self._journal.scan(Family.META, keys.AGAIN)), None) is not None

    def next(self, round: Round | None = None) -> Executed | None:
        """Run the first of what waits and may run in this round; the write set takes its mark away. None when there is none. Stage it at once.

        Raises:
            NotNow: one waits for something; it is passed over, with what comes behind it.
            OutboxFull: all wait.
        """
        round = Round() if round is None else round
        for mark, _ in self._journal.scan(Family.META, keys.AGAIN, round.after):
            earlier = logged(self._journal, keys.parse_lsn(mark))
            documents = changed_keys(earlier.command)
            if round.passed.isdisjoint(documents):
                return self._next(mark, earlier.command, earlier.first_read, documents)
            round.passed |= documents
            round.after = mark
        return None

    def _next(self, mark: bytes, command: Command, read: int, documents: set[bytes]) -> Executed:
        entry = entry_of(self._journal, command.id)
        assert entry is not None, "what is marked is in the command log"
        try:
            executed = self._run(command, entry, read)
        except (Evicted, NotReadable, NotTakenAlong, ContractError) as why:
            raise NotNow(documents, why) from why
        assert executed.writes is not None, "it runs under its id, but not from the log"
        executed.writes[Family.META, mark] = None
        return executed

    def _run(self, command: Command, entry: Entry, read: int) -> Executed:
        try:
            return self.once_more(command, entry, read)
        except (EdgeError, ContractError):
            raise
        except Refused as refused:
            return self._refused(command, entry, refused.code, refused.reason)
        except (InvalidInput, AlgebraError) as error:
            return self._refused(command, entry, "one_way" if isinstance(error, OneWay) else "invalid", str(error))
        except Exception as defect:  # noqa: BLE001  # whatever the app's function raises: nobody is there to be told
            return self._failed(command, entry, defect)

    def _failed(self, command: Command, entry: Entry, defect: Exception) -> Executed:
        log.error("a command failed when it ran again; it waits for a person", command=command.id, exc_info=defect)
        reason = bounds.cut(f"it failed when it ran again: {defect!r}", bounds.MAX_REASON)
        entry = entry.with_status(Status.REVIEW, FAILED, reason)
        writes: dict[Place, bytes | None] = {
            (Family.COMMANDS, command.id.encode()): entry.encode(),
            (Family.META, keys.review_key(entry.lsn)): command.id.encode(),
        }
        return Executed(command.id, entry, writes)

    def _refused(self, command: Command, entry: Entry, code: str, reason: str) -> Executed:
        log.info("a command that ran again was refused", command=command.id, code=code, reason=reason)
        entry = entry.with_status(Status.REJECTED, code, reason)
        writes: dict[Place, bytes | None] = {
            (Family.COMMANDS, command.id.encode()): entry.encode(),
            (Family.META, keys.rejected_key(entry.lsn)): command.id.encode(),
        }
        return Executed(command.id, entry, writes)

    def once_more(self, command: Command, entry: Entry, read: int | None = None) -> Executed:
        """What was asked, on the view as it is now; `read` as in `Earlier`. Raises like `Executor.run`."""
        if entry.asked is None:
            raise InvalidInput("command_id", "what was asked is lost with a damaged store; drop it, and ask anew")
        what, *rest = cast("list[Any]", entry.asked)
        _, written_by, _ = entry.dots[0]
        first = command.root or written_by
        mark = Earlier(entry.fingerprint, "" if entry.code == TAKEN_FULL else first, read)
        if what == asked.RUN:
            return self._executor.run(entry.name, rest[0], command.id, command.actor, mark)
        document = DocumentId(*rest[0])
        if what == asked.WRITE:
            changes = [(field, op, args) for field, op, args in rest[1]]
            return self._executor.write(document, changes, command.id, command.actor, mark)
        return self._executor.decide(document, rest[1], command.id, command.actor, mark, command.decision)

    # -- the review list

    def review(self) -> Iterator[Reviewed]:
        """What waits for a person, oldest first."""
        for key, command_id in self._journal.scan(Family.META, keys.REVIEWS):
            if found := self._listed(key, command_id):
                yield found[0]

    async def review_page(self, limit: int, after: int) -> tuple[list[Reviewed], bool]:
        """Some of them, from after the command of that number; are there more?"""
        check_limit(limit)

        def scan(after: bytes) -> Iterator[tuple[bytes, bytes]]:
            return self._journal.scan(Family.META, keys.REVIEWS, after)

        return await in_turns(page_of(scan, self._listed, limit, keys.review_key(after), COMMANDS_BYTES))

    def _listed(self, key: bytes, command_id: bytes) -> tuple[Reviewed, int] | None:
        """What the list says of a command, and its bytes; None for one that is decided at this moment."""
        entry = entry_of(self._journal, command_id.decode())
        raw = self._journal.get(Family.OPLOG, keys.lsn_key(keys.parse_lsn(key)))
        return None if entry is None or raw is None else (Reviewed(decode_logged(raw).command, entry), len(raw))

    def apply(self, command_id: str) -> Executed:
        """Run a reviewed command on the view as it is now; stage the writes at once. Raises `NotFound`, and like `Executor.run`."""
        command, entry = self._reviewed(command_id)
        executed = self.once_more(command, entry)
        assert executed.writes is not None, "it runs under its id, but not from the log"
        executed.writes[Family.META, keys.review_key(entry.lsn)] = None
        return executed

    def drop(self, command_id: str) -> Executed:
        """Give a reviewed command up; stage the writes at once. Raises `NotFound`."""
        command, entry = self._reviewed(command_id)
        dropped = entry.with_status(Status.REJECTED, "dropped", "a person dropped it")
        writes: dict[Place, bytes | None] = {
            (Family.COMMANDS, command.id.encode()): dropped.encode(),
            (Family.META, keys.review_key(entry.lsn)): None,
        }
        return Executed(command.id, dropped, writes)

    def _reviewed(self, command_id: str) -> Reviewed:
        entry = entry_of(self._journal, command_id)
        if entry is None or entry.status is not Status.REVIEW:
            raise NotFound(f"command {command_id!r} is not on the review list")
        return Reviewed(logged(self._journal, entry.lsn).command, entry)
