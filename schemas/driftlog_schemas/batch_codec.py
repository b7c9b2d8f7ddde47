"""A batch and its bytes: one Avro body, signed as it is sent.

The body names each document and each context once and lists all ops flat, so that the work per op is one small record. The
bounds are checked on both sides: a batch over them never leaves a device, and never enters a merge.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
from driftlog_crdt import Op, Plain, canonical

from driftlog_schemas import avro_files
from driftlog_schemas.errors import TooBig, Undecodable
from driftlog_schemas.framing import FramedCodec, decode_plain
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp, SignedBatch
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity

FORMAT = 1
MAX_BATCH_OPS = 500
MAX_BATCH_BYTES = 900 * 1024
"""Under Kafka's default record limit of 1 MiB."""

_LONG = 1 << 63
_BODY = avro_files.parsed("batch_body")


def encode_body(batch: Batch) -> bytes:
    """The bytes that are signed. Raises `TooBig` over 500 ops or 900 KiB."""
    documents: dict[DocumentId, int] = {}
    contexts: dict[str, int] = {}
    context_maps: list[dict[str, int]] = []
    ops: list[dict[str, Any]] = []
    for command in batch.commands:
        for document, op in command.ops:
            assert op.replica == batch.replica, "a batch carries the ops of one replica"
            context = -1
            if op.context is not None:
                key = canonical(dict(op.context))
                context = contexts.setdefault(key, len(contexts))
                if context == len(context_maps):
                    context_maps.append(dict(op.context))
            ops.append(
                {
                    "document": documents.setdefault(document, len(documents)),
                    "seq": op.seq,
                    "hlc": op.hlc,
                    "field": op.field,
                    "kind": op.kind,
                    "value": _to_avro(op.value),
                    "context": context,
                }
            )
    if len(ops) > MAX_BATCH_OPS:
        raise TooBig(f"{len(ops)} ops in a batch, at most {MAX_BATCH_OPS}", "split the command")
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
            "documents": [d._asdict() for d in documents],
            "contexts": context_maps,
            "commands": [_head(command) for command in batch.commands],
            "ops": ops,
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
    record = decode_plain(_BODY, body)
    if record["format"] != FORMAT:
        raise Undecodable(
            f"batch format {record['format']} is not known here", "update the workers first, then the edges"
        )
    raw = record["ops"]
    if len(raw) > MAX_BATCH_OPS:
        raise Undecodable(f"{len(raw)} ops in a batch, at most {MAX_BATCH_OPS}")
    replica: str = record["replica"]
    try:
        documents = [DocumentId(d["collection"], d["scope"], d["id"]) for d in record["documents"]]
        contexts: list[dict[str, int] | None] = [*record["contexts"], None]
        ops = [
            DocumentOp(
                documents[_index(o["document"])],
                Op(
                    replica,
                    o["seq"],
                    o["hlc"],
                    o["field"],
                    o["kind"],
                    value if type(value := o["value"]) is not dict else json.loads(value["json"]),
                    contexts[o["context"]],
                ),
            )
            for o in raw
        ]
    except (IndexError, ValueError) as error:
        raise Undecodable(f"a batch that refers to what it does not hold: {error}") from error
    return Batch(
        space=record["space"],
        partition=record["partition"],
        replica=replica,
        number=record["number"],
        commands=tuple(_commands(record["commands"], ops)),
        app_version=record["app_version"],
    )


class BatchCodec:
    """Sealed envelopes: sign and frame, unframe and leave the check to the reader."""

    def __init__(self, ids: SchemaIds) -> None:
        self._envelope = FramedCodec(avro_files.text("signed_batch"), ids)

    def seal(self, body: bytes, identity: Identity) -> bytes:
        """The record value for `<space>.ops`."""
        return self._envelope.encode(
            {
                "device_id": identity.device_id,
                "key_id": identity.key_id,
                "signature": identity.sign(body),
                "body": body,
            }
        )

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
        """The envelope; nothing in it is believed yet. Raises `Undecodable`."""
        record = self._envelope.decode(value)
        return SignedBatch(record["device_id"], record["key_id"], record["signature"], record["body"])


def encode_command(command: Command, space: str, replica: str) -> bytes:
    """One command alone, as op logs and parking keep it."""
    return encode_body(Batch(space, 0, replica, 0, (command,)))


def decode_command(data: bytes) -> Command:
    """Inverse of `encode_command`. Raises `Undecodable`."""
    (command,) = decode_body(data).commands
    return command


def _head(command: Command) -> dict[str, Any]:
    return {
        "id": command.id,
        "name": command.name,
        "scope": command.scope,
        "hlc": command.hlc,
        "actor": command.actor,
        "ops": len(command.ops),
    }


def _commands(heads: Sequence[dict[str, Any]], ops: Sequence[DocumentOp]) -> list[Command]:
    commands: list[Command] = []
    start = 0
    for head in heads:
        count = head["ops"]
        if count < 0 or start + count > len(ops):
            raise Undecodable("a command claims ops that the batch does not hold")
        commands.append(
            Command(
                head["id"], head["name"], head["scope"], head["hlc"], tuple(ops[start : start + count]), head["actor"]
            )
        )
        start += count
    if start != len(ops):
        raise Undecodable(f"{len(ops) - start} ops belong to no command")
    return commands


def _index(value: int) -> int:
    if value < 0:
        raise IndexError(value)
    return value


def _to_avro(value: Plain) -> Any:
    kind = type(value)
    if kind is int:
        return ("long", value) if -_LONG <= value < _LONG else ("driftlog.v1.Json", {"json": canonical(value)})  # type: ignore[operator]
    if kind is str:
        return ("string", value)
    if value is None:
        return None
    if kind is bool:
        return ("boolean", value)
    if kind is float:
        return ("double", value)
    return ("driftlog.v1.Json", {"json": canonical(value)})
