"""Worlds whose devices keep back what may wait: collections have rhythms, batteries run low, networks get dear, while everything else goes wrong.

The laws are those of every world: what is kept back overtakes nothing and is not lost, and at the end, when there is power again, all of it has gone.
"""

from __future__ import annotations

import random
from collections import Counter
from types import MappingProxyType

from driftlog_edge.power.reading import UNKNOWN, Power
from tests.simulation.case import Case, Meaningless
from tests.simulation.edge_node import EdgeNode
from tests.simulation.history import History
from tests.simulation.judge import Violation, broken
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.world import World

REASONS = {"90s", "wifi", "power"}
STATES = (UNKNOWN, Power(mains=False, battery_percent=5), Power(metered=True), Power(mains=True, metered=False))
CHANGES = 12
"""How often a device is fed in another way."""


class WaitingWorld(World):
    """What it draws besides comes from another source than the world's own, so that the world of a seed stays as it is."""

    bars = 2

    rhythms = MappingProxyType({"Ledger": "20s", "Note": "on_wifi", "Board": "90s"})

    def _run(self) -> History:
        draw = random.Random(self.history.seed)
        for edge in self.edges.values():
            for _ in range(CHANGES):
                at = EPOCH_MS + draw.randrange(1_000, self.length_ms)
                power = draw.choice(STATES)
                self.scheduler.at(at, f"{edge.name} power", lambda e=edge, p=power: self._feed(e, p))
        return super()._run()

    def _feed(self, edge: EdgeNode, power: Power) -> None:
        for waited in [] if edge.process is None else edge.process.feed(power):
            self.history.situation(waited)

    def _heal(self) -> None:
        super()._heal()
        for edge in self.edges.values():
            self._feed(edge, UNKNOWN)


def lived(seed: int) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and for what its commands waited."""
    history = WaitingWorld(seed).run()
    try:
        return broken(Case(history)), history.situations
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()
