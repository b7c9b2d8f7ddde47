"""The digest of a scope: one number that tells whether two replicas have seen the same of it.

Each document adds by XOR what names it and all that it has seen, so the order in which states came does not matter.
"""

from __future__ import annotations

import hashlib

from driftlog_crdt import DocumentState, canonical

DIGEST_BYTES = 8


def document_digest(key: bytes, state: DocumentState | None) -> int:
    """What a document adds (by XOR) to its scope's digest; one that is not held nothing."""
    if state is None:
        return 0
    text = key + b"\x00" + canonical(dict(state.vector)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest(), "big")


def changed_by(stored: bytes | None, change: int) -> bytes:
    """A stored digest after a change of it."""
    return (int.from_bytes(stored or b"", "big") ^ change).to_bytes(DIGEST_BYTES, "big")
