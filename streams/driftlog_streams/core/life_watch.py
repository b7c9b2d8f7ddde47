"""How many lives a device begins: a folder that is emptied or restored gets a new one now and then, a copied one over and over.

Lives need nobody's leave, so they are only counted, by the log's own time: more than a few within an hour means that one key is used in
several places, and a person should look. Nothing is refused for it.

It is counted twice. A worker counts what it meets, in memory and bounded, so that the device is told at once. And each chain row says when
its life began, so whoever reads the rows of all partitions (`driftlog devices list`, `doctor`) finds the same, whatever workers have
forgotten, and also where the lives of one device lie in different partitions.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

MAX_LIVES = 3
"""New ones in an hour that are nobody's concern."""
WINDOW_MS = 60 * 60 * 1000
MAX_DEVICES = 10_000


def marked(births: Iterable[int]) -> int:
    """When the latest life began that was one too many within the window; 0 for none."""
    ordered = sorted(births)
    too_soon = [late for early, late in zip(ordered, ordered[MAX_LIVES:], strict=False) if late - early < WINDOW_MS]
    return max(too_soon, default=0)


class LifeWatch:
    """The new lives of one partition."""

    def __init__(self) -> None:
        self._births: OrderedDict[str, deque[int]] = OrderedDict()

    def born(self, device_id: str, append_ms: int) -> bool:
        """A life of the device was met for the first time. True when it is one too many within the window."""
        births = self._births.setdefault(device_id, deque(maxlen=MAX_LIVES + 1))
        self._births.move_to_end(device_id)
        if len(self._births) > MAX_DEVICES:
            self._births.popitem(last=False)
        births.append(append_ms)
        return len(births) > MAX_LIVES and append_ms - births[0] < WINDOW_MS
