"""Writes kept by causality: what later writes have not replaced.

The common core of every register: a list of the writes that no other write has seen. A new write removes those that
its context (or its own replica's order) covers, and stays beside the rest. Two states join by the rule of optimized
OR-sets: a write that one side lacks although that side's vector covers it was replaced there, so it goes.

A settlement also goes with all for which it stands (see `settling`). The list is in dot order, and holds at most one write per replica, since a replica's later write covers its earlier
one. What it holds is the antichain of maximal writes of the partial order, so it does not depend on arrival.

Source: Preguiça et al. 2012, "Dotted version vectors"; Bieniusa et al. 2012, "An optimized conflict-free replicated set".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

from driftlog_crdt.causal import SETTLER, Vector
from driftlog_crdt.errors import BadEncoding
from driftlog_crdt.field_type import Write
from driftlog_crdt.ops import Decision, Origin
from driftlog_crdt.plain import Plain, differ
from driftlog_crdt.settling import yields

Writes: TypeAlias = list[Write]

_NOTHING: Vector = {}


def put(writes: Writes, write: Write, context: Vector | None) -> None:
    """Add a write; drop what its writer had seen, and its own earlier one. Keeps the list in dot order.

    The work follows the shorter of the list and what was seen, so that n writers who have not heard of each other cost n steps.
    """
    seen = context or _NOTHING
    if len(writes) == 1:
        only = writes[0]
        if (
            only.replica == write.replica
            or seen.get(only.replica, 0) >= only.seq
            or (only.replica == SETTLER and yields(only, {**seen, write.replica: write.seq}))
        ):
            writes[0] = write
        elif only.replica < write.replica:
            writes.append(write)
        else:
            writes.insert(0, write)
        return
    if len(seen) < len(writes):
        for replica, seq in seen.items():
            at = bisect_left(writes, replica, key=_replica)
            if at < len(writes) and writes[at].replica == replica and writes[at].seq <= seq:
                del writes[at]
        _erase_settlement(writes, {**seen, write.replica: write.seq})
    else:
        erase(writes, {**seen, write.replica: write.seq})
    at = bisect_left(writes, write.replica, key=_replica)
    if at < len(writes) and writes[at].replica == write.replica:
        writes[at] = write
    else:
        writes.insert(at, write)


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
    _erase_settlement(writes, seen)


def _erase_settlement(writes: Writes, seen: Vector) -> None:
    at = bisect_left(writes, SETTLER, key=_replica)
    if at < len(writes) and writes[at].replica == SETTLER and yields(writes[at], seen):
        del writes[at]


def contested(writes: Sequence[Write]) -> bool:
    """Are two of these values different?"""
    if len(writes) < 2:
        return False
    first = writes[0].value
    return any(differ(w.value, first) for w in islice(writes, 1, None))


def encode(writes: Sequence[Write]) -> Plain:
    return [_encoded(w) for w in writes]


def _encoded(write: Write) -> Plain:
    origin = write.origin
    if origin is None:
        return write[:4]  # type: ignore[return-value]  # tuples are lists in JSON
    if origin.decision is None:
        return (*write[:4], origin[:4])  # type: ignore[return-value]
    how, reason, settled = origin.decision
    return (*write[:4], (*origin[:4], (how, reason, encode(settled))))  # type: ignore[return-value]


def decode(plain: Plain) -> Writes:
    if not isinstance(plain, list):
        raise BadEncoding("", "writes are encoded as a list")
    writes: Writes = []
    for item in plain:
        write = _decode(item)
        if writes and write.replica <= writes[-1].replica:
            raise BadEncoding("", "writes stand in the order of their replicas, one for each")
        writes.append(write)
    return writes


def _decode(item: Plain, *, settled: bool = False) -> Write:
    """A write; one of those that a settlement has `settled` is none itself."""
    if type(item) is not list or not 4 <= len(item) <= 5:
        raise BadEncoding("", _NO_WRITE)
    replica, seq, hlc, value = item[:4]
    if type(replica) is not str or type(seq) is not int or type(hlc) is not int or seq < 1:
        raise BadEncoding("", _NO_WRITE)
    return Write(replica, seq, hlc, value, None if len(item) == 4 else _decode_origin(item[4], settled))


def _decode_origin(item: Plain, settled: bool) -> Origin:
    if type(item) is list and 4 <= len(item) <= 5:
        command_id, actor, append_ms, seen = item[:4]
        if type(command_id) is type(actor) is str and type(append_ms) is type(seen) is int:
            decision = None if len(item) == 4 else _decode_decision(item[4], settled)
            return Origin(command_id, actor, append_ms, seen, decision)
    raise BadEncoding(
        "", "who wrote is encoded as [command id, actor, append time, changes seen] and, where it decided, how"
    )


def _decode_decision(item: Plain, settled: bool) -> Decision:
    if type(item) is list and len(item) == 3:
        how, reason, writes = item
        if type(how) is type(reason) is str and type(writes) is list and not (settled and writes):
            return Decision(how, reason, tuple(_decode(write, settled=True) for write in writes))
    raise BadEncoding("", "how it was decided is encoded as [how, reason, writes that it settled]")


_NO_WRITE = "a write is encoded as [replica, seq, hlc, value] and, where it is known, who wrote"


def _replica(write: Write) -> str:
    return write.replica


def _dot(write: Write) -> tuple[str, int]:
    return (write.replica, write.seq)
