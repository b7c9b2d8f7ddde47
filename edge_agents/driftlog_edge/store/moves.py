"""Where the spaces of this folder go on with another number of partitions, and how far the folder has come on its way there.

The op log of a space that has moved is closed, and nothing will come in its topics any more (`driftlog_schemas.moves`). A folder follows in three stages, each of
them one write, so that it can be cut off anywhere:

- *closed*: all that the old topics tell was read here. What they have answered is answered, and what they have not is in no log. So all lives that wrote there are
  over, and what is undecided is taken along into a new one, as after every end of a life (`outgoing/renewal`), on the documents as they lie here: what was laid anew is the same;
- *packed*: nothing is under a life of before any more. From now on the folder may be opened with the space as it is where it goes on;
- *there*: it was, and all that the folder has of the space lies under its new name and by its new count (`store/carrying`).

Until then the agent goes on with the old topics, from which nothing follows, and takes commands as ever. An older release, which knows nothing of all this, sends what waits
into a closed log, where it stays undecided, and does not open a folder any more of which something lies by the new count (`store/counts`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from enum import Enum
from typing import NamedTuple, Protocol

from driftlog_edge.ports import Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.counts import Readable
from driftlog_edge.store.lives import Chain
from driftlog_schemas.contract import AppContract
from driftlog_schemas.moves import Moved, present_app


class Stage(Enum):
    """How far a folder has come."""

    CLOSED = "closed"
    PACKED = "packed"
    THERE = "there"


class Move(NamedTuple):
    """Of one space, by its name before."""

    to: Moved
    stage: Stage
    whole: bool = True
    """Were the old topics read to their ends? A folder that had said nothing there follows without."""

    def encode(self) -> bytes:
        return json.dumps([*self.to, self.stage.value, self.whole]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Move:
        number, partitions, begins, since, stage, whole = json.loads(data)
        return cls(Moved(number, partitions, begins, tuple(since)), Stage(stage), whole)


def move_of(source: Readable, space: str) -> Move | None:
    """How far the folder has come with a space of this name on the wire; None while nothing has begun."""
    raw = source.get(Family.META, keys.move_key(space))
    return None if raw is None else Move.decode(raw)


class Scanned(Protocol):
    """What a folder holds, or what is left of one."""

    def scan(self, family: Family, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


def moves_of(source: Scanned) -> dict[str, Move]:
    """How far it has come with each space that has moved, by its name before."""
    return {key[len(keys.MOVES) :].decode(): Move.decode(raw) for key, raw in source.scan(Family.META, keys.MOVES)}


def left_behind(source: Scanned) -> str:
    """What a release that knows nothing of a move, and opens the folder all the same, has taken after that was followed, in words; empty for nothing."""
    for space, move in moves_of(source).items():
        if move.stage is not Stage.THERE:
            continue
        chains = source.scan(Family.META, keys.of_all(keys.CHAINS, space))
        sealed = any(Chain.decode(raw).number for _, raw in chains)
        if sealed or next(iter(source.scan(Family.OUTBOX, keys.space_prefix(space))), None) is not None:
            return (
                f"an older release has written in this folder after it had followed {space} to where that goes on: what it took is sent nowhere;"
                " bring it into a new folder: driftlog edge salvage --from DIR --to DIR"
            )
    return ""


def written(space: str, move: Move) -> dict[Place, bytes | None]:
    """The write that goes on to a stage."""
    return {(Family.META, keys.move_key(space)): move.encode()}


def present(source: Readable, declared: AppContract) -> AppContract:
    """An app with its spaces as this folder has them."""
    return _at(source, declared, (Stage.THERE,))


def destined(source: Readable, declared: AppContract) -> AppContract:
    """An app with its spaces as this folder has them once it was opened."""
    return _at(source, declared, (Stage.PACKED, Stage.THERE))


def _at(source: Readable, declared: AppContract, stages: Collection[Stage]) -> AppContract:
    """An app with those of its spaces where they go on with which the folder is at one of these stages."""

    def there(space: str) -> Moved | None:
        move = move_of(source, space)
        return move.to if move is not None and move.stage in stages else None

    return present_app(declared, there)
