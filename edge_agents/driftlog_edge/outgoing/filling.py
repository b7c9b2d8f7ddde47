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
from driftlog_edge.store.logged import ToSeal
from driftlog_schemas.batch_codec import MAX_COMMAND_BYTES, MAX_ENDS, MAX_STOOD_FOR, SHORT_DIGEST_BYTES
from driftlog_schemas.contract import AppContract, Undeclared
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_schemas.op_columns import ColumnCommand, in_columns
from driftlog_schemas.row_columns import short_name


@dataclass(slots=True)
class _Sent:
    """A command as it will be sent: one that was given, or several."""

    first: ColumnCommand
    """As it was given."""
    lsns: list[int]
    largest: int
    """Bytes that the largest of them takes in the log."""
    ops: int
    given: list[Command] = field(default_factory=list)
    """Of a collection that is collapsed: all that were given, the first among them."""
    row: Collapsing | None = None
    """And what is left of their ops."""

    @property
    def size(self) -> int:
        if len(self.lsns) == 1:
            return self.largest
        return self.largest * self.ops + SHORT_DIGEST_BYTES * len(self.lsns)

    def command(self, replica: str) -> ColumnCommand:
        """As it is sent, by its writer."""
        if self.row is None or len(self.lsns) == 1:
            return self.first
        last = self.given[-1]
        document = last.ops[0].document
        ops = tuple(DocumentOp(document, op) for op in self.row.ops())
        names = tuple(short_name(command.id) for command in self.given[:-1])
        return in_columns(last._replace(ops=ops, stands_for=names), replica)


@dataclass(slots=True)
class Filling:
    """One batch."""

    contract: AppContract
    most_ops: int
    """Unless one command alone has more."""
    most_bytes: int = MAX_COMMAND_BYTES
    join: bool = True
    """May commands be sent as one?"""
    given: dict[bytes, ToSeal] = field(default_factory=dict)
    """What goes in, by its entry in the queue."""
    logged_bytes: int = 0
    """What that takes in the log."""
    release: str = ""
    replica: str = ""
    """Who has written them: one life."""
    read: int = 0
    roots: set[str] = field(default_factory=set)
    _sent: list[_Sent] = field(default_factory=list)
    _rows: dict[bytes, _Sent] = field(default_factory=dict)
    """By document: what its next command may be sent with."""
    _whole: set[str] = field(default_factory=set)
    """Collections that were met and of which each command is sent as it is."""
    _ops: int = 0
    _size: int = 0

    @property
    def count(self) -> int:
        """Of the commands as they are sent."""
        return len(self._sent)

    def put(self, key: bytes, found: ToSeal) -> bool:
        """The next command, of this entry of the queue, if there is room for it beside what is in here: nothing has changed if there is none.

        There is for any one command, and what joins another costs a name: to send it later, by itself, would cost a slow link more. What its writer
        had read when it was first written is said under another life only.
        """
        single = self._single(key, found)
        there = None if single is None else self._goes_with(single)
        if self.given and not self._takes(found, joins=there is not None):
            return False
        sent, lsn = found.sent, keys.parse_lsn(key)
        if not sent.root and sent.written is not None:
            sent = sent._replace(written=None)
            single = None if single is None else single._replace(written=None)
        if sent.root:
            self.roots.add(sent.root)
        self.read = min(self.read, found.read) if self.given else found.read
        self.release, self.replica = found.release, found.replica
        self.logged_bytes += found.size
        self.given[key] = found
        if there is not None and single is not None:
            self._count(there, -1)
            _add(there, single, lsn, found.size)
        else:
            there = self._begin(sent, lsn, found.size, single)
        self._count(there, 1)
        return True

    def _takes(self, found: ToSeal, *, joins: bool) -> bool:
        root = found.sent.root
        return (
            self._ops + len(found.sent.ops.seqs) <= self.most_ops
            and self._size + found.size <= (MAX_COMMAND_BYTES if joins else self.most_bytes)
            and found.release == self.release
            and found.replica == self.replica
            and (not root or root in self.roots or len(self.roots) < MAX_ENDS)
            and len(self.given) - len(self._sent) < MAX_STOOD_FOR
        )

    def commands(self) -> list[ColumnCommand]:
        """As they are sent."""
        return [sent.command(self.replica) for sent in self._sent]

    def speakers(self) -> Sequence[tuple[int, int]]:
        """(lsn of a command, that of the one which stands for it)."""
        return [(lsn, sent.lsns[-1]) for sent in self._sent for lsn in sent.lsns[:-1]]

    def _single(self, key: bytes, found: ToSeal) -> Command | None:
        """The command, if it changes one document only and may be sent with others there."""
        collection, scope, id = found.sent.ops.documents[0]
        if collection in self._whole or not self.join or found.alone or keys.urgency_of(key) == keys.HELD:
            return None
        document = DocumentId(collection, scope, id)
        try:
            declared = self.contract.collection(collection)
            if declared.history != "collapsed":
                self._whole.add(collection)
                return None
            command = found.command
            alike = command.decision is None and all(changed == document for changed, _ in command.ops)
            return command if alike and all(declared.document.spot(op) is not None for _, op in command.ops) else None
        except (Undeclared, AlgebraError):
            return None

    def _count(self, sent: _Sent, sign: int) -> None:
        self._ops += sign * sent.ops
        self._size += sign * sent.size

    def _begin(self, sent: ColumnCommand, lsn: int, size: int, single: Command | None) -> _Sent:
        """One that goes with no other so far."""
        there = _Sent(sent, [lsn], size, len(sent.ops.seqs))
        self._sent.append(there)
        if self._rows:
            for changed in set(sent.ops.documents):
                self._rows.pop(document_key(DocumentId(*changed)), None)
        if single is not None:
            document, first = single.ops[0]
            there.given = [single]
            there.row = Collapsing(self.contract.collection(document.collection).document, first.before)
            for _, op in single.ops:
                there.row.add(op)
            self._rows[document_key(document)] = there
        return there

    def _goes_with(self, command: Command) -> _Sent | None:
        """With what a command is sent that changes one document only; None where that begins with it."""
        there = self._rows.get(document_key(command.ops[0].document))
        return there if there is not None and _goes_on(there, command) else None


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
