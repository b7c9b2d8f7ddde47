"""A session token: what a reader has already seen or written, to be seen again wherever it reads next.

It names documents and the version vector that a causal read of each must dominate. A token keeps the last documents only; one
that fell out asks for nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from driftlog_crdt import joined
from driftlog_schemas.contract import InvalidInput

MAX_DOCUMENTS = 32

_text = json.JSONEncoder(separators=(",", ":")).encode


def parse(token: str) -> dict[str, dict[str, int]]:
    """document key -> vector. Raises `InvalidInput` for a foreign token."""
    if not token:
        return {}
    try:
        plain = json.loads(base64.urlsafe_b64decode(token.encode()))
        return {str(k): {str(r): int(s) for r, s in v.items()} for k, v in plain.items()}
    except (binascii.Error, ValueError, AttributeError) as error:
        raise InvalidInput("session", "is not a session token; pass on what an answer gave you") from error


def extend(token: str, seen: Mapping[str, Mapping[str, int]]) -> str:
    """The token with more seen."""
    known = parse(token)
    for document, vector in seen.items():
        known[document] = joined(known.pop(document, {}), vector)
    last = dict(list(known.items())[-MAX_DOCUMENTS:])
    return base64.urlsafe_b64encode(_text(last).encode()).decode()
