"""The bytes of a document's state: two canonical JSON texts, and behind them what is bytes by nature.

    format (3), length of the vector, length of the rest    nine bytes, big endian
    {replica: seq}                                          the version vector
    {"fields": {field: state}, ...}                         the rest (see `_Rest`)
    the bytes of texts and lists                            in the order of their names

Equal states give equal bytes, and the vector is found without reading the rest. A state that keeps what was made of its fields (`Made`) gives the
same bytes: only what has changed is made anew.

A field that is not declared is carried along as it came, and is there again when it is declared again. Nobody can look into it:
a delete that wins takes it too; an update-wins delete leaves it; of two states the one that has seen more gives it.

Whatever reads this must get either the state or `BadEncoding` with the field's name, from any bytes. It is JSON because that knows whole
numbers of any size, which the binary forms do not, and because any tool can look at it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec

from driftlog_crdt.causal import dominates, without_epoch
from driftlog_crdt.document_state import DocumentState
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import Encoded, FieldType
from driftlog_crdt.plain import canonical
from driftlog_crdt.refusals import Refused, Run

FORMAT = 3
_HEAD = struct.Struct(">BII")

_Seqs: TypeAlias = dict[str, Annotated[int, msgspec.Meta(ge=1)]]


class _Rest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """All but the vector; what says nothing is left out."""

    fields: dict[str, Any]
    bytes: _Seqs = msgspec.field(default_factory=dict)
    """field -> how many of the bytes behind the JSON are its state"""
    grave: _Seqs | None = None
    presence: _Seqs | None = None
    refused: Mapping[str, tuple[tuple[int, int, bool], ...]] = msgspec.field(default_factory=dict)


_write = msgspec.json.Encoder(order="deterministic").encode
"""Sorted keys, no spaces, one text for each number."""
_read_vector = msgspec.json.Decoder(_Seqs).decode
_read_rest = msgspec.json.Decoder(_Rest).decode


def encode_with_version(state: DocumentState, types: Mapping[str, FieldType[Any]]) -> tuple[bytes, bytes]:
    """The canonical bytes of a state, and its vector as it is written there (see `version_of`)."""
    fields: dict[str, Encoded] = {}
    binary: dict[str, Any] = {}
    if state.unread:
        for name, part in state.unread.items():
            (binary if part.__class__ is bytes else fields)[name] = part
    kept = None if state.made is None else state.made.parts
    for name, stored in state.fields.items():
        if kept is not None and name in kept:
            part = kept[name]
        else:
            kind = types[name]
            if kind.is_new(stored):
                continue
            part = kind.encode(stored)
            if kept is not None:
                part = kept[name] = part if part.__class__ is bytes else msgspec.Raw(_write(part))
        (binary if part.__class__ is bytes else fields)[name] = part
    lengths: dict[str, int] = {}
    behind = b""
    if binary:
        lengths = {name: len(part) for name, part in binary.items()}
        behind = b"".join([binary[name] for name in sorted(binary)])
    presence = state.presence
    if presence is not None and presence == without_epoch(state.vector):
        presence = None  # it says no more than the vector
    rest = _write(_Rest(fields, lengths, state.grave, presence, state.refused))
    vector = _write(state.vector)
    return b"".join((_HEAD.pack(FORMAT, len(vector), len(rest)), vector, rest, behind)), vector


def decode(data: bytes, document: str, types: Mapping[str, FieldType[Any]]) -> DocumentState:
    """The state of an encoding. Raises `BadEncoding`."""
    begin, end = _ends(data)
    try:
        state, rest = DocumentState(_read_vector(data[_HEAD.size : begin])), _read_rest(data[begin:end])
    except (ValueError, RecursionError) as error:
        raise BadEncoding("", f"{document}: not an encoded document: {error}") from error
    state.presence, state.grave = rest.presence, rest.grave
    if rest.refused:
        state.refused = _refused(rest, document)
    if rest.bytes or end < len(data):
        rest.fields.update(_binary(rest, data[end:], document))
    for name, stored in rest.fields.items():
        kind = types.get(name)
        if kind is None:
            state.unread[name] = stored
            continue
        try:
            state.fields[name] = kind.decode(stored)
        except BadEncoding as error:
            raise BadEncoding(name, error.reason) from error
    return state


def version_of(data: bytes) -> bytes:
    """The version vector of an encoding, as it is written there: equal vectors have equal bytes. Nothing is looked at. Raises `BadEncoding`."""
    begin, _ = _ends(data)
    return data[_HEAD.size : begin]


def _ends(data: bytes) -> tuple[int, int]:
    """Where the vector ends, and where the rest does."""
    if len(data) >= _HEAD.size:
        form, vector, rest = _HEAD.unpack_from(data)
        begin = _HEAD.size + vector
        if form == FORMAT and begin + rest <= len(data):
            return begin, begin + rest
    raise BadEncoding("", f"not an encoded document of format {FORMAT}")


def _binary(rest: _Rest, data: bytes, document: str) -> dict[str, bytes]:
    """The fields that are bytes, cut from what follows the JSON."""
    found: dict[str, bytes] = {}
    at = 0
    for name in sorted(rest.bytes):
        found[name] = data[at : at + rest.bytes[name]]
        at += rest.bytes[name]
    if at != len(data) or not found.keys().isdisjoint(rest.fields):
        raise BadEncoding("", f"{document}: what follows the encoded document is not what it says")
    return found


def _refused(rest: _Rest, document: str) -> Refused:
    refused = {replica: tuple(Run(*run) for run in runs) for replica, runs in rest.refused.items()}
    for runs in refused.values():
        before = [0, *(run.last for run in runs)]
        if not runs or any(not last < run.first <= run.last for last, run in zip(before, runs, strict=False)):
            raise BadEncoding("", f"{document}: refused ops are runs [first, last, emptied], ascending")
    return refused


def joined_unread(left: DocumentState, right: DocumentState) -> dict[str, Encoded]:
    """What both sides carry unread: of a field that both have, what the side has that has seen more."""
    if not left.unread and not right.unread:
        return {}
    later, earlier = sorted((left, right), key=_progress, reverse=True)
    if dominates(later.vector, earlier.vector):
        return dict(later.unread)
    return {**earlier.unread, **later.unread}


def _progress(state: DocumentState) -> tuple[int, str]:
    return sum(state.vector.values()), canonical(dict(state.vector))
