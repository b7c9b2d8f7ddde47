"""Dots of ours that are taken and that perhaps no state will ever have: of commands that the cloud refused because the device had no right there.

Of such a command nothing is seen (`forbidden`): it makes no document and grows no vector. Others that are refused count as seen, and the states
say so. Which it was the answer does not tell, so both are kept here until a state covers them, and neither waits for that: it is
decided, and shows in no view.

The dots stay taken all the same: the log has them, and where they were seen a second change under one of them would be lost. So what is
written next goes above them. Where they were not seen the cloud waits for them (it parks what comes behind), and nobody will ever send them:
then this life has to end (`lives.UNSEEN`), and what waits there runs again under the next. The dots of that are of the same kind from then
on, so what stands behind them, perhaps on another document, runs again after it. A device that goes on without the right keeps its life,
however often it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from driftlog_crdt import Op, Vector
from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import keys
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Command


class Unseen(NamedTuple):
    """Of one life on one document: some of these dots, those at both ends among them."""

    first: int
    last: int


def unseen_of(
    source: Source,
    space: str,
    partition: int,
    document: bytes,
    writes: Mapping[Place, bytes | None] = MappingProxyType({}),
) -> dict[str, Unseen]:
    """By life, those of a document, as they are once `writes` are staged."""
    place = (Family.META, keys.unseen_key(space, partition, document))
    return _decoded(writes[place] if place in writes else source.get(*place))


def passing_over(
    source: Source, space: str, partition: int, command: Command, writes: Mapping[Place, bytes | None]
) -> dict[Place, bytes | None]:
    """The writes that keep the dots of a command that perhaps no state will have, besides what `writes` keeps already."""

    def kept(op: Op, known: Unseen | None) -> Unseen:
        first, last = (op.before + 1, op.seq) if known is None else known
        return Unseen(min(first, op.before + 1), max(last, op.seq))

    return _for_each(source, space, partition, command, writes, kept)


def withdrawn(
    source: Source, space: str, partition: int, command: Command, writes: Mapping[Place, bytes | None]
) -> dict[Place, bytes | None]:
    """The writes for a command that is not sent under its dots, although later ones of its life are taken: it will run again above those, and nobody
    will send what is below. Nothing where no later ones are taken, for then it takes the same ones again.
    """

    def reaching_down(op: Op, known: Unseen | None) -> Unseen | None:
        return None if known is None or known.first <= op.before + 1 else known._replace(first=op.before + 1)

    return _for_each(source, space, partition, command, writes, reaching_down)


def _for_each(
    source: Source,
    space: str,
    partition: int,
    command: Command,
    writes: Mapping[Place, bytes | None],
    kept: Callable[[Op, Unseen | None], Unseen | None],
) -> dict[Place, bytes | None]:
    """The writes with which what is known of the writer of each op becomes what `kept` makes of it; where that is None it is left as it is."""
    dots: dict[bytes, dict[str, Unseen]] = {}
    for document, op in command.ops:
        key = document_key(document)
        lives = dots.get(key) or unseen_of(source, space, partition, key, writes)
        found = kept(op, lives.get(op.replica))
        if found is not None:
            dots[key] = {**lives, op.replica: found}
    return {place: value for key, lives in dots.items() for place, value in _written(space, partition, key, lives)}


def covered(
    space: str, partition: int, document: bytes, lives: Mapping[str, Unseen], vector: Vector
) -> dict[Place, bytes | None]:
    """The write by which those go that a state has."""
    left = {replica: dots for replica, dots in lives.items() if vector.get(replica, 0) < dots.last}
    return {} if len(left) == len(lives) else dict(_written(space, partition, document, left))


def forgotten(source: Source, space: str, partition: int, replica: str, at_most: int) -> dict[Place, bytes | None]:
    """The writes that forget some of those of a life that is over; none when nothing is left. Where changes of that life still show above them, those need
    them: then the state that covers both ends it."""
    found: dict[Place, bytes | None] = {}
    prefix = keys.unseen_key(space, partition, b"")
    for key, value in source.scan(Family.META, prefix):
        lives = _decoded(value)
        document = key[len(prefix) :]
        if lives.pop(replica, None) is not None and all(m.replica != replica for m in marks_of(source, document)):
            found.update(_written(space, partition, document, lives))
            if len(found) == at_most:
                break
    return found


def _written(
    space: str, partition: int, document: bytes, lives: Mapping[str, Unseen]
) -> list[tuple[Place, bytes | None]]:
    value = json.dumps(lives).encode() if lives else None
    return [((Family.META, keys.unseen_key(space, partition, document)), value)]


def _decoded(value: bytes | None) -> dict[str, Unseen]:
    return {} if value is None else {replica: Unseen(*dots) for replica, dots in json.loads(value).items()}
