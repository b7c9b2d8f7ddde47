"""Who works at a device: asks its agent for one thing after another, and again for what was not answered, under the same id.

For a while somebody works at one place (a field, a key of a map), so that writers meet there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.simulation import all_types
from tests.simulation.app import SHARED, SPACE
from tests.simulation.history import Intent

if TYPE_CHECKING:
    from tests.simulation.edge_node import EdgeNode

SKUS = ("a", "b")


class User:
    """Of one device."""

    def __init__(self, node: EdgeNode) -> None:
        self._node = node
        world = self._world = node.world
        self._asked = 0
        self._place = world.favourites[0]
        self._unanswered: list[Intent] = []
        self._under_way: Counter[str] = Counter()
        """command id -> how many of its requests this life of the agent has not answered"""
        self._gone = False
        world.scheduler.after(world.scheduler.between(1, 5_000), f"{node.name} user", self._use)

    def told(self, intent: Intent) -> bool:
        """The agent has answered. Was that the last word, or is the same request under way once more?"""
        self._under_way[intent.command_id] -= 1
        if intent in self._unanswered:
            self._unanswered.remove(intent)
        return self._under_way[intent.command_id] <= 0

    def cut_off(self) -> None:
        """Nobody answers what is under way."""
        self._under_way.clear()

    def forget(self) -> None:
        """Not to ask again what a disk has never heard of."""
        self._unanswered.clear()

    def go_home(self) -> None:
        """Ask nothing more."""
        self._gone = True

    def _use(self) -> None:
        scheduler = self._world.scheduler
        if self._gone:
            return
        scheduler.after(
            scheduler.between(1, max(2, self._world.length_ms // self._world.diligence)),
            f"{self._node.name} user",
            self._use,
        )
        for _ in range(scheduler.between(1, 4)):
            intent = self._unanswered.pop(0) if self._unanswered and scheduler.chance(0.7) else self._intent()
            if self._node.process is None:
                continue
            self._unanswered.append(intent)
            self._under_way[intent.command_id] += 1
            process = self._node.process
            process.life.after(0, f"{intent.name} {intent.command_id}", lambda p=process, i=intent: p.ask(i))

    def _intent(self) -> Intent:
        chance = self._world.scheduler.random
        self._asked += 1
        name = (
            chance.choice(("work",) * 14 + ("lock",)) if chance.random() < 0.5 else chance.choice(list(SPACE.commands))
        )
        if self._world.errands and chance.random() < 0.5:
            name = chance.choice(self._world.errands)
        arguments: dict[str, Any] = {"store": chance.choice(self._node.scopes), "sku": chance.choice(SKUS)}
        match name:
            case "receive" | "sell":
                arguments["qty"] = chance.randint(1, 5)
            case "transfer":
                del arguments["sku"]
                arguments.update(source="a", target="b", qty=chance.randint(1, 4))
            case "reprice":
                arguments["price"] = chance.randint(1, 3)
            case "rename":
                arguments["name"] = chance.choice(("tea", "coffee", "mate"))
            case "note":
                arguments["text"] = chance.choice(("call", "order"))
            case "tag" | "untag" | "pin":
                arguments["word"] = chance.choice(("new", "last"))
            case "work":
                word = all_types.word(len(self._world.history.intents))
                if chance.random() < 0.8:
                    arguments["store"] = SHARED
                arguments["sku"] = "a"
                if chance.random() < 0.7:
                    self._place = chance.choice(self._world.favourites if chance.random() < 0.8 else all_types.PLACES)
                arguments.update(all_types.drawn(chance, self._place, word, self._world.words, self._lives()))
                if word in arguments["args"]:
                    self._world.words = [*self._world.words[-4:], word]
            case "lock" | "scrap":
                kind = chance.choice(self._world.favourites)[0]
                arguments.update(store=chance.choice((SHARED, arguments["store"])), sku="a", kind=kind)
            case "move":
                arguments.update(sku="a", place=chance.choice(("street", "city")), name=chance.choice(("x", "y")))
            case "post":
                arguments["remark"] = chance.choice(("quiet", "busy"))
        intent = Intent(self._node.name, f"{self._node.name}:{self._asked}", name, arguments)
        self._world.history.intents[intent.command_id] = intent
        return intent

    def _lives(self) -> list[str]:
        """The lives of all agents that run."""
        nodes = self._world.edges.values()
        return [node.process.replica for node in nodes if node.process is not None and node.process.started]
