"""Dots and version vectors: who has seen what.

A dot names one op of one document: `(replica, seq)`, with seq dense from 1 per document and replica. Because every
replica's ops arrive in order, a set of merged ops is one number per replica: the version vector. A dot is covered by
a vector when its seq is at most the replica's entry. Two ops are concurrent when neither one's writer had seen the
other: neither context covers the other's dot.

A vector is a plain `dict[str, int]` without zero entries; nobody mutates a vector that was handed out.

Source: Fidge 1988 and Mattern 1989 (vector time); Preguiça et al. 2012, "Dotted version vectors", section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Vector = Mapping[str, int]
"""replica -> highest seq seen; an absent replica counts as 0."""

PAST = "*"
"""The name under which replicas that are over are remembered together (see `forgetting`). No replica is called so."""

SETTLER = "cloud.deadline"
"""The replica that writes what nobody had decided in time (see `settling`)."""

PAST_BITS = 24
MOST_FORGOTTEN = (1 << PAST_BITS) - 1
"""So many ops can be in a document's past; above them stands its epoch."""


class Dot(NamedTuple):
    """The name of one op of one document."""

    replica: str
    seq: int


def epoch_of(vector: Vector) -> int:
    """When the document of this vector began: after what was purged there (0: nothing ever was)."""
    return vector.get(PAST, 0) >> PAST_BITS


def without_epoch(vector: Vector) -> Vector:
    """The vector without a past in which there are no ops."""
    if PAST not in vector or vector[PAST] & MOST_FORGOTTEN:
        return vector
    return {replica: seq for replica, seq in vector.items() if replica != PAST}


def changes_in(vector: Vector) -> int:
    """How many ops the owner of `vector` has seen."""
    return sum(vector.values()) - vector.get(PAST, 0) + forgotten_in(vector)


def forgotten_in(vector: Vector) -> int:
    """How many of these are forgotten by name."""
    return vector.get(PAST, 0) & MOST_FORGOTTEN


def covers(vector: Vector, replica: str, seq: int) -> bool:
    """Has the owner of `vector` seen op `(replica, seq)`?"""
    return vector.get(replica, 0) >= seq


def dominates(left: Vector, right: Vector) -> bool:
    """Has `left` seen all that `right` has seen (equal vectors dominate each other)?"""
    return all(left.get(replica, 0) >= seq for replica, seq in right.items())


def concurrent(left: Vector, right: Vector) -> bool:
    """Has each side seen something that the other has not?"""
    return not dominates(left, right) and not dominates(right, left)


def joined(left: Vector, right: Vector) -> dict[str, int]:
    """The least vector that dominates both."""
    result = dict(left)
    for replica, seq in right.items():
        if result.get(replica, 0) < seq:
            result[replica] = seq
    return result
