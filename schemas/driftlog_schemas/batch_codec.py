"""A batch and its bytes: one Avro body, signed as it is sent.

The ops of a batch stand in columns (all seqs, all clocks, all values ...), packed numbers each, and what repeats (names, scopes,
documents, contexts, the pairs of field and kind) stands once in a table. So the work per op is a few list entries and no record,
and a usual op takes some ten bytes. Op and batch come back exactly as they went in: `1`, `1.0` and `True` are three values.

The bounds are checked on both sides: a batch over them never leaves a device and never enters a merge. Whatever the bytes
are, reading them gives a batch or `Undecodable`, nothing else.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate, repeat
from typing import Any, TypeVar

import fastavro

from driftlog_crdt import Decision, Op
from driftlog_crdt.causal import Vector
from driftlog_schemas import avro_files, bounds, forgetting_codec, reacting_codec
from driftlog_schemas.columns_codec import pack, unpack
from driftlog_schemas.context_table import NO_CONTEXT, ContextTable, read_contexts
from driftlog_schemas.errors import TooBig, Undecodable
from driftlog_schemas.framing import FramedCodec, decode_plain
from driftlog_schemas.identity import DocumentId, device_of, is_replica_of
from driftlog_schemas.messages import Batch, Command, DocumentOp, SignedBatch
from driftlog_schemas.op_columns import ColumnCommand, in_columns, together
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.tuples import maker
from driftlog_schemas.value_columns import ValueColumns, read_values

FORMAT = 3
MAX_BATCH_OPS = 500
MAX_BATCH_BYTES = 900 * 1024
"""Under Kafka's default record limit of 1 MiB."""
MAX_COMMAND_BYTES = MAX_BATCH_BYTES - 4096
"""Of one command, or of several together: what a batch says besides, once it is sealed, has room."""
MAX_ENDS = 8
MEANS = ("page", "cli", "api")
"""By which a person decides a conflict."""
MAX_STOOD_FOR = 1000
"""Commands that the commands of a batch stand for, together."""
DIGEST_BYTES = 16
SHORT_DIGEST_BYTES = 8
"""As much of it as a chain row keeps of each batch."""

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_FORMAT_BYTES = b"\x06"
"""`format` stands first and Avro writes 3 as 6, so this byte alone tells a body of ours."""
_BODY = avro_files.parsed("batch_body")
_COMMON = ("names", "scopes", "replicas")
"""Texts that come again in batch after batch and stay in thousands of documents: each is kept once, and found there without a look at it."""
_NOW = -2
"""Written by the life that sends it."""

_op_of, _document_op_of, _document_of, _command_of = maker(Op), maker(DocumentOp), maker(DocumentId), maker(Command)


class _Table(dict[K, int]):
    """What repeats, each once, by its place."""

    def places(self, items: Sequence[K]) -> list[int]:
        """The place of each."""
        for item in dict.fromkeys(items):
            self.setdefault(item, len(self))
        return [*map(self.__getitem__, items)]


def batch_digest(body: bytes) -> bytes:
    """What names a batch in its replica's chain: 16 bytes over the body as it was signed."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def encode_body(batch: Batch) -> bytes:
    """The bytes that are signed. Raises `TooBig` over 500 ops, 900 KiB or a bound of `bounds`."""
    return encode_columns(batch, [in_columns(command, batch.replica) for command in batch.commands])


def encode_columns(batch: Batch, commands: Sequence[ColumnCommand]) -> bytes:
    """The same of a batch with these commands, whatever stands in `batch.commands`; their ops are those of its replica."""
    ops = together([command.ops for command in commands])
    if len(ops.seqs) > MAX_BATCH_OPS:
        raise TooBig(f"{len(ops.seqs)} ops in a batch, at most {MAX_BATCH_OPS}", "split the command")
    names, scopes, roots = _Table[str](), _Table[str](), _Table({"": 0})
    documents, changes = _Table[tuple[str, str, str]](), _Table[tuple[str, str]]()
    contexts, values = ContextTable(), ValueColumns()
    op_document = documents.places(ops.documents)
    op_change = changes.places([*zip(ops.fields, ops.kinds, strict=True)])
    op_context = contexts.places(ops.contexts)
    values.add_all(ops.values)
    record: dict[str, Any] = {
        "format": FORMAT,
        "space": batch.space,
        "partition": batch.partition,
        "replica": batch.replica,
        "number": batch.number,
        "prev": batch.prev,
        "floor": batch.floor,
        "ends": list(batch.ends),
        "read": batch.read,
        "forget": _said_by_the_cloud(batch),
        "app_version": batch.app_version,
        "document_collection": pack(names.places([collection for collection, _, _ in documents])),
        "document_scope": pack(scopes.places([scope for _, scope, _ in documents])),
        "document_id": [id for _, _, id in documents],
        "changes": len(changes),
        "change_field": pack(names.places([field for field, _ in changes])),
        "change_kind": pack(names.places([kind for _, kind in changes])),
        "command_id": [c.id for c in commands],
        "command_name": pack(names.places([c.name for c in commands])),
        "command_scope": pack(scopes.places([c.scope for c in commands])),
        "command_hlc": pack([c.hlc for c in commands]),
        "command_actor": pack(names.places([c.actor for c in commands])),
        "command_root": pack(roots.places([c.root for c in commands])),
        "roots": list(roots)[1:],
        "command_written": _written(commands),
        "decisions": _decided(commands),
        **_stands_for(commands),
        "command_ops": pack([len(c.ops.seqs) for c in commands]),
        "names": list(names),
        "scopes": list(scopes),
        "op_document": pack(op_document),
        "op_seq": pack(ops.seqs),
        "op_span": pack(ops.spans) if set(ops.spans) - {1} else b"",
        "op_hlc": pack(ops.hlcs),
        "op_change": pack(op_change),
        "op_context": pack(op_context),
        "op_unsure": pack(ops.unsures),
        **contexts.columns(),
        **values.columns(),
    }
    try:
        _check_bounds(record)
    except bounds.OutOfBounds as error:
        raise TooBig(str(error), "shorten it") from error
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, _BODY, record)
    body = stream.getvalue()
    if len(body) > MAX_BATCH_BYTES:
        raise TooBig(f"a batch of {len(body)} bytes, at most {MAX_BATCH_BYTES}", "write smaller values")
    return body


def _said_by_the_cloud(batch: Batch) -> Any:
    """With the name of its record, where there are two that it could be."""
    if batch.react is not None:
        return "driftlog.v1.Reacting", reacting_codec.encoded(batch.react)
    return None if batch.forget is None else ("driftlog.v1.Forgetting", forgetting_codec.encoded(batch.forget))


def _written(commands: Sequence[ColumnCommand]) -> bytes:
    """No bytes where none was taken along, as nearly always."""
    written = {c.written for c in commands}
    if written <= {None}:
        return b""
    return pack([_NOW if c.written is None else c.written for c in commands])


def _decided(commands: Sequence[ColumnCommand]) -> list[dict[str, Any]]:
    return [
        {"command": at, "how": c.decision.how, "reason": c.decision.reason}
        for at, c in enumerate(commands)
        if c.decision is not None
    ]


def _stands_for(commands: Sequence[ColumnCommand]) -> dict[str, bytes]:
    """No bytes where each stands for itself alone."""
    counts = [len(c.stands_for) for c in commands]
    names = b"".join([name for c in commands for name in c.stands_for])
    return {"command_stands_for": pack(counts) if names else b"", "stood_for": names}


def decode_body(body: bytes) -> Batch:
    """The batch of a body. Raises `Undecodable`."""
    if len(body) > MAX_BATCH_BYTES:
        raise Undecodable(f"a body of {len(body)} bytes, at most {MAX_BATCH_BYTES}")
    if body[:1] != _FORMAT_BYTES:
        raise Undecodable("a batch of a format that is not known here", "update the workers first, then the edges")
    record = decode_plain(_BODY, body)
    count, heads = len(record["op_form"]), len(record["command_id"])
    if count > MAX_BATCH_OPS or heads > MAX_BATCH_OPS:
        raise Undecodable(f"{count} ops and {heads} commands in a batch, at most {MAX_BATCH_OPS}")
    for table in ("names", "scopes", "document_id"):
        if len(record[table]) > 3 * count + 3 * heads:
            raise Undecodable(f"{len(record[table])} {table} for {count} ops and {heads} commands")
    try:
        _check_bounds(record)
    except bounds.OutOfBounds as error:
        raise Undecodable(str(error)) from error
    record |= {name: [*map(sys.intern, record[name])] for name in _COMMON}
    return Batch(
        space=record["space"],
        partition=record["partition"],
        replica=sys.intern(record["replica"]),
        number=record["number"],
        commands=_commands(record, heads, _ops(record, count)),
        app_version=record["app_version"],
        prev=record["prev"],
        floor=record["floor"],
        ends=tuple(record["ends"]),
        read=record["read"],
        forget=forgetting_codec.decoded(said)
        if (said := record["forget"]) is not None and "calls" not in said
        else None,
        react=reacting_codec.decoded(said) if said is not None and "calls" in said else None,
    )


class BatchCodec:
    """Sealed envelopes: sign and frame, unframe and leave the check to the reader."""

    def __init__(self, ids: SchemaIds) -> None:
        self._envelope = FramedCodec(avro_files.text("signed_batch"), ids)

    def seal(self, body: bytes, identity: Identity) -> bytes:
        """The record value for `<space>.ops`."""
        return self.envelope(SignedBatch(identity.device_id, identity.key_id, identity.sign(body), body))

    def envelope(self, signed: SignedBatch) -> bytes:
        """The record value of an envelope that somebody else signed (or failed to)."""
        return self._envelope.encode(
            {
                "device_id": signed.device_id,
                "key_id": signed.key_id,
                "signature": signed.signature,
                "body": signed.body,
            }
        )

    def must_ask(self, value: bytes | None) -> bool:
        """Does `open` have to ask the registry for the writer's schema?"""
        return self._envelope.must_ask(value)

    def open(self, value: bytes) -> SignedBatch:
        """The envelope; nothing in it is believed yet. Raises `Undecodable`, `UnknownSchema`, `RegistryUnreachable`."""
        record = self._envelope.decode(value)
        return SignedBatch(record["device_id"], record["key_id"], record["signature"], record["body"])


def encode_command(command: Command, space: str, replica: str, app_version: str = "") -> bytes:
    """One command as it would be sealed alone, with its writer's release of the app. Raises `TooBig` for what could not be."""
    body = encode_body(Batch(space, 0, replica, 0, (command,), app_version))
    if len(body) > MAX_COMMAND_BYTES:
        raise TooBig(f"a command of {len(body)} bytes, at most {MAX_COMMAND_BYTES}", "write smaller values")
    return body


def _check_bounds(record: dict[str, Any]) -> None:
    """Raise `OutOfBounds` for a text that nothing of ours makes."""
    bounds.check_texts("name", [record["space"], record["app_version"], *record["names"]], bounds.MAX_NAME)
    bounds.check_texts("replica", [record["replica"], *record["replicas"]], bounds.MAX_REPLICA, least=1)
    bounds.check_texts("scope", record["scopes"], bounds.MAX_SCOPE, least=1)
    bounds.check_texts("document id", record["document_id"], bounds.MAX_ID, least=1)
    bounds.check_texts("command id", record["command_id"], bounds.MAX_COMMAND_ID, least=1)
    if len(record["stood_for"]) > MAX_STOOD_FOR * SHORT_DIGEST_BYTES or len(record["stood_for"]) % SHORT_DIGEST_BYTES:
        raise bounds.OutOfBounds("stood_for", f"{len(record['stood_for'])} bytes are not the names of a batch")
    if len(record["prev"]) not in (0, DIGEST_BYTES):
        raise bounds.OutOfBounds("prev", f"{len(record['prev'])} bytes are no digest")
    if record["number"] < 0 or not 0 <= record["floor"] <= record["number"]:
        raise bounds.OutOfBounds("floor", f"{record['floor']} of batch {record['number']}")
    if record["read"] < -1:
        raise bounds.OutOfBounds("read", f"{record['read']} is no offset")
    _check_lives("ends", record["ends"], record["replica"], MAX_ENDS)
    _check_lives("roots", record["roots"], record["replica"], len(record["command_id"]))
    if record["replica"] in record["roots"]:
        raise bounds.OutOfBounds("roots", "a command's root is an earlier life")
    for decision in record["decisions"]:
        if decision["how"] not in MEANS:
            raise bounds.OutOfBounds("decisions", f"nobody decides by {bounds.cut(decision['how'], 20)!r}")
        bounds.check_text("decisions", decision["reason"], bounds.MAX_REASON)
    at = [decision["command"] for decision in record["decisions"]]
    bounds.check_numbers("decisions", at, 0, len(record["command_id"]) - 1)
    if at != sorted(set(at)):
        raise bounds.OutOfBounds("decisions", "each command decides once, in order")
    said = record["forget"]
    if said is not None and len(said) == len(("name", "record")) and isinstance(said, tuple):
        said = said[1]
    if said is not None:
        (reacting_codec if "calls" in said else forgetting_codec).check(said)


def _check_lives(name: str, lives: Sequence[str], replica: str, most: int) -> None:
    """Raise `OutOfBounds` unless these are lives of the replica's device, each once."""
    if len(lives) > most or len(set(lives)) < len(lives):
        raise bounds.OutOfBounds(name, f"{len(lives)} lives, each once and at most {most} are possible")
    device = device_of(replica)
    for life in lives:
        if not is_replica_of(life, device):
            raise bounds.OutOfBounds(name, f"{bounds.cut(life, bounds.MAX_REPLICA)!r} is no life of {device!r}")


def _ops(record: dict[str, Any], count: int) -> tuple[DocumentOp, ...]:
    contexts: list[Vector | None] = [*read_contexts(record, count), None]  # the last one for -1
    places = unpack(record["op_context"], count, "op_context", NO_CONTEXT, len(contexts) - 2)
    fields, kinds = _changes(record, count)
    changes = unpack(record["op_change"], count, "op_change", 0, len(fields) - 1)
    seqs = unpack(record["op_seq"], count, "op_seq", 1)
    ops = map(
        _op_of,
        zip(
            repeat(sys.intern(record["replica"]), count),
            seqs,
            unpack(record["op_hlc"], count, "op_hlc", 0),
            [fields[change] for change in changes],
            [kinds[change] for change in changes],
            read_values(record, count),
            [contexts[place] for place in places],
            unpack(record["op_unsure"], count, "op_unsure", 0),
            repeat(None),  # its origin is not sent
            _spans(record, seqs),
            strict=False,
        ),
    )
    return tuple(map(_document_op_of, zip(_picked(_documents(record), record, "op_document", count), ops, strict=True)))


def _spans(record: dict[str, Any], seqs: Sequence[int]) -> Iterable[int]:
    if not record["op_span"]:
        return repeat(1)
    spans = unpack(record["op_span"], len(seqs), "op_span", 1)
    if any(span > seq for span, seq in zip(spans, seqs, strict=True)):
        raise Undecodable("op_span: more dots than there were")
    return spans


def _documents(record: dict[str, Any]) -> list[DocumentId]:
    ids: list[str] = record["document_id"]
    collections = _picked(record["names"], record, "document_collection", len(ids))
    scopes = _picked(record["scopes"], record, "document_scope", len(ids))
    return list(map(_document_of, zip(collections, scopes, ids, strict=True)))


def _changes(record: dict[str, Any], ops: int) -> tuple[list[str], list[str]]:
    count: int = record["changes"]
    if not 0 <= count <= ops:
        raise Undecodable(f"{count} changes for {ops} ops")
    names = record["names"]
    return _picked(names, record, "change_field", count), _picked(names, record, "change_kind", count)


def _picked(table: Sequence[T], record: dict[str, Any], column: str, count: int) -> list[T]:
    """The table's entries that a column of so many indices refers to."""
    return [table[i] for i in unpack(record[column], count, column, 0, len(table) - 1)]


def _commands(record: dict[str, Any], count: int, ops: tuple[DocumentOp, ...]) -> tuple[Command, ...]:
    sizes = unpack(record["command_ops"], count, "command_ops", 0, len(ops))
    if sum(sizes) != len(ops):
        raise Undecodable(f"commands of {sum(sizes)} ops in a batch of {len(ops)}")
    ends = list(accumulate(sizes))
    written = unpack(record["command_written"], count, "command_written", _NOW) if record["command_written"] else ()
    parts = zip(
        record["command_id"],
        _picked(record["names"], record, "command_name", count),
        _picked(record["scopes"], record, "command_scope", count),
        unpack(record["command_hlc"], count, "command_hlc", 0),
        [ops[end - size : end] for size, end in zip(sizes, ends, strict=True)],
        _picked(record["names"], record, "command_actor", count),
        _picked(["", *record["roots"]], record, "command_root", count),
        [None if read == _NOW else read for read in written] or repeat(None, count),
        _decisions(record, count),
        _stood_for(record, count),
        strict=True,
    )
    return tuple(map(_command_of, parts))


def _decisions(record: dict[str, Any], count: int) -> Iterable[Decision | None]:
    found = {one["command"]: Decision(one["how"], one["reason"]) for one in record["decisions"]}
    return map(found.get, range(count)) if found else repeat(None, count)


def _stood_for(record: dict[str, Any], count: int) -> Iterable[tuple[bytes, ...]]:
    """For whom each command stands."""
    data: bytes = record["stood_for"]
    if not data and not record["command_stands_for"]:
        return repeat((), count)
    names = [data[at : at + SHORT_DIGEST_BYTES] for at in range(0, len(data), SHORT_DIGEST_BYTES)]
    counts = unpack(record["command_stands_for"], count, "command_stands_for", 0, len(names))
    if sum(counts) != len(names):
        raise Undecodable(f"{len(names)} names of commands for {sum(counts)} that are stood for")
    ends = accumulate(counts)
    return [tuple(names[end - size : end]) for end, size in zip(ends, counts, strict=True)]
