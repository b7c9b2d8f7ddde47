"""Every way in which up to four ops of three replicas can hang together: who wrote, having seen what, knowing which refusals.

A shape says nothing of what the ops do. Replicas are named in the order of their first op, so shapes that differ by names alone
are made once. What an op has seen is closed under causality: its writer's own ops, and all that the writers of what it saw had seen.
Of a refused op all but its writer see that it has no effect; the writer may believe in it until it sees an op of somebody who knew
better, and in later refused ops longest, since it hears in the order of its ops.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import NamedTuple, TypeAlias

REPLICAS = "abc"

Cut: TypeAlias = tuple[int, ...]
"""How many ops of each replica."""


class Place(NamedTuple):
    """One op without its intent."""

    writer: int
    seen: Cut
    """Its own writer's earlier ops too."""
    refused: bool = False
    told: int = 0
    """Of how many of its own ops the writer had heard the outcome."""


Shape: TypeAlias = tuple[Place, ...]


@cache
def shapes(length: int) -> tuple[Shape, ...]:
    """All shapes of this many ops, in an order that never changes."""
    return tuple(
        shape
        for order in _orders(length)
        for refused in product((False, True), repeat=length)
        for shape in _told(order, refused)
    )


@cache
def unordered(length: int) -> tuple[Shape, ...]:
    """One shape of all those that differ only in the order in which concurrent ops were made, and so in names and clocks."""
    met: set[Shape] = set()
    found = []
    for shape in shapes(length):
        if shape not in met:
            found.append(shape)
            met |= _same_but_for_order(shape)
    return tuple(found)


def _same_but_for_order(shape: Shape) -> set[Shape]:
    found, waiting = {shape}, [shape]
    while waiting:
        one = waiting.pop()
        for at in range(len(one) - 1):
            first, second = one[at : at + 2]
            seq = first.seen[first.writer] + 1
            if first.writer == second.writer or second.seen[first.writer] >= seq:
                continue
            other = _named_in_order((*one[:at], second, first, *one[at + 2 :]))
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _named_in_order(shape: Shape) -> Shape:
    """The same with its replicas named in the order of their first ops."""
    names = list(dict.fromkeys([*(place.writer for place in shape), *range(len(REPLICAS))]))
    return tuple(
        place._replace(writer=names.index(place.writer), seen=tuple(place.seen[name] for name in names))
        for place in shape
    )


def _orders(length: int) -> Iterator[Shape]:
    if length == 0:
        yield ()
        return
    for earlier in _orders(length - 1):
        known = max((place.writer for place in earlier), default=-1)
        for writer in range(min(known + 2, len(REPLICAS))):
            for seen in _cuts(earlier, writer):
                yield (*earlier, Place(writer, seen))


def _cuts(earlier: Shape, writer: int) -> Iterator[Cut]:
    """What the writer's next op may have seen."""
    of = [[place for place in earlier if place.writer == replica] for replica in range(len(REPLICAS))]
    before = of[writer][-1].seen if of[writer] else (0,) * len(REPLICAS)
    ranges = [
        [len(places)] if replica == writer else range(before[replica], len(places) + 1)
        for replica, places in enumerate(of)
    ]
    for cut in product(*ranges):
        last = [places[count - 1] for places, count in zip(of, cut, strict=True) if count]
        if all(seen <= has for place in last for seen, has in zip(place.seen, cut, strict=True)):
            yield cut


def _told(order: Shape, refused: tuple[bool, ...], at: int = 0) -> Iterator[Shape]:
    """Who knew of which refusal: for every op each run of its writer's latest refused ops that it may believe in."""
    if at == len(order):
        yield order
        return
    place = order[at]
    own = [earlier for earlier in order[:at] if earlier.writer == place.writer]
    others = [e for e in order[:at] if e.writer != place.writer and e.seen[e.writer] < place.seen[e.writer]]
    heard = max([*(e.seen[place.writer] for e in others), own[-1].told if own else 0])
    surprises = [seq - 1 for seq, earlier in enumerate(own, 1) if earlier.refused and seq > heard]
    for told in (*surprises, len(own)):
        chosen = place._replace(refused=refused[at], told=told)
        yield from _told((*order[:at], chosen, *order[at + 1 :]), refused, at + 1)
