"""Worlds in which something reacts while its space is given another number of partitions, once or twice, and workers die all the while.

The operator's command is cut off after its steps and run again, as in all worlds whose space moves; what reactions have called for is among what it takes along. As in
all worlds that react, each reaction has had its effect once if what was sold in one scope is what was counted in another one, and nothing was set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from driftlog_schemas.devices import DeviceKey, enrolled
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import Call
from driftlog_streams.core.rights import FORGET
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver import reactor
from driftlog_streams.replaying import calls_left
from tests.simulation.app import SPACE
from tests.simulation.history import History
from tests.simulation.moving import AGAIN, MOVED, MovingWorld, watched
from tests.simulation.reacting import LOOK_SECONDS, Reacts, miscounted, set_aside, with_reaction
from tests.simulation.repartition_rim import CALLED, STEPS, cut_at
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import identity_of

ALONG, BEHIND = "a call came along", "a call stood behind the end of its log"
AT_LEAST = {MOVED: 10, AGAIN: 2, ALONG: 10, BEHIND: 5, cut_at(CALLED): 1}
"""In the worlds of a run, also of the shortest; see `test_moving_reactions`."""


class MovingReactionsWorld(Reacts, MovingWorld):
    """One of them."""

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.cloud = identity_of(seed, CLOUD, self.root)
        self.rules = SpaceRules(with_reaction(SPACE), self.ids, self.cloud)
        self.spaces = [self.rules.space]

    def _cut_at(self, seed: int) -> list[str]:
        return [CALLED if seed % 3 == 0 else self.draw.choice(STEPS), *super()._cut_at(seed)[1:]]

    def _run(self) -> History:
        assert self.cloud is not None
        key = DeviceKey(self.cloud.key_id, self.cloud.public_key, EPOCH_MS)
        self.operator.enrol({CLOUD: enrolled(CLOUD, key, (), (FORGET,))})
        return super()._run()


# -- the judgement


def broken(world: MovingReactionsWorld, history: History) -> Iterator[str]:
    """What is wrong with a world that was lived through."""
    yield from history.crashes
    if not history.quiet:
        yield f"not at rest in time: {history.unrest}"
    for space in world.spaces:
        yield from set_aside(world, space)
    present = world.present
    latest = {r.key or b"": r.value for (name, _), rs in history.states.items() if name == present.name for r in rs}
    yield from miscounted(world, present, latest)


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered."""
    world = MovingReactionsWorld(seed, variant)
    honest, along, behind = calls_left.Carried.__init__, Counter[str](), Counter[str]()

    def carries(self: Any, rules: SpaceRules, cloud: Any, left: calls_left.CallsLeft) -> None:
        along.update(call.id for call in left.waiting)
        honest(self, rules, cloud, left)

    def repeated(known: Any, calls: Sequence[Call]) -> int:
        behind.update(call.id for call in calls)
        return told(known, calls)

    told = calls_left.repeated
    with (
        patch.object(reactor, "LOOK_SECONDS", LOOK_SECONDS),
        patch.object(calls_left.Carried, "__init__", carries),
        patch.object(calls_left, "repeated", repeated),
        watched(world),
    ):
        history = world.run()
    return list(broken(world, history)), history.situations + Counter({ALONG: len(along), BEHIND: len(behind)})


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


def nothing_is_left(*_: Any) -> calls_left.CallsLeft:
    """Planted: what was called for stays in the old logs."""
    return calls_left.CallsLeft()


def none_is_a_repetition(*_: Any) -> int:
    """Planted: each call behind the end of a log comes along, though it came before."""
    return 0


PLANTED = (
    Variant(
        "what was called for stays behind",
        planted=(("driftlog_streams.replaying.repartitioning.calls_left", nothing_is_left),),
        shows=1,
    ),
    Variant(
        "a repetition behind the end comes along",
        planted=(("driftlog_streams.replaying.calls_left.repeated", none_is_a_repetition),),
        shows=14,
    ),
)
