"""A session token: what a reader has already seen or written, to be seen again wherever it reads next.

It names documents and the version vector that a causal read of each must dominate. A token keeps the last documents only; one
that fell out asks for nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from pydantic_core import to_json

from driftlog_crdt import joined
from driftlog_schemas.contract import InvalidInput

MAX_DOCUMENTS = 32
MAX_TOKEN = 256 * 1024


def parse(token: str) -> dict[str, dict[str, int]]:
    """document key -> vector. Raises `InvalidInput` for a foreign token."""
    if not token:
        return {}
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        return _vectors(json.loads(base64.urlsafe_b64decode(token.encode("ascii"))))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("session", "is not a session token; pass on what an answer gave you") from error


def _vectors(plain: object) -> dict[str, dict[str, int]]:
    """Raises ValueError for what `extend` does not write."""
    if not isinstance(plain, dict) or len(plain) > MAX_DOCUMENTS:
        raise ValueError("not documents")
    for key, vector in plain.items():
        key.encode()
        if not isinstance(vector, dict) or any(type(s) is not int or not 0 < s < 1 << 63 for s in vector.values()):
            raise ValueError("not a vector")
        for replica in vector:
            replica.encode()
    return plain


def extend(token: str, seen: Mapping[str, Mapping[str, int]]) -> str:
    """The token with more seen."""
    known = parse(token)
    for document, vector in seen.items():
        known[document] = joined(known.pop(document), vector) if document in known else dict(vector)
    last = known if len(known) <= MAX_DOCUMENTS else dict(list(known.items())[-MAX_DOCUMENTS:])
    while len(token := base64.urlsafe_b64encode(to_json(last)).decode()) > MAX_TOKEN:
        last.pop(next(iter(last)))
    return token
