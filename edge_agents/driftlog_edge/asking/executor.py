"""Running a command: local first, atomic, idempotent by its id.

One command gives one write set: the op log entry with its ops, the command log entry, the pending index, the outbox entry and the
clock. Nothing is written when it is refused. The command runs on the cached views themselves; if it fails half-way the
touched views are dropped and computed anew from what is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from driftlog_crdt import Decision, TooLarge
from driftlog_edge.asking import asked
from driftlog_edge.asking.intent import Earlier, Intent
from driftlog_edge.errors import Stale
from driftlog_edge.link.freshness import Freshness
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import Entry, Status
from driftlog_edge.store.cursors import cursor_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.logged import encode_logged
from driftlog_edge.store.pending import Fate, Mark
from driftlog_edge.store.stamps import Stamps
from driftlog_edge.store.views import PENDING_BYTES, View, Views
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract, CommandContract, InvalidInput, Json
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command
from driftlog_schemas.running import (
    BadName,
    Run,
    Writer,
    check_command_id,
    fingerprint,
    oldest_allowed,
    require_same,
    run_declared,
)


class Executed(NamedTuple):
    """An answered command. `writes` is None when it was answered from the log: nothing is new."""

    command_id: str
    entry: Entry
    writes: dict[Place, bytes | None] | None
    touched: tuple[bytes, ...] = ()
    scope: str = ""


class Tried(Exception):
    """It would be taken as it is; nothing was changed, for it was only tried."""


class Executor:
    """Commands against the views of one replica."""

    def __init__(
        self,
        contract: AppContract,
        lives: Lives,
        views: Views,
        outbox: Outbox,
        journal: Journal,
        clock: Clock,
        scopes: Collection[str] | None = None,
        freshness: Callable[[], Freshness] | None = None,
        publishes: Callable[[], bool] = lambda: False,
    ) -> None:
        """`scopes` are those that the replica holds, None for all: what it does not hold it would never see merged. Without a `freshness`
        everything is fresh. `publishes`: may the device write what only comes down?
        """
        self._contract = contract
        self._releases = {name: space.release for name, space in contract.spaces.items()}
        self._lives = lives
        self._views = views
        self._outbox = outbox
        self._journal = journal
        self._wall = clock
        self._scopes = scopes
        self._freshness = freshness
        self._publishes = publishes
        self.stamps = Stamps(journal, clock)
        self._last_lsn = 0
        self.reload()
        journal.on_rollback(self.reload)

    def reload(self) -> None:
        """The lsn as the store has it."""
        _, self._last_lsn = keys.unpack_pair(self._journal.get(Family.META, keys.CLOCK))

    def run(
        self,
        name: str,
        arguments: Mapping[str, Any],
        command_id: str = "",
        actor: str = "",
        again: Earlier | None = None,
    ) -> Executed:
        """A declared command; `again` where it runs once more under its id.

        Raises:
            InvalidInput, Refused, AlgebraError, OutboxFull, Stale: nothing has changed.
        """
        command = self._contract.command(name)
        mark = again.mark if again else fingerprint(name, arguments)
        if not again and (known := self._known(command_id, mark)):
            return known
        checked = command.validate(arguments)
        intent = Intent(command_id, name, command.space, command.priority, actor, mark, asked.run(arguments), again)
        return self._execute(intent, lambda run: self._on_fresh(command, run, checked, again is not None))

    def write(
        self,
        document: DocumentId,
        changes: Sequence[tuple[str, str, Sequence[Json]]],
        command_id: str = "",
        actor: str = "",
        again: Earlier | None = None,
    ) -> Executed:
        """Changes of one document without a declared command: (field, op, args). Raises like `run`."""
        collection = self._contract.collection(document.collection)
        mark = again.mark if again else fingerprint("", [document, changes])
        if not again and (known := self._known(command_id, mark)):
            return known
        if not changes:
            raise InvalidInput("body", "no changes; give a list of {field, op, args}")

        def apply(run: Run[View]) -> Json:
            try:
                editor = run.open(*document)
            except BadName as error:
                raise error.as_given(document._asdict()) from error
            for field, op, args in changes:
                collection.mutate(editor, field, op, args)
            return None

        what = asked.write(document, changes)
        intent = Intent(command_id, "", collection.space, collection.priority, actor, mark, what, again)
        return self._execute(intent, apply)

    def decide(
        self,
        document: DocumentId,
        chosen: Mapping[str, Json],
        command_id: str = "",
        actor: str = "",
        again: Earlier | None = None,
        decision: Decision | None = None,
        *,
        only_tried: bool = False,
    ) -> Executed:
        """What a person chose for a conflict: place -> value, and by what means and why. Raises like `run`, and `Tried` where it is only tried."""
        collection = self._contract.collection(document.collection)
        mark = again.mark if again else fingerprint("", [document, chosen])
        if not again and (known := self._known(command_id, mark)):
            return known

        def apply(run: Run[View]) -> Json:
            editor = run.open(*document)
            for place, value in chosen.items():
                collection.decide(editor, place, value)
            return None

        what = asked.decide(document, chosen)
        intent = Intent(command_id, "", collection.space, collection.priority, actor, mark, what, again, decision)
        return self._execute(intent, apply, only_tried=only_tried)

    def _on_fresh(self, command: CommandContract, run: Run[View], arguments: Mapping[str, Any], again: bool) -> Json:
        """Run it. What was answered once runs again on whatever there is: it has been refused enough."""
        try:
            return run_declared(command, run, arguments)
        finally:
            if not again:  # also where the app has refused it: that was for what stale data says
                self._require_fresh(command, run)

    def _require_fresh(self, command: CommandContract, run: Run[View]) -> None:
        if command.requires_fresh is None or self._freshness is None or run.scope is None:
            return
        allowed, known = oldest_allowed(command, run), self._freshness()
        _, partition = self._outbox.place(command.space, run.scope)
        place = topics.state_topic(command.space), partition
        if allowed is not None and not known.younger(place, allowed):
            age = known.age(known.since(place))
            told = "was never in step yet" if age is None else f"was in step {age:.0f} s ago, or longer"
            raise Stale(
                f"{command.name} wants data that is at most {allowed:g} s old; scope {run.scope!r} {told}", place, age
            )

    def _known(self, command_id: str, mark: str) -> Executed | None:
        if not command_id:
            return None
        check_command_id(command_id)
        raw = self._journal.get(Family.COMMANDS, command_id.encode())
        if raw is None:
            return None
        entry = Entry.decode(raw)
        if entry.fingerprint:  # else what was asked under it is lost with a damaged store
            require_same(entry.fingerprint, mark)
        return Executed(command_id, entry, None)

    def _execute(self, intent: Intent, function: Callable[[Run[View]], Json], *, only_tried: bool = False) -> Executed:
        clock = self.stamps.clock
        stamp = clock.last
        run = Run(
            self._views,
            intent.space,
            self._writer,
            clock,
            self._wall.wall_ms(),
            self._scopes,
            intent.command_id or str(uuid.uuid4()),
            intent.actor,
            self._publishes,
        )
        try:
            result = function(run)
            logged = self._logged(intent, run) if run.ops else b""
            if only_tried:
                raise Tried
            return self._written(intent, run, result, logged) if run.ops else _without_effect(intent, run, result)
        except BaseException:
            # Refused, invalid, only tried, or a defect in the app's function: the views may hold some of it.
            clock.last = stamp
            for key in run.touched:
                self._views.forget(key)
            raise
        finally:
            run.end()

    def _logged(self, intent: Intent, run: Run[View]) -> bytes:
        """The op log's entry, if the command may be written at all."""
        space, again = intent.space, intent.again
        self._outbox.require_room(intent.priority, answered=again is not None)
        assert run.scope is not None
        self._lives.handovers.require(self._outbox.place(space, run.scope), run.touched)
        stamp, ops = self.stamps.clock.last, tuple(run.ops)
        command = Command(run.command_id, intent.name, run.scope, stamp, ops, run.actor, decision=intent.decision)
        if again:
            command = command.first_written(again.life, run.replica, again.read)
        try:
            read, release = self._read(space, run.scope), self._releases[space]
            return encode_logged(command, space, run.replica, read, release, alone=again is not None)
        except TooBig as error:
            raise TooLarge("", f"the command is too big to be sent: {error}") from error

    def _written(self, intent: Intent, run: Run[View], result: Json, logged: bytes) -> Executed:
        """The write set, and the views and the backlog as they are with it."""
        assert run.scope is not None
        writes: dict[Place, bytes | None] = {}
        lsn, space, touched = self._last_lsn + 1, intent.space, tuple(run.touched)
        dots = tuple((view_key.decode(), op.replica, op.seq) for view_key, op in run.dots())
        entry = Entry(lsn, intent.name, intent.mark, Status.PENDING, result, dots, run.now_ms, asked=intent.asked)
        writes[Family.OPLOG, keys.lsn_key(lsn)] = logged
        writes[Family.COMMANDS, run.command_id.encode()] = entry.encode()
        for key, view in run.touched.items():
            mark = Mark(lsn, Fate.UNKNOWN, run.replica, view.state.vector[run.replica])
            writes[Family.PENDING, keys.pending_key(key, lsn)] = mark.encode()
        writes[Family.META, keys.CLOCK] = keys.pack_pair(self.stamps.clock.last, lsn)
        writes.update(self._lives.taking(*self._outbox.place(space, run.scope), run.replica))
        writes.update(self._outbox.entry(space, run.scope, intent.priority, lsn, len(logged), touched))
        for view in run.touched.values():
            view.pending.append(lsn)
            self._views.grew(view, PENDING_BYTES)
        self._last_lsn = lsn
        self._views.backlog.added(lsn)
        return Executed(run.command_id, entry, writes, touched, run.scope)

    def _read(self, space: str, scope: str) -> int:
        """Up to which group this replica has the read model that the command saw."""
        _, partition = self._outbox.place(space, scope)
        return cursor_of(self._journal, topics.state_topic(space), partition).group

    def _writer(self, space: str, scope: str) -> Writer:
        return self._lives.writer(*self._outbox.place(space, scope))


def _without_effect(intent: Intent, run: Run[View], result: Json) -> Executed:
    """It changes nothing: it is answered, and that is kept for as long as its id is."""
    entry = Entry(0, intent.name, intent.mark, Status.MERGED, result, (), run.now_ms)
    writes: dict[Place, bytes | None] = {
        (Family.COMMANDS, run.command_id.encode()): entry.encode(),
        (Family.META, keys.answered_key(run.now_ms, run.command_id)): b"",
    }
    return Executed(run.command_id, entry, writes)
