"""Looking into the bytes of a state, and making some that no state has."""

from __future__ import annotations

import json
import struct
from typing import Any

_HEAD = struct.Struct(">BII")


def parts(encoded: bytes) -> tuple[list[Any], bytes]:
    """The vector and the rest of an encoded state as plain values, and the bytes of its texts and lists."""
    _, vector, rest = _HEAD.unpack_from(encoded)
    begin = _HEAD.size + vector
    return [json.loads(encoded[_HEAD.size : begin]), json.loads(encoded[begin : begin + rest])], encoded[begin + rest :]


def assembled(vector: str | bytes, rest: str | bytes, behind: bytes = b"", form: int = 3) -> bytes:
    """What an encoding would be with these texts."""
    texts = [text.encode() if isinstance(text, str) else text for text in (vector, rest)]
    return b"".join([_HEAD.pack(form, *map(len, texts)), *texts, behind])


def of_field(name: str, stored: Any) -> bytes:
    """An encoding with one field, stored as that."""
    return assembled('{"a":9,"b":9}', json.dumps({"fields": {name: stored}}))
