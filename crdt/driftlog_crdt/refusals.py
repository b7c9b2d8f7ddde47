"""Refused ops: seen, without effect, and remembered until their writer knows.

A writer works on a view that holds its own ops of which it has not heard yet, and any of them may be refused. What it wrote in
the meantime was meant on a view that never was. Most ops do not mind: a count, a set, an added element mean the same
anywhere. Some lose their meaning: an insert beside characters that never came, a decrement by a right that was not given, a
value made from one that did not stand, an erase of a counter, which says what its writer saw. Those must be refused too, and
their writer told to think again.

So a state keeps the dots of refused ops, per replica as ranges of seqs, and an op says how many of its writer's own last ops it
was unsure about (`Op.unsure`). What lies in that window and was refused, the writer *believed in*. An op also shows what its
writer knows by now: everything before its window is forgotten, so a writer that hears from the cloud keeps nothing here.

A replica's entry follows from its own ops alone, which all states take in one order: of two states, the one that has seen more of
the replica has the later entry, and `join` takes that; of equally late ones the one from which more was pruned.

Must never happen: a refused op with an effect, directly or through what was built on it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

from driftlog_crdt.causal import Vector
from driftlog_crdt.ops import Op


class Run(NamedTuple):
    """Refused ops in a row."""

    first: int
    last: int
    emptied: bool = False
    """Would they have emptied the document, so that their writer went on with a new one?"""


Runs: TypeAlias = tuple[Run, ...]
"""Ascending."""

Refused: TypeAlias = dict[str, Runs]
"""replica -> its refused ops that it may not know of; nobody has an empty entry"""

MAX_RUNS = 64
"""Of one replica. Beyond them the oldest two become one: what lies between is then taken for refused, as bad as the worse of them, and
costs its writer a second try, no more."""


def remember(refused: Refused, op: Op, emptied: bool) -> None:
    """`op` was refused. Would it have emptied the document?"""
    learn(refused, op)
    runs = (*refused.get(op.replica, ()), Run(op.before + 1, op.seq, emptied))
    if len(runs) > 1 and runs[-2].last == op.before and runs[-2].emptied == emptied:
        runs = (*runs[:-2], _one(*runs[-2:]))
    if len(runs) > MAX_RUNS:
        runs = (_one(*runs[:2]), *runs[2:])
    refused[op.replica] = runs


def learn(refused: Refused, op: Op) -> None:
    """Forget what the writer of `op` knew when it wrote."""
    if op.replica in refused:
        _forget(refused, op.replica, op.seq - 1 - op.unsure)


def believed(refused: Refused, op: Op) -> Runs:
    """The refused ops of its own that the writer of `op` believed in."""
    known = op.seq - 1 - op.unsure
    return tuple(run for run in refused.get(op.replica, ()) if run.last > known)


def joined(left: Refused, left_seen: Vector, right: Refused, right_seen: Vector) -> Refused:
    """Of each replica the later entry."""
    result: Refused = {}
    for replica in left.keys() | right.keys():
        ours, theirs = left.get(replica, ()), right.get(replica, ())
        ahead = left_seen.get(replica, 0) - right_seen.get(replica, 0)
        later = max(ours, theirs, key=_age) if ahead == 0 else ours if ahead > 0 else theirs
        if later:
            result[replica] = later
    return result


def prune(refused: Refused, floor: Vector) -> None:
    """Forget what everybody has seen, the writers too."""
    for replica in list(refused):
        _forget(refused, replica, floor.get(replica, 0))


def _forget(refused: Refused, replica: str, until: int) -> None:
    runs = refused[replica]
    if runs[0].first > until:
        return
    kept = tuple(run._replace(first=max(run.first, until + 1)) for run in runs if run.last > until)
    if kept:
        refused[replica] = kept
    else:
        del refused[replica]


def _one(first: Run, second: Run) -> Run:
    return Run(first.first, second.last, first.emptied or second.emptied)


def _age(runs: Runs) -> tuple[float, Runs]:
    """The more was forgotten, the older."""
    return (runs[0].first if runs else math.inf, runs)
