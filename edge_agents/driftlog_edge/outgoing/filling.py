"""A batch that is being filled: what it takes, and which of its commands are sent as one.

In a collection that is declared `history="collapsed"` nobody wants to know how a document came to be what it is. There consecutive commands of a
document that wait for the network are sent as one, with the fewest ops that mean the same (`crdt/collapsing`). It happens when they are sealed and
nowhere else: what is logged, shown and answered stays as it was given, and what was sealed goes out byte for byte. So a crash finds all of them
waiting, or all of them in one sealed batch.

The last of them *stands for* the others. It carries its own id, names theirs, and what becomes of it becomes of all: merged or refused together, as a
guard sees only what they come to. So only such are joined of which the cloud asks the same: of one name and one author, written by the same
release, each about that one document, and all on one view of it. Where another command changes the document in between, or its writer heard in
between what others did there or what became of its own, the row ends: of what was written before that the cloud may say something else than of what
came after. Who is offline hears nothing.

Some always go alone: what ran again or was taken into a new life (the cloud counts it once by its own id, whoever brings it), and what the cloud
has deferred, so that it can say which of them it does not take, and a person can give up that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from driftlog_crdt import AlgebraError, Collapsing
from driftlog_edge.store import keys
from driftlog_edge.store.logged import Logged
from driftlog_schemas.batch_codec import MAX_COMMAND_BYTES, MAX_ENDS, MAX_STOOD_FOR, SHORT_DIGEST_BYTES
from driftlog_schemas.contract import AppContract, Undeclared
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_schemas.row_columns import short_name


@dataclass(slots=True)
class _Sent:
    """A command as it will be sent: one that was given, or several."""

    given: list[Command]
    lsns: list[int]
    largest: int
    """Bytes that the largest of them takes in the log."""
    ops: int
    row: Collapsing | None = None
    """Of a collection that is collapsed: what is left of their ops."""

    @property
    def size(self) -> int:
        if len(self.given) == 1:
            return self.largest
        return self.largest * self.ops + SHORT_DIGEST_BYTES * len(self.given)

    def command(self) -> Command:
        """As it is sent."""
        last = self.given[-1]
        if self.row is None or len(self.given) == 1:
            return last
        document = last.ops[0].document
        ops = tuple(DocumentOp(document, op) for op in self.row.ops())
        return last._replace(ops=ops, stands_for=tuple(short_name(command.id) for command in self.given[:-1]))


@dataclass(slots=True)
class Filling:
    """One batch."""

    contract: AppContract
    most_ops: int
    """Unless one command alone has more."""
    most_bytes: int = MAX_COMMAND_BYTES
    join: bool = True
    """May commands be sent as one?"""
    given: dict[bytes, Command] = field(default_factory=dict)
    """What goes in, by its entry in the queue."""
    logged_bytes: int = 0
    """What that takes in the log."""
    release: str = ""
    read: int = 0
    roots: set[str] = field(default_factory=set)
    _sent: list[_Sent] = field(default_factory=list)
    _rows: dict[bytes, _Sent] = field(default_factory=dict)
    """By document: what its next command may be sent with."""
    _ops: int = 0
    _size: int = 0

    @property
    def count(self) -> int:
        """Of the commands as they are sent."""
        return len(self._sent)

    def takes(self, key: bytes, found: Logged) -> bool:
        """Is there room for it beside what is in here? There is for any one command, and what joins another costs a name: to send it later, by
        itself, would cost a slow link more.
        """
        most = self.most_bytes if self._joined(key, found)[1] is None else MAX_COMMAND_BYTES
        roots = self.roots | ({found.command.root} - {""})
        return not self.given or (
            self._ops + len(found.command.ops) <= self.most_ops
            and self._size + found.size <= most
            and len(roots) <= MAX_ENDS
            and found.release == self.release
            and len(self.given) - len(self._sent) < MAX_STOOD_FOR
        )

    def put(self, key: bytes, found: Logged) -> None:
        """The next command, of this entry of the queue; it `takes` it. What its writer had read when it was first written is said under another life only."""
        if not found.command.root and found.command.written is not None:
            found = found._replace(command=found.command._replace(written=None))
        self.roots |= {found.command.root} - {""}
        self.read = min(self.read, found.read) if self.given else found.read
        self.release = found.release
        self.logged_bytes += found.size
        self.given[key] = found.command
        lsn = keys.parse_lsn(key)
        document, there = self._joined(key, found)
        if there is not None:
            self._count(there, -1)
            _add(there, found.command, lsn, found.size)
        else:
            there = _Sent([found.command], [lsn], found.size, len(found.command.ops))
            self._sent.append(there)
            if self._rows:
                for changed in {changed for changed, _ in found.command.ops}:
                    self._rows.pop(document_key(changed), None)
            if document is not None:
                self._begin(there, document)
        self._count(there, 1)

    def commands(self) -> tuple[Command, ...]:
        """As they are sent."""
        return tuple(sent.command() for sent in self._sent)

    def speakers(self) -> Sequence[tuple[int, int]]:
        """(lsn of a command, that of the one which stands for it)."""
        return [(lsn, sent.lsns[-1]) for sent in self._sent for lsn in sent.lsns[:-1]]

    def _joined(self, key: bytes, found: Logged) -> tuple[DocumentId | None, _Sent | None]:
        """The document on which a command may be sent with others, and with what it is."""
        if not self.join or found.alone or keys.urgency_of(key) == keys.HELD:
            return None, None
        document = self._collapsed(found.command)
        there = None if document is None else self._rows.get(document_key(document))
        return document, there if there is not None and _goes_on(there, found.command) else None

    def _count(self, sent: _Sent, sign: int) -> None:
        self._ops += sign * sent.ops
        self._size += sign * sent.size

    def _begin(self, sent: _Sent, document: DocumentId) -> None:
        ops = sent.given[0].ops
        sent.row = Collapsing(self.contract.collection(document.collection).document, ops[0].op.before)
        for _, op in ops:
            sent.row.add(op)
        self._rows[document_key(document)] = sent

    def _collapsed(self, command: Command) -> DocumentId | None:
        """The one document that a command changes, if such commands may be joined there."""
        document = command.ops[0].document
        try:
            collection = self.contract.collection(document.collection)
            if (
                command.decision is not None
                or collection.history != "collapsed"
                or any(changed != document for changed, _ in command.ops)
            ):
                return None
            return None if any(collection.document.spot(op) is None for _, op in command.ops) else document
        except (Undeclared, AlgebraError):
            return None


def _goes_on(sent: _Sent, command: Command) -> bool:
    """Is a command asked of the cloud as these were, and does it follow on them?"""
    first, row = sent.given[0], sent.row
    if row is None or row.last != command.ops[0].op.before:
        return False
    return (first.name, first.actor) == (command.name, command.actor) and _same_view(first, command)


def _same_view(first: Command, command: Command) -> bool:
    """Had their writer heard the same when it wrote them: of others, and of what became of its own changes?"""
    if _decided(first) != _decided(command):
        return False
    seen = [op.context for _, op in first.ops]
    return all(op.context in seen for _, op in command.ops)


def _decided(command: Command) -> int:
    """Up to which of its own changes of the document its writer knew what had become of them."""
    op = command.ops[0].op
    return op.before - op.unsure


def _add(sent: _Sent, command: Command, lsn: int, size: int) -> None:
    assert sent.row is not None, "what goes on has a row"
    for _, op in command.ops:
        sent.row.add(op)
    sent.given.append(command)
    sent.lsns.append(lsn)
    sent.largest = max(sent.largest, size)
    sent.ops = len(sent.row)
