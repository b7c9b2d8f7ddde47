"""Commands of a life that is over on their way into the next one, some documents at a time.

The new life begins in one small write: from then on commands are written under its name. What the old one had promised follows in steps, each
of them a write that stands for itself. So it is no matter where a crash cuts in, and nobody waits for all of it: a document is wholly in the
old life or wholly in the new one, and who wants to change one that has not come along waits for that document's step. Readers see either.

What the old chain holds of our commands is written down before the new life begins, for without the network nobody could learn it again.

Must never happen: a change under the new name on a document that has changes under the old one. Their order would be lost.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Generator, Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import NamedTuple

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import Logged
from driftlog_schemas.batch_codec import decode_body, encode_body
from driftlog_schemas.messages import Batch, Command, CommandOutcome, Verdict
from driftlog_schemas.row_columns import short_name

LOOKED_AT = 500
"""Commands that are gathered without letting others run."""


class NotTakenAlong(EdgeError):
    """A document's earlier changes are not under the name that writes there now. They will be at once; see `Handovers.wanted`."""

    code = "not_ready"

    def __init__(self, space: str, partition: int, documents: Collection[bytes]) -> None:
        super().__init__("earlier changes are just taken into this folder's new life", "ask again")
        self.space, self.partition, self.documents = space, partition, documents


class Sent(NamedTuple):
    """A command as somebody has sent it, or the one that stands for it, in which batch, and its verdict as far as the row still tells it; of an
    accepted one without a code."""

    command: Command
    outcome: CommandOutcome
    number: int
    told: bool = True
    """Does the row still tell its verdict? If not it may have been put off, with nothing of it seen."""
    refusals_told: bool = True
    """Would the row tell if it had been rejected, which counts as seen as well?"""

    def same(self, logged: Logged) -> bool:
        """Is it this very attempt? What was asked again under its id has other dots, and is never sent with others as one."""
        if self.command.stands_for:
            return not logged.alone
        return self.command.ops == logged.command.ops

    def alone(self, name: bytes) -> Sent:
        """The same, of this one of the commands for which it was sent."""
        command = self.command
        return self._replace(command=command._replace(stands_for=(name,))) if command.stands_for else self


@dataclass(frozen=True, slots=True)
class Handover:
    """One that is under way in a partition."""

    old: str
    """The life that is over."""
    why: str
    last: int
    """The highest lsn that was written under it."""
    complete: bool
    """Is all known that its chain holds?"""
    offset: int = -1
    """Of the newest batch that its chain holds; -1 where nobody knows, and in what the release before has begun."""


@dataclass(slots=True)
class Rest:
    """What has not come along yet, by command and by document."""

    commands: dict[int, tuple[bytes, Collection[bytes]]] = field(default_factory=dict)
    """lsn -> (outbox key, documents)"""
    documents: dict[bytes, list[int]] = field(default_factory=dict)
    wanted: deque[bytes] = field(default_factory=deque)
    """Documents that somebody waits for."""

    def add(self, lsn: int, key: bytes, documents: Collection[bytes]) -> None:
        self.commands[lsn] = key, documents
        for document in documents:
            self.documents.setdefault(document, []).append(lsn)

    def some(self, enough: int) -> Generator[None, None, dict[int, bytes]]:
        """Some documents with all that changes them, and what changes those in turn: lsn -> outbox key, in order. At least one of them, and
        more until they are enough. They stay here until they are `drop`ped; others may run meanwhile."""
        found: dict[int, bytes] = {}
        met: set[bytes] = set()
        for document in (*self.wanted, *islice(self.documents, enough)):
            if len(found) >= enough:
                break
            todo = [document]
            while todo:
                key = todo.pop()
                for lsn in () if key in met else self.documents.get(key, ()):
                    if lsn not in found:
                        found[lsn], others = self.commands[lsn]
                        todo += others
                        if len(found) % LOOKED_AT == 0:
                            yield
                met.add(key)
        return dict(sorted(found.items()))

    def drop(self, found: Iterable[int]) -> None:
        """These have come along, and with them all that changes their documents."""
        for lsn in found:
            _, documents = self.commands.pop(lsn)
            for document in documents:
                self.documents.pop(document, None)
        self.wanted = deque(document for document in self.wanted if document in self.documents)


class Handovers:
    """Those of one folder, by (space, partition)."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.under_way: dict[tuple[str, int], Handover] = {}
        self.rest: dict[tuple[str, int], Rest] = {}
        """Made by whoever carries them out; where there is none yet, nobody knows what is left."""
        self._recount()
        journal.on_rollback(self._recount)

    def _recount(self) -> None:
        self.rest.clear()
        self.under_way = {
            keys.parse_place(key, keys.HANDOVERS): Handover(**json.loads(value))
            for key, value in self._journal.scan(Family.META, keys.HANDOVERS)
        }

    def require(self, place: tuple[str, int], documents: Collection[bytes]) -> None:
        """Raise `NotTakenAlong` if one of them may not be changed yet."""
        if self.concerns(place, documents):
            raise NotTakenAlong(*place, tuple(documents))

    def concerns(self, place: tuple[str, int], documents: Iterable[bytes]) -> bool:
        """Has one of them not come along?"""
        if place not in self.under_way:
            return False
        rest = self.rest.get(place)
        return rest is None or any(document in rest.documents for document in documents)

    def want(self, waiting: NotTakenAlong) -> None:
        """Somebody waits for these: they come next."""
        rest = self.rest.get((waiting.space, waiting.partition))
        if rest is not None:
            rest.wanted.extend(document for document in waiting.documents if document in rest.documents)

    def written(self, space: str, partition: int, handover: Handover | None) -> dict[Place, bytes | None]:
        """The write that begins one or (None) ends it. Stage it at once."""
        if handover is None:
            self.under_way.pop((space, partition), None)
            self.rest.pop((space, partition), None)
        else:
            self.under_way[space, partition] = handover
        value = None if handover is None else json.dumps(asdict(handover)).encode()
        return {(Family.META, keys.handover_key(space, partition)): value}

    # -- what the old chain holds

    def held(self, space: str, partition: int, replica: str, name: bytes, sent: Sent) -> dict[Place, bytes | None]:
        """The write that keeps what became of the command of this short name, which the old chain holds."""
        outcome = sent.outcome
        told = json.dumps([sent.number, outcome.verdict.value, outcome.code, outcome.reason]).encode()
        value = keys.pack_number(len(told)) + told + encode_body(Batch(space, partition, replica, 0, (sent.command,)))
        return {(Family.META, keys.held_key(space, partition, name)): value}

    def of(self, space: str, partition: int, command_id: str) -> Sent | None:
        """The command of this id which the old chain holds, and what became of it; None where it holds none."""
        raw = self._journal.get(Family.META, keys.held_key(space, partition, short_name(command_id)))
        if raw is None:
            return None
        end = keys.LSN_BYTES + keys.unpack_number(raw[: keys.LSN_BYTES])
        number, verdict, code, reason = json.loads(raw[keys.LSN_BYTES : end])
        (command,) = decode_body(raw[end:]).commands
        return Sent(command, CommandOutcome(command_id, Verdict(verdict), code, reason), number)

    def forgotten(self, space: str, partition: int, at_most: int) -> dict[Place, bytes | None]:
        """The writes that forget some of it; none when nothing is left."""
        found: dict[Place, bytes | None] = {}
        for key, _ in self._journal.scan(Family.META, keys.held_prefix(space, partition)):
            found[Family.META, key] = None
            if len(found) == at_most:
                break
        return found
