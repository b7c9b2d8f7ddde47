"""Whose an element of a text or list is: the Yjs client id of a replica, so that whoever wrote it, and writes on after a restart, is known by it."""

from __future__ import annotations

import hashlib

from driftlog_crdt.causal import PAST


def client_of(replica: str) -> int:
    """The Yjs client id of a replica: 53 bits of a hash, never 0."""
    return (int.from_bytes(hashlib.blake2b(replica.encode(), digest_size=8).digest(), "big") >> 11) or 1


def founder_of(at: int) -> int:
    """Whose the elements are with which a sequence is founded anew at this place in the log. No replica is called so."""
    return client_of(f"{PAST}{at}")
