"""One edge whose release is changed while somebody never stops asking it; what was answered is written down.

Both releases count hits. Each also writes what the other cannot take: the older one names and tags, the newer one counts misses and says that
there is no name.
Those that only one of them knows stand on documents of their own, for the order of a document is kept: what stands on it behind
something that no worker knows yet waits with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.load.edges import EdgeProcess
from tests.load.waiting import until

PLACE = "market"
ITEMS = ("tea", "oat", "rye")
NAMED, NAMELESS, TAGGED = "named", "nameless", "tagged"
SAID = 16
"""Answers that each stage of a change waits for: a few of each kind."""
BUSY_SECONDS, QUIET_SECONDS = 0.05, 0.3
"""Between two commands while somebody waits for answers, and else: each of them is asked for again and again in the end."""


@dataclass(frozen=True, slots=True)
class Said:
    """One acknowledged command."""

    key: str
    what: str
    item: str
    value: str = ""


class Till:
    """`made` makes the edge of a release, over the one folder."""

    def __init__(self, name: str, made: Callable[[str], EdgeProcess], release: str, newer: str) -> None:
        self._name = name
        self._made = made
        self._newer = newer
        self.release = release
        self.edge = made(release)
        self.said: list[Said] = []
        self._wanted = 0
        self._stop = threading.Event()
        self._paused = threading.Lock()
        self._thread = threading.Thread(target=self._ask, name=name, daemon=True)
        self._failure = ""

    def start(self) -> None:
        self.edge.start()
        self._thread.start()

    def change(self, release: str) -> None:
        """Another release over the same folder."""
        with self._paused:
            assert self.edge.stop() == 0, self.edge.tail()
            self.edge.close()
            self.edge, self.release = self._made(release), release
            self.edge.start()

    def goes_on(self) -> None:
        """Wait until it was answered some more."""
        self._wanted = len(self.said) + SAID
        until(
            lambda: bool(self._failure) or len(self.said) >= self._wanted, f"{self._name} goes on", 60, self.edge.tail
        )
        assert not self._failure, f"{self._failure}{self.edge.tail()}"

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(60)
        assert not self._failure, f"{self._failure}{self.edge.tail()}"

    def close(self) -> None:
        """Gone, whatever it takes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(60)
        self.edge.close()

    def undecided(self, *kinds: str) -> dict[str, tuple[str, ...]]:
        """Acknowledged commands (of some kinds) that the cloud has not taken: what each is and what is said of it."""
        found = {}
        with self.edge.client() as asking:
            for said in self.said:
                if not kinds or said.what in kinds:
                    answer = asking.get(f"/v1/commands/{said.key}").raise_for_status().json()
                    if answer["status"] not in ("merged", "no_effect"):
                        found[said.key] = (said.what, *(str(answer[name]) for name in ("status", "code", "reason")))
        return found

    def _ask(self) -> None:
        while not self._stop.is_set() and not self._failure:
            with self._paused:
                said = self._next(len(self.said))
                try:
                    self._say(said)
                except (AssertionError, httpx.HTTPError) as error:
                    self._failure = f"{said}: {error}"
                    return
                self.said.append(said)
            self._stop.wait(BUSY_SECONDS if len(self.said) < self._wanted else QUIET_SECONDS)

    def _next(self, number: int) -> Said:
        key, item = f"{self._name}-{number}", ITEMS[number % len(ITEMS)]
        newer = self.release == self._newer
        match number % 8:
            case 1 | 5:
                return Said(key, "miss", item) if newer else Said(key, "name", NAMED, key)
            case 3:
                return Said(key, "unname", NAMELESS) if newer else Said(key, "tag", TAGGED, key)
        return Said(key, "hit", item)

    def _say(self, said: Said) -> None:
        if said.what == "tag":
            self.edge.write(PLACE, said.item, "tags", "add", said.value, key=said.key)
        else:
            label = {"label": said.value} if said.what == "name" else {}
            self.edge.do(said.what, key=said.key, place=PLACE, item=said.item, **label)
