"""What stands in a world for the few things that production takes from the process: RocksDB, chance, the wall behind `monotonic`.

Everything else of an agent and a worker is production's own. A planted bug is put in place the same way (see `variant`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from driftlog_edge.store import lives
from tests.simulation.disk_store import DiskStore

if TYPE_CHECKING:
    from tests.simulation.world import World

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
"""Of a life's name."""
TICK_SECONDS = 2.0
"""The agent looks at its clock every half second; a world has many idle hours."""


class Identities:
    """`Identity` as the assembly loads it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self, path: Any) -> Any:
        return self._world.identities[path.name]


@contextmanager
def in_place(world: World) -> Iterator[None]:
    """For the life of a world. Worlds of one process live one after another."""
    chance = world.scheduler.random

    def draw() -> str:
        return "".join(chance.choices(LETTERS, k=8))

    replaced: list[tuple[str, Any]] = [
        ("driftlog_edge.assembly.RocksStore", lambda folder: DiskStore(world.edges[folder.name].disk)),
        ("driftlog_edge.assembly.Identity", Identities(world)),
        ("driftlog_edge.link.sync.TICK_SECONDS", TICK_SECONDS),
        ("driftlog_edge.link.sync.random", chance),
        ("driftlog_edge.link.renewing.random", chance),
        ("driftlog_edge.outgoing.pump.random", chance),
        ("driftlog_edge.assembly.ensure_life", partial(lives.ensure_life, draw=draw)),
        ("driftlog_edge.assembly.Lives", partial(lives.Lives, draw=draw)),
        *world.variant.planted,
    ]
    with ExitStack() as stack:
        for name, replacement in replaced:
            stack.enter_context(patch(name, replacement))
        yield
