"""A command as the op log keeps it, with its ops, until it is done.

It is written with every command and read when it is sealed into a batch, so its form is the cheapest that says it all: one byte for the
form, then JSON, which is read and written by a library in one call. Names are not shared and numbers not packed; the batch does that.

What could not be sealed must not get in here, for it would stop the queue: names are held against the bounds of the wire. A small command
fits into any batch; a large one is sealed once to see.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from driftlog_crdt import Decision, Op
from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import encode_command
from driftlog_schemas.errors import TooBig, Undecodable
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_schemas.op_columns import ColumnCommand, of_rows
from driftlog_schemas.tuples import maker

_FORM = b"\x02"
SURELY_FITS = 16 << 10
"""A command of so many bytes fits into a batch of `MAX_BATCH_BYTES`, in which it takes four times as much at the very most."""

_op_of, _document_op_of, _document_of = maker(Op), maker(DocumentOp), maker(DocumentId)


class Logged(NamedTuple):
    """A command of the op log."""

    command: Command
    size: int
    """How many bytes it takes in the log; on the wire it takes about as many, and seldom more."""
    read: int
    """The group of the read model that its writer had when it was written (`cursors.Cursor.group`)."""
    release: str
    """Of the app that wrote it (`SpaceContract.release`); this agent may run another by now."""
    alone: bool = False
    """Did it run again, or was it taken into a new life? Then it is sent with no other as one (`outgoing/filling`)."""

    @property
    def first_read(self) -> int:
        """The group that its writer had when it was first written, over lives, and over runs of which no person decided."""
        return self.read if self.command.written is None else self.command.written


class ToSeal(NamedTuple):
    """A command of the op log for a batch: its ops are in columns, and none is made an object."""

    sent: ColumnCommand
    size: int
    read: int
    release: str
    alone: bool
    """These as `Logged` has them."""
    replica: str
    """The writer of its ops."""
    raw: bytes
    """What the log has."""

    @property
    def command(self) -> Command:
        """With its ops, for whom it must be looked into."""
        return decode_logged(self.raw).command


_sent_of, _to_seal_of = maker(ColumnCommand), maker(ToSeal)


def encode_logged(command: Command, space: str, replica: str, read: int, release: str, *, alone: bool = False) -> bytes:
    """Raises `TooBig`."""
    try:
        _check(command, space, replica, release)
    except bounds.OutOfBounds as error:
        raise TooBig(str(error), "shorten it") from error
    id, name, scope, hlc, ops, actor, root, written, decision, _ = command
    decided = None if decision is None else decision[:2]
    plain_ops = [
        (document.collection, document.id, op.seq, op.hlc, op.field, op.kind, op.value, op.context, op.unsure)
        for document, op in ops
    ]
    raw = _FORM + to_json(
        (read, release, alone, replica, id, name, scope, hlc, actor, root, written, decided, plain_ops)
    )
    if len(raw) > SURELY_FITS:
        encode_command(command, space, replica, release)
    return raw


def decode_logged(raw: bytes) -> Logged:
    """Inverse of `encode_logged`. Raises `Undecodable`."""
    try:
        read, release, alone, replica, id, name, scope, hlc, actor, root, written, decided, plain_ops = _parts(raw)
        decision = None if decided is None else Decision(*decided)
        ops = tuple(
            [
                _document_op_of(
                    (
                        _document_of((collection, scope, key)),
                        _op_of((replica, seq, at, field, kind, value, context, unsure, None, 1)),
                    )
                )
                for collection, key, seq, at, field, kind, value, context, unsure in plain_ops
            ]
        )
    except (ValueError, TypeError) as error:
        raise _unreadable(error) from error
    return Logged(Command(id, name, scope, hlc, ops, actor, root, written, decision), len(raw), read, release, alone)


def decode_to_seal(raw: bytes) -> ToSeal:
    """The same for who seals it. Raises `Undecodable`."""
    try:
        read, release, alone, replica, id, name, scope, hlc, actor, root, written, decided, plain_ops = _parts(raw)
        decision = None if decided is None else Decision(*decided)
        ops = of_rows(scope, plain_ops)
        sent = _sent_of((id, name, scope, hlc, ops, actor, root, written, decision, ()))
    except (ValueError, TypeError) as error:
        raise _unreadable(error) from error
    return _to_seal_of((sent, len(raw), read, release, alone, replica, raw))


def _unreadable(error: Exception) -> Undecodable:
    return Undecodable(f"a command of the op log that cannot be read: {error}")


def _parts(raw: bytes) -> Any:
    if raw[:1] != _FORM:
        raise Undecodable("a command of the op log in a form that is not known here", "start the newer release again")
    return from_json(raw[1:])


def logged(source: Source, lsn: int) -> Logged:
    """A command of the op log."""
    return decode_logged(_raw(source, lsn))


def to_seal(source: Source, lsn: int) -> ToSeal:
    """The same for who seals it."""
    return decode_to_seal(_raw(source, lsn))


def _raw(source: Source, lsn: int) -> bytes:
    raw = source.get(Family.OPLOG, keys.lsn_key(lsn))
    assert raw is not None, f"command {lsn} is referred to but is not in the op log"
    return raw


def changed_keys(command: Command) -> set[bytes]:
    """The keys of the documents that a command changes."""
    return {document_key(document) for document, _ in command.ops}


def _check(command: Command, space: str, replica: str, release: str) -> None:
    """Raise `OutOfBounds` for what a batch could not say. Ops are those of one replica in one scope."""
    bounds.check_text("command id", command.id, bounds.MAX_COMMAND_ID, least=1)
    bounds.check_text("scope", command.scope, bounds.MAX_SCOPE, least=1)
    bounds.check_text("replica", replica, bounds.MAX_REPLICA, least=1)
    for name in (space, release, command.name, command.actor):
        _check_name(name)
    if command.decision is not None:
        bounds.check_text("reason", command.decision.reason, bounds.MAX_REASON)
    for document, op in command.ops:
        assert op.replica == replica and document.scope == command.scope, "a command has one writer and one scope"
        bounds.check_text("document id", document.id, bounds.MAX_ID, least=1)
        for name in (document.collection, op.field, op.kind):
            _check_name(name)


@lru_cache(1024)
def _check_name(name: str) -> None:
    """The same few names come with every command."""
    bounds.check_text("name", name, bounds.MAX_NAME)
