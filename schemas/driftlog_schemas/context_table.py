"""The contexts of a batch: each told by what differs from the one before it.

A device that writes for a while sees its scope's vector grow by an entry now and then, and writes it with every op that needs one.
So a batch's contexts are nearly the same, and what they share is written once. Reading them makes whole vectors again; that can be
much more than was sent, so its sum is bounded on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftlog_crdt.causal import Vector
from driftlog_schemas.bounds import MAX_CONTEXT
from driftlog_schemas.columns_codec import pack, unpack
from driftlog_schemas.errors import TooBig, Undecodable

MAX_ENTRIES = 1 << 18
"""Of all contexts of a batch together, as vectors."""


NO_CONTEXT = -1
"""Stands where an op has none."""


class ContextTable:
    """Distinct contexts by number. One object is looked at once; equal ones get one entry."""

    def __init__(self) -> None:
        self._by_object: dict[int, int] = {}
        self._by_content: dict[frozenset[tuple[str, int]], int] = {}
        self._last: Vector = {}
        self._entries = 0
        self._replicas: dict[str, int] = {}
        self._sizes: list[int] = []
        self._changed: list[int] = []
        self._seqs: list[int] = []

    def places(self, contexts: Sequence[Vector | None]) -> list[int]:
        """The number of each, and what stands where there is none. Raises `TooBig`."""
        if contexts.count(None) == len(contexts):  # commuting ops have none
            return [NO_CONTEXT] * len(contexts)
        return [NO_CONTEXT if context is None else self.index(context) for context in contexts]

    def index(self, context: Vector) -> int:
        """Its number. Raises `TooBig`."""
        # The batch holds every context while this table lives, so an object's id names it.
        known = self._by_object.get(id(context))
        if known is None:
            known = self._by_content.setdefault(frozenset(context.items()), len(self._sizes))
            if known == len(self._sizes):
                self._add(context)
            self._by_object[id(context)] = known
        return known

    def _add(self, context: Vector) -> None:
        self._entries += len(context)
        if len(context) > MAX_CONTEXT or self._entries > MAX_ENTRIES:
            raise TooBig(
                f"contexts of {self._entries} entries, at most {MAX_CONTEXT} in one and {MAX_ENTRIES} in a batch",
                "write fewer documents at once",
            )
        last, before = self._last, len(self._changed)
        for replica in sorted(context.keys() | last.keys()):
            seq = context.get(replica, 0)
            if seq != last.get(replica, 0):
                self._changed.append(self._replicas.setdefault(replica, len(self._replicas)))
                self._seqs.append(seq)
        self._sizes.append(len(self._changed) - before)
        self._last = context

    def columns(self) -> dict[str, Any]:
        """What stands in the body."""
        return {
            "contexts": len(self._sizes),
            "replicas": list(self._replicas),
            "context_size": pack(self._sizes),
            "context_replica": pack(self._changed),
            "context_seq": pack(self._seqs),
        }


def read_contexts(record: dict[str, Any], ops: int) -> list[Vector]:
    """The contexts of a body with so many ops. Raises `Undecodable`."""
    replicas: list[str] = record["replicas"]
    count: int = record["contexts"]
    if not 0 <= count <= ops:
        raise Undecodable(f"{count} contexts for {ops} ops")
    sizes = unpack(record["context_size"], count, "context_size", 0, MAX_ENTRIES)
    total = sum(sizes)
    if total > MAX_ENTRIES or len(replicas) > total:
        raise Undecodable(f"contexts with {total} changes of {len(replicas)} replicas, at most {MAX_ENTRIES}")
    changed = unpack(record["context_replica"], total, "context_replica", 0, len(replicas) - 1)
    seqs = unpack(record["context_seq"], total, "context_seq", 0)
    result: list[Vector] = []
    vector: dict[str, int] = {}
    at = entries = 0
    for size in sizes:
        vector = vector.copy()
        for place, seq in zip(changed[at : at + size], seqs[at : at + size], strict=True):
            if seq:
                vector[replicas[place]] = seq
            else:
                vector.pop(replicas[place], None)
        at += size
        entries += len(vector)
        if len(vector) > MAX_CONTEXT or entries > MAX_ENTRIES:
            raise Undecodable(f"contexts of {entries} entries, at most {MAX_CONTEXT} in one")
        result.append(vector)
    return result
