"""The bytes of a document's state: canonical JSON, so that any tool can look at it, and behind it what is bytes by nature.

    [2, {replica: seq}, {field: state}]          as long as nothing was deleted or refused
    [2, {replica: seq}, {field: state}, more]    else; `more` is an object of "bytes", "grave", "presence" and "refused", each left
                                                 out where it says nothing

"bytes" is {field: length} of the texts and lists: their bytes follow the JSON, in the order of the names. Equal states give equal bytes.

A field that is not declared is carried along as it came, and is there again when it is declared again. Nobody can look into it:
a delete that wins takes it too; an update-wins delete leaves it; of two states the one that has seen more gives it.

Whatever reads this must get either the state or `BadEncoding` with the field's name, from any bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from driftlog_crdt.causal import dominates, without_epoch
from driftlog_crdt.document_state import DocumentState
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import Encoded, FieldType
from driftlog_crdt.plain import Plain, canonical
from driftlog_crdt.refusals import Run, Runs

FORMAT = 2
_BEGINNING = f"[{FORMAT},".encode()
_VERSION = _BEGINNING + b"{"
_VERSION_AT = len(_BEGINNING)
_MORE = frozenset({"bytes", "grave", "presence", "refused"})


def encode(state: DocumentState, types: Mapping[str, FieldType[Any]]) -> bytes:
    """The canonical bytes of a state."""
    fields: dict[str, Plain] = {}
    binary: dict[str, bytes] = {}
    for name, encoded in [*state.unread.items(), *_encoded(state, types)]:
        if isinstance(encoded, bytes):
            binary[name] = encoded
        else:
            fields[name] = encoded
    more = _more(state)
    if binary:
        more["bytes"] = {name: len(encoded) for name, encoded in binary.items()}
    whole: Any = [FORMAT, state.vector, fields, more] if more else [FORMAT, state.vector, fields]
    text = canonical(whole).encode()
    return b"".join([text, *(binary[name] for name in sorted(binary))]) if binary else text


def _encoded(state: DocumentState, types: Mapping[str, FieldType[Any]]) -> Iterator[tuple[str, Encoded]]:
    for name, stored in state.fields.items():
        kind = types[name]
        if not kind.is_new(stored):
            yield name, kind.encode(stored)


def _more(state: DocumentState) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if state.grave is not None:
        more["grave"] = state.grave
    if state.presence is not None and state.presence != without_epoch(state.vector):
        more["presence"] = state.presence
    if state.refused:
        more["refused"] = {replica: [list(run) for run in runs] for replica, runs in state.refused.items()}
    return more


def decode(data: bytes, document: str, types: Mapping[str, FieldType[Any]]) -> DocumentState:
    """The state of an encoding. Raises `BadEncoding`."""
    try:
        plain, behind = _split(data)
    except (ValueError, RecursionError) as error:
        raise BadEncoding("", f"{document}: not an encoded document: {error}") from error
    if type(plain) is not list or not 3 <= len(plain) <= 4:
        raise _foreign(document)
    version, vector, fields = plain[:3]
    more = plain[3] if len(plain) == 4 else {}
    if type(version) is not int or version != FORMAT or type(fields) is not dict or type(more) is not dict:
        raise _foreign(document)
    if not more.keys() <= _MORE:
        raise _foreign(document)
    _check_vector(vector, document)
    state = DocumentState(vector)
    _decode_more(more, state, document)
    for name, stored in {**fields, **_binary(more.get("bytes", {}), behind, fields, document)}.items():
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
    """The version vector of an encoding, as it is written there: equal vectors have equal bytes. The rest is not looked at. Raises `BadEncoding`."""
    end = data.find(b"}", _VERSION_AT) + 1
    version = data[_VERSION_AT:end]
    if not data.startswith(_VERSION) or not end:
        raise _foreign("a document")
    if b"\\" in version or version.count(b'"') % 2:  # else no name can hold that brace
        return _first_value(data)
    return version


def _first_value(data: bytes) -> bytes:
    text = data.decode(errors="surrogateescape")
    try:
        _, end = _read(text, _VERSION_AT)
    except (ValueError, RecursionError) as error:
        raise BadEncoding("", f"not an encoded document: {error}") from error
    return text[_VERSION_AT:end].encode(errors="surrogateescape")


def _split(data: bytes) -> tuple[Any, bytes]:
    """The JSON, and the bytes behind it, which need not be text. Raises ValueError, RecursionError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="surrogateescape")
    plain, end = _read(text)
    return plain, b"" if end == len(text) and text.isascii() else data[len(text[:end].encode()) :]


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


def _binary(lengths: object, data: bytes, fields: Mapping[str, Plain], document: str) -> dict[str, bytes]:
    """The fields that are bytes, cut from what follows the JSON."""
    if type(lengths) is not dict or not lengths.keys().isdisjoint(fields):
        raise _foreign(document)
    found: dict[str, bytes] = {}
    at = 0
    for name in sorted(lengths):
        length = lengths[name]
        if type(length) is not int or not 0 < length <= len(data) - at:
            raise _foreign(document)
        found[name] = data[at : at + length]
        at += length
    if at != len(data):
        raise BadEncoding("", f"{document}: something follows the encoded document")
    return found


def _foreign(document: str) -> BadEncoding:
    return BadEncoding("", f"{document}: not an encoded document of format {FORMAT}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number here")


_read = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
"""The value at the start of a text, and where it ends: `decode` would also search for spaces, and there are none."""


def _decode_more(more: dict[str, Any], state: DocumentState, document: str) -> None:
    for name in more.keys() & {"grave", "presence"}:
        _check_vector(more[name], document)
    state.presence, state.grave = more.get("presence"), more.get("grave")
    refused = more.get("refused", {})
    if type(refused) is not dict:
        raise BadEncoding("", f"{document}: refused ops are an object of ranges")
    state.refused = {replica: _decode_runs(runs, document) for replica, runs in refused.items()}


def _decode_runs(plain: object, document: str) -> Runs:
    runs: list[Run] = []
    for item in plain if type(plain) is list else ():
        if type(item) is not list or list(map(type, item)) != [int, int, bool]:
            break
        run = Run(*item)
        if run.first > run.last or run.first <= (runs[-1].last if runs else 0):
            break
        runs.append(run)
    if type(plain) is not list or not plain or len(runs) < len(plain):
        raise BadEncoding("", f"{document}: refused ops are runs [first, last, emptied], ascending")
    return tuple(runs)


def _check_vector(vector: object, document: str) -> None:
    if type(vector) is not dict:
        raise BadEncoding("", f"{document}: a vector is an object of whole numbers")
    for seq in vector.values():
        if type(seq) is not int or seq < 1:
            raise BadEncoding("", f"{document}: a vector is an object of whole numbers from 1")
