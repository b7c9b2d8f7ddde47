"""A batch and its bytes: one Avro body, signed as it is sent.

The ops of a batch stand in columns (all seqs, all clocks, all values ...), and what repeats (documents, contexts, the pairs of
field and kind) stands once in a table. So the work per op is a few array entries and no record, and a usual op takes some
twenty bytes. Op and batch come back exactly as they went in: `1`, `1.0` and `True` are three values.

The bounds are checked on both sides: a batch over them never leaves a device and never enters a merge. Whatever the bytes
are, reading them gives a batch or `Undecodable`, nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final, TypeVar

import fastavro

from driftlog_crdt import Op, Plain, canonical
from driftlog_schemas import avro_files
from driftlog_schemas.errors import TooBig, Undecodable
from driftlog_schemas.framing import FramedCodec, decode_plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.json_text import from_json
from driftlog_schemas.messages import Batch, Command, DocumentOp, SignedBatch
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity

FORMAT = 1
MAX_BATCH_OPS = 500
MAX_BATCH_BYTES = 900 * 1024
"""Under Kafka's default record limit of 1 MiB."""

T = TypeVar("T")

_LONG = 1 << 63
_NO_CONTEXT: Final = -1
_FORMAT_BYTES = b"\x02"
"""`format` stands first and Avro writes 1 as 2, so this byte alone tells a body of ours."""
_BODY = avro_files.parsed("batch_body")
_JSON = "driftlog.v1.Json"


def encode_body(batch: Batch) -> bytes:
    """The bytes that are signed. Raises `TooBig` over 500 ops or 900 KiB."""
    pairs = [pair for command in batch.commands for pair in command.ops]
    if len(pairs) > MAX_BATCH_OPS:
        raise TooBig(f"{len(pairs)} ops in a batch, at most {MAX_BATCH_OPS}", "split the command")
    documents: dict[DocumentId, int] = {}
    changes: dict[tuple[str, str], int] = {}
    contexts = _ContextTable()
    op_document, op_seq, op_hlc, op_change, op_context, op_value = [], [], [], [], [], []
    for document, (replica, seq, hlc, field, kind, value, context, _) in pairs:
        assert replica == batch.replica, "a batch carries the ops of one replica"
        op_document.append(documents.setdefault(document, len(documents)))
        op_seq.append(seq)
        op_hlc.append(hlc)
        op_change.append(changes.setdefault((field, kind), len(changes)))
        op_context.append(_NO_CONTEXT if context is None else contexts.index(context))
        op_value.append(_to_avro(value))
    stream = io.BytesIO()
    fastavro.schemaless_writer(
        stream,
        _BODY,
        {
            "format": FORMAT,
            "space": batch.space,
            "partition": batch.partition,
            "replica": batch.replica,
            "number": batch.number,
            "app_version": batch.app_version,
            "documents": [{"collection": d.collection, "scope": d.scope, "id": d.id} for d in documents],
            "contexts": contexts.entries,
            "changes": [{"field": field, "kind": kind} for field, kind in changes],
            "commands": [
                {"id": c.id, "name": c.name, "scope": c.scope, "hlc": c.hlc, "actor": c.actor, "ops": len(c.ops)}
                for c in batch.commands
            ],
            "op_document": op_document,
            "op_seq": op_seq,
            "op_hlc": op_hlc,
            "op_change": op_change,
            "op_context": op_context,
            "op_value": op_value,
        },
    )
    body = stream.getvalue()
    if len(body) > MAX_BATCH_BYTES:
        raise TooBig(f"a batch of {len(body)} bytes, at most {MAX_BATCH_BYTES}", "write smaller values")
    return body


def decode_body(body: bytes) -> Batch:
    """The batch of a body. Raises `Undecodable`."""
    if len(body) > MAX_BATCH_BYTES:
        raise Undecodable(f"a body of {len(body)} bytes, at most {MAX_BATCH_BYTES}")
    if body[:1] != _FORMAT_BYTES:
        raise Undecodable("a batch of a format that is not known here", "update the workers first, then the edges")
    record = decode_plain(_BODY, body)
    replica: str = record["replica"]
    ops = _ops(record, replica)
    heads = record["commands"]
    if len(heads) > MAX_BATCH_OPS:
        raise Undecodable(f"{len(heads)} commands in a batch, at most {MAX_BATCH_OPS}")
    return Batch(
        space=record["space"],
        partition=record["partition"],
        replica=replica,
        number=record["number"],
        commands=tuple(_commands(heads, ops)),
        app_version=record["app_version"],
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

    def open(self, value: bytes) -> SignedBatch:
        """The envelope; nothing in it is believed yet. Raises `Undecodable`, `UnknownSchema`, `RegistryUnreachable`."""
        record = self._envelope.decode(value)
        return SignedBatch(record["device_id"], record["key_id"], record["signature"], record["body"])


def encode_command(command: Command, space: str, replica: str) -> bytes:
    """One command alone, as op logs and parking keep it. Raises `TooBig`."""
    return encode_body(Batch(space, 0, replica, 0, (command,)))


def decode_command(data: bytes) -> Command:
    """Inverse of `encode_command`. Raises `Undecodable`."""
    commands = decode_body(data).commands
    if len(commands) != 1:
        raise Undecodable(f"{len(commands)} commands where one was kept")
    return commands[0]


class _ContextTable:
    """Distinct contexts by number. One object is looked at once; equal ones get one entry."""

    def __init__(self) -> None:
        self.entries: list[dict[str, int]] = []
        self._by_object: dict[int, int] = {}
        self._by_content: dict[frozenset[tuple[str, int]], int] = {}

    def index(self, context: Any) -> int:
        # The batch holds every context while this table lives, so an object's id names it.
        known = self._by_object.get(id(context))
        if known is None:
            known = self._by_content.setdefault(frozenset(context.items()), len(self.entries))
            if known == len(self.entries):
                self.entries.append(dict(sorted(context.items())))
            self._by_object[id(context)] = known
        return known


def _ops(record: dict[str, Any], replica: str) -> list[DocumentOp]:
    seqs: list[int] = record["op_seq"]
    count = len(seqs)
    if count > MAX_BATCH_OPS:
        raise Undecodable(f"{count} ops in a batch, at most {MAX_BATCH_OPS}")
    columns = ("op_document", "op_hlc", "op_change", "op_context", "op_value")
    if any(len(record[name]) != count for name in columns):
        raise Undecodable("columns of different length")
    documents = [DocumentId(d["collection"], d["scope"], d["id"]) for d in _table(record, "documents", count)]
    changes = [(c["field"], c["kind"]) for c in _table(record, "changes", count)]
    contexts: list[dict[str, int] | None] = [*_table(record, "contexts", count), None]
    pairs = _picked(changes, record["op_change"])
    ops = map(
        Op,
        repeat(replica, count),
        seqs,
        record["op_hlc"],
        [field for field, _ in pairs],
        [kind for _, kind in pairs],
        [v if v.__class__ is not dict else from_json(v["json"]) for v in record["op_value"]],
        _picked(contexts, record["op_context"], lowest=_NO_CONTEXT),
    )
    return list(map(DocumentOp, _picked(documents, record["op_document"]), ops))


def _table(record: dict[str, Any], name: str, ops: int) -> list[Any]:
    entries: list[Any] = record[name]
    if len(entries) > ops:
        raise Undecodable(f"{len(entries)} {name} for {ops} ops")
    return entries


def _picked(table: Sequence[T], indices: Sequence[int], lowest: int = 0) -> list[T]:
    """The table's entries at these indices; -1 is its last one where `lowest` allows it."""
    if indices and (min(indices) < lowest or max(indices) >= len(table) + lowest):
        raise Undecodable("a batch that refers to what it does not hold")
    return [table[i] for i in indices]


def _commands(heads: Sequence[dict[str, Any]], ops: Sequence[DocumentOp]) -> Iterable[Command]:
    start = 0
    for head in heads:
        end = start + head["ops"]
        if not start <= end <= len(ops):
            raise Undecodable("a command claims ops that the batch does not hold")
        yield Command(head["id"], head["name"], head["scope"], head["hlc"], tuple(ops[start:end]), head["actor"])
        start = end
    if start != len(ops):
        raise Undecodable(f"{len(ops) - start} ops belong to no command")


def _to_avro(value: Plain) -> Any:
    """The value with the name of its branch, which spares the writer the search for it."""
    kind = value.__class__
    if kind is int:
        return ("long", value) if -_LONG <= value < _LONG else (_JSON, {"json": str(value)})  # type: ignore[operator]
    if kind is str:
        return ("string", value)
    if value is None:
        return None
    if kind is bool:
        return ("boolean", value)
    if kind is float:
        return ("double", value)
    return (_JSON, {"json": canonical(value)})
