"""Commands that wait to be sealed: by class, then partition, then in order; counted as the store has them.

Order within a document always holds. A command of an urgent class takes the earlier unsent commands of its documents along
into its class, and theirs in turn, so that within a class the order of lsns is an order that every document agrees with. What the
cloud has deferred is held back for a while in a class of its own (`outgoing/held`), with all that comes behind it on its documents; the rest goes on.
Which of the other classes may leave is said by `outgoing/moments`, and whose turn it is by `outgoing/schedule`.

Spaces and partitions stand in every key by name: a release which declares more of them finds its queue as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from driftlog_edge.outgoing.entries import Entries
from driftlog_edge.outgoing.held import Held
from driftlog_edge.outgoing.moments import URGENT, Moments, class_of, moment_of
from driftlog_edge.outgoing.schedule import Schedule
from driftlog_edge.outgoing.together import classes_of
from driftlog_edge.ports import Family, Place, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import ToSeal, changed_keys, decode_logged, logged
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.messages import Command
from driftlog_schemas.rhythm import NOW


class Queue:
    """The unsealed commands of one replica. `spaces` are those of its app, in order."""

    def __init__(self, spaces: Sequence[str], journal: Journal, class_of: Callable[[Command], int]) -> None:
        """`class_of` says where a command belongs by what is declared, wherever it waits."""
        self._journal = journal
        self._class_of = class_of
        self.moments = Moments()
        """The classes but the last: how many commands wait in them, and which may leave."""
        self.held = Held()
        """Those of the last class."""
        self.bytes = 0
        """What they take in the op log."""
        self._moved: dict[int, dict[bytes, int]] = {}
        """class -> document -> up to which lsn its commands are in that class or a more urgent one, so that none is looked at twice."""
        self.entries = Entries(journal, self.moments)
        self.schedule = Schedule(spaces, self.entries, self.moments, self.held, class_of)
        self.count()
        journal.on_given_up(self._given_up)

    # -- counted

    def __len__(self) -> int:
        """Commands that are in no batch, the held ones among them."""
        return len(self.moments) + len(self.held)

    @property
    def ready(self) -> bool:
        """Is there something that could be sealed now, if no chain is stuck?"""
        return next(self.moments.open, None) is not None or bool(self.held.rounds)

    def count(self) -> None:
        """As the store has it."""
        self.bytes = 0
        self._moved.clear()
        self.held.forget()
        self.moments.forget()
        self.entries.fronts.clear()
        for key, value in self.entries.all():
            self._counted(key, value, 1, {})
            self.entries.fronts.come(key)
        self.moments.at_once()

    def _counted(self, key: bytes, value: bytes, sign: int, given_up: Writes) -> None:
        space, urgency, partition, lsn = keys.parse_outbox(key)
        self.bytes += sign * keys.unpack_number(value)
        if urgency == keys.HELD:
            self._hold((space, partition), lsn, self._command(lsn, given_up), sign)
            self.held.wake((space, partition))
        elif sign > 0 and given_up and urgency >= keys.WAITING:
            self.moments.come(urgency, lsn, changed_keys(self._command(lsn, given_up)))
        else:
            self.moments.count(urgency, lsn, sign)

    def _command(self, lsn: int, given_up: Writes) -> Command:
        raw = given_up.get((Family.OPLOG, keys.lsn_key(lsn)))
        return (logged(self._journal, lsn) if raw is None else decode_logged(raw)).command

    def _hold(self, place: tuple[str, int], lsn: int, command: Command, sign: int = 1) -> int:
        """A command of (space, partition) is held, or (-1) no longer. Its class by what is declared."""
        urgency = self._class_of(command)
        self.held.count(place, lsn, changed_keys(command), sign, urgent=urgency <= URGENT)
        return urgency

    def _given_up(self, writes: Writes) -> None:
        for (family, key), value in writes.items():
            if family is Family.OUTBOX:
                before = self._journal.get(family, key)
                for found, sign in ((value, -1), (before, 1)):
                    if found is not None:
                        self._counted(key, found, sign, writes)
                if before is not None:
                    self.entries.fronts.come(key)
        self._moved.clear()

    # -- in

    def put(
        self,
        space: str,
        partition: int,
        priority: str,
        lsn: int,
        size: int,
        documents: Sequence[bytes],
        rhythm: int = NOW,
    ) -> Mapping[Place, bytes | None]:
        """The writes that put a new command in, earlier ones of its documents moved along.

        `size` is what it takes in the op log. What is not urgent waits for the moment of its rhythm.
        """
        own = class_of(priority, rhythm)
        urgency = self.moments.joined(own, documents)
        writes: dict[Place, bytes | None] = {}
        if self.held.behind((space, partition), documents):
            urgency = keys.HELD
            self.held.count((space, partition), lsn, documents, urgent=own <= URGENT)
            self.held.begins_to_wait((space, partition), moment_of(own))
            if own <= URGENT:
                self.held.wake((space, partition))
        else:
            if behind := [other for other in self.moments.classes if other > urgency]:
                self._move(writes, space, partition, urgency, documents, behind)
            self.moments.come(urgency, lsn, documents)
        writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, lsn)] = keys.pack_number(size)
        self.bytes += size
        return writes

    def put_back(
        self, space: str, partition: int, commands: Mapping[int, Command], sizes: Mapping[int, int]
    ) -> dict[Place, bytes | None]:
        """The writes that put commands (by lsn) in whose batch, or whose life, is over. Their moment has come: they have waited for it before."""
        writes: dict[Place, bytes | None] = {}
        classes = classes_of(commands, self._class_of)
        for lsn, urgency in classes.items():
            writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, lsn)] = keys.pack_number(sizes[lsn])
            self.bytes += sizes[lsn]
            self.moments.come(urgency, lsn, changed_keys(commands[lsn]))
        self.moments.arrived(classes.values())
        return writes

    def defer(self, space: str, partition: int, lsns: Iterable[int]) -> dict[Place, bytes | None]:
        """The writes that put sealed commands back, to be sealed again later, and hold what is behind them."""
        writes: dict[Place, bytes | None] = {}
        documents: set[bytes] = set()
        for lsn in lsns:
            command, size = logged(self._journal, lsn)[:2]
            writes[Family.OUTBOX, keys.outbox_key(space, keys.HELD, partition, lsn)] = keys.pack_number(size)
            self.bytes += size
            urgency = self._hold((space, partition), lsn, command)
            self.held.begins_to_wait((space, partition), moment_of(urgency), anew=True)
            documents |= changed_keys(command)
        self.held.wake((space, partition))
        self.held.blocked((space, partition), documents)
        self._move(writes, space, partition, keys.HELD, sorted(documents), self.moments.classes)
        return writes

    def _move(
        self,
        writes: dict[Place, bytes | None],
        space: str,
        partition: int,
        urgency: int,
        documents: Sequence[bytes],
        classes: Sequence[int],
    ) -> None:
        """Commands of these documents go from `classes` to `urgency`, and those of their documents in turn."""
        todo, met = list(documents), set(documents)
        moved = self._moved.setdefault(urgency, {})
        while todo:
            document = todo.pop()
            for mark in marks_of(self._journal, document, moved.get(document, 0)):
                moved[document] = mark.lsn
                for other in classes:
                    place = (Family.OUTBOX, keys.outbox_key(space, other, partition, mark.lsn))
                    value = None if place in writes else self._journal.get(*place)
                    if value is None:
                        continue
                    writes[place] = None
                    writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, mark.lsn)] = value
                    self.moments.count(other, mark.lsn, -1)
                    command = logged(self._journal, mark.lsn).command
                    own = changed_keys(command)
                    if urgency == keys.HELD:
                        declared = self._hold((space, partition), mark.lsn, command)
                        self.held.begins_to_wait((space, partition), moment_of(declared))
                    else:
                        self.moments.come(urgency, mark.lsn, own)
                    todo += own - met
                    met |= own

    # -- out

    def withdraw(self, space: str, partition: int, lsn: int) -> dict[Place, bytes | None]:
        """The writes that take one command out; none if it does not wait."""
        entry = self.entries.of_command(lsn, space, partition)
        if entry is None:
            return {}
        self._counted(*entry, -1, {})
        return {(Family.OUTBOX, entry[0]): None}

    def moved_along(
        self,
        space: str,
        partition: int,
        waiting: Mapping[int, bytes],
        commands: Mapping[int, Command],
        sizes: Mapping[int, int],
        documents: Iterable[bytes],
    ) -> dict[Place, bytes | None]:
        """The writes by which of these entries (lsn -> key) those of `commands` wait on, and the others leave.
        `documents` are all that they change, and nothing else here changes one of those."""
        writes: dict[Place, bytes | None] = {}
        for key in waiting.values():
            writes[Family.OUTBOX, key] = None
            self._counted(key, self._journal.get(Family.OUTBOX, key) or b"", -1, {})
        writes.update(self.put_back(space, partition, commands, sizes))
        for moved in self._moved.values():
            for document in documents:
                moved.pop(document, None)
        return writes

    def taken(
        self, space: str, partition: int, commands: Mapping[bytes, ToSeal], size: int
    ) -> dict[Place, bytes | None]:
        """The writes that take these (entry -> command) out, to be sealed; `size` is theirs in the op log."""
        self.schedule.served(space, partition)
        self.bytes -= size
        gone: dict[int, list[int]] = {}
        for key, found in commands.items():
            urgency, _, lsn = keys.parse_outbox(key)[1:]
            if urgency == keys.HELD:
                self._hold((space, partition), lsn, found.command, -1)
            else:
                gone.setdefault(urgency, []).append(lsn)
        self.moments.left(gone)
        if not len(self):
            self._moved.clear()
        return {(Family.OUTBOX, key): None for key in commands}
