"""Writes kept by causality: what later writes have not replaced.

The common core of every register: a list of the writes that no other write has seen. A new write removes those that
its context (or its own replica's order) covers, and stays beside the rest. Two states join by the rule of optimized
OR-sets: a write that one side lacks although that side's vector covers it was replaced there, so it goes.

The list is in dot order, and holds at most one write per replica, since a replica's later write covers its earlier
one. What it holds is the antichain of maximal writes of the partial order, so it does not depend on arrival.

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

_NOTHING: dict[str, int] = {}


def put(writes: Writes, write: Write, op: Op) -> None:
    """Add the write of `op`; drop what its writer had seen. Keeps the list in dot order."""
    replica = op.replica
    seen = op.context or _NOTHING
    if len(writes) == 1:
        only = writes[0]
        if only.replica == replica or seen.get(only.replica, 0) >= only.seq:
            writes[0] = write
        elif only.replica < replica:
            writes.append(write)
        else:
            writes.insert(0, write)
        return
    kept = [w for w in writes if w.replica != replica and seen.get(w.replica, 0) < w.seq]
    kept.append(write)
    kept.sort(key=_dot)
    writes[:] = kept


def join(left: Writes, left_seen: Vector, right: Writes, right_seen: Vector) -> Writes:
    """The writes that neither side has replaced."""
    in_right = {_dot(w) for w in right}
    kept = [w for w in left if _dot(w) in in_right or right_seen.get(w.replica, 0) < w.seq]
    kept += [w for w in right if left_seen.get(w.replica, 0) < w.seq]
    kept.sort(key=_dot)
    return kept


def erase(writes: Writes, seen: Vector) -> None:
    """Drop the writes that `seen` covers."""
    writes[:] = [w for w in writes if seen.get(w.replica, 0) < w.seq]


def encode(writes: Writes) -> Plain:
    return [[w.replica, w.seq, w.hlc, w.value] for w in writes]


def decode(plain: Plain) -> Writes:
    if not isinstance(plain, list):
        raise BadEncoding("", "writes are encoded as a list")
    writes: Writes = []
    last = ""
    for item in plain:
        if type(item) is not list or len(item) != 4:
            raise BadEncoding("", "a write is encoded as [replica, seq, hlc, value]")
        replica, seq, hlc, value = item
        if type(replica) is not str or type(seq) is not int or type(hlc) is not int or seq < 1:
            raise BadEncoding("", "a write is encoded as [replica, seq, hlc, value]")
        if writes and replica <= last:
            raise BadEncoding("", "writes stand in the order of their replicas, one for each")
        last = replica
        writes.append(Write(replica, seq, hlc, value))
    return writes


def _dot(write: Write) -> tuple[str, int]:
    return (write.replica, write.seq)
