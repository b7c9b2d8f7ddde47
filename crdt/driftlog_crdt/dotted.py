"""Writes kept by causality: what later writes have not replaced.

The common core of every register: a list of the writes that no other write has seen. A new write removes those that
its context (or its own replica's order) covers, and stays beside the rest. Two states join by the rule of optimized
OR-sets: a write that one side lacks although that side's vector covers it was replaced there, so it goes.

Source: Preguiça et al. 2012, "Dotted version vectors"; Bieniusa et al. 2012, "An optimized conflict-free replicated set".
"""

from __future__ import annotations

from typing import TypeAlias

from driftlog_crdt.causal import Vector
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain

Writes: TypeAlias = list[Write]


def put(writes: Writes, op: Op) -> None:
    """Add the write of `op`; drop what its writer had seen. Keeps the list in dot order."""
    write = Write(op.replica, op.seq, op.hlc, op.value)
    if not writes:
        writes.append(write)
        return
    seen = op.context or {}
    kept = [w for w in writes if w.replica != op.replica and seen.get(w.replica, 0) < w.seq]
    kept.append(write)
    if len(kept) > 1:
        kept.sort(key=_dot)
    writes[:] = kept


def join(left: Writes, left_seen: Vector, right: Writes, right_seen: Vector) -> Writes:
    """The writes that neither side has replaced."""
    in_left, in_right = {_dot(w) for w in left}, {_dot(w) for w in right}
    kept = [w for w in left if _dot(w) in in_right or right_seen.get(w.replica, 0) < w.seq]
    kept += [w for w in right if _dot(w) not in in_left and left_seen.get(w.replica, 0) < w.seq]
    kept.sort(key=_dot)
    return kept


def encode(writes: Writes) -> Plain:
    return [[w.replica, w.seq, w.hlc, w.value] for w in writes]


def decode(plain: Plain) -> Writes:
    if not isinstance(plain, list):
        raise BadEncoding("", "writes are encoded as a list")
    writes: Writes = []
    for item in plain:
        match item:
            case [str(replica), int(seq), int(hlc), value]:
                writes.append(Write(replica, seq, hlc, value))
            case _:
                raise BadEncoding("", "a write is encoded as [replica, seq, hlc, value]")
    return writes


def _dot(write: Write) -> tuple[str, int]:
    return (write.replica, write.seq)
