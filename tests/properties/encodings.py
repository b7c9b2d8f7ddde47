"""Looking into the bytes of a state: its JSON, and what stands behind it."""

from __future__ import annotations

import json
from typing import Any

_read = json.JSONDecoder().raw_decode


def parts(encoded: bytes) -> tuple[Any, bytes]:
    """The JSON of an encoded state as a plain value, and the bytes of its texts and lists."""
    text = encoded.decode(errors="surrogateescape")
    plain, end = _read(text)
    return plain, encoded[len(text[:end].encode(errors="surrogateescape")) :]
