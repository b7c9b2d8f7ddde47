"""The bytes of a document's state: canonical JSON, so that any tool can look at it; equal states give equal bytes.

    [1, {replica: seq}, {field: state}]          as long as nothing was deleted or refused
    [1, {replica: seq}, {field: state}, more]    else; `more` is an object of "grave", "presence" and "refused", each left out
                                                 where it says nothing

Whatever reads this must get either the state or `BadEncoding` with the field's name, from any bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from driftlog_crdt.document_state import DocumentState
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import FieldType
from driftlog_crdt.plain import Plain, canonical
from driftlog_crdt.refusals import Run, Runs

FORMAT = 1


def encode(state: DocumentState, types: Mapping[str, FieldType[Any]]) -> bytes:
    """The canonical bytes of a state."""
    fields: dict[str, Plain] = {}
    for name, stored in state.fields.items():
        kind = types[name]
        if not kind.is_new(stored):
            fields[name] = kind.encode(stored)
    vector: Any = state.vector
    extra: dict[str, Any] = {}
    if state.grave is not None:
        extra["grave"] = state.grave
    if state.presence is not None and state.presence != vector:
        extra["presence"] = state.presence
    if state.refused:
        extra["refused"] = {replica: [list(run) for run in runs] for replica, runs in state.refused.items()}
    return canonical([FORMAT, vector, fields, extra] if extra else [FORMAT, vector, fields]).encode()


def decode(data: bytes, document: str, types: Mapping[str, FieldType[Any]]) -> DocumentState:
    """The state of an encoding. Raises `BadEncoding`."""
    try:
        text = data.decode()
        plain, end = _read(text)
    except (ValueError, RecursionError) as error:
        raise BadEncoding("", f"{document}: not an encoded document: {error}") from error
    if end != len(text) or type(plain) is not list or not 3 <= len(plain) <= 4:
        raise BadEncoding("", f"{document}: not an encoded document of format {FORMAT}")
    version, vector, fields = plain[:3]
    if type(version) is not int or version != FORMAT or type(fields) is not dict:
        raise BadEncoding("", f"{document}: not an encoded document of format {FORMAT}")
    _check_vector(vector, document)
    state = DocumentState(vector)
    if len(plain) == 4:
        _decode_extra(plain[3], state, document)
    for name, stored in fields.items():
        kind = types.get(name)
        if kind is None:
            raise BadEncoding(name, f"{document} declares no such field")
        try:
            state.fields[name] = kind.decode(stored)
        except BadEncoding as error:
            raise BadEncoding(name, error.reason) from error
    return state


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number here")


_read = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
"""The value at the start of a text, and where it ends: `decode` would also search for spaces, and there are none."""


def _decode_extra(extra: object, state: DocumentState, document: str) -> None:
    if type(extra) is not dict or not extra.keys() <= {"grave", "presence", "refused"}:
        raise BadEncoding("", f"{document}: not an encoded document of format {FORMAT}")
    for name in extra.keys() - {"refused"}:
        _check_vector(extra[name], document)
    state.presence, state.grave = extra.get("presence"), extra.get("grave")
    refused = extra.get("refused", {})
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
