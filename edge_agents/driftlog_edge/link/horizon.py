"""How long the cloud remembers what this device would need to go on where it was, and how much of that is left.

A deletion is told by the topic of states for as long as that keeps tombstones. Who comes back later cannot tell what is gone: it reads each partition
again from its start, a snapshot of all that there is (`incoming/returning`), under a new life, for the cloud has given up the old one by then. Nothing is lost by that, but it
costs an hour on a thin link, so people are told before it comes to it.

The broker says how long, on each connection, for an operator may change it while agents run; and that is kept in the store: who is away must know it then.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import structlog

from driftlog_edge.link.freshness import Freshness
from driftlog_edge.link.places import Places
from driftlog_edge.ports import Asker, Family
from driftlog_edge.store import keys
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.generations import return_of
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.spans import span

log = structlog.get_logger()

DEFAULT_SECONDS = topics.RETENTION_MS / 1000
"""Where the broker does not say."""
WARNED_FROM = 0.1
"""What part of the time is left when people are told: three days of thirty."""


class Horizon:
    """Of one agent."""

    def __init__(self, places: Places, freshness: Freshness, journal: Journal, committer: Committer) -> None:
        self._places = places
        self._freshness = freshness
        self._journal = journal
        self._committer = committer
        raw = journal.get(Family.META, keys.REMEMBERED)
        self._kept: dict[str, float] = {} if raw is None else json.loads(raw)
        """topic -> for how many seconds it tells what was deleted"""
        self._warned = False

    def kept(self, topic: str) -> float:
        """For how many seconds a topic tells what was deleted."""
        return self._kept.get(topic, DEFAULT_SECONDS)

    async def ask(self, asker: Asker, names: Collection[str], seconds: float) -> None:
        """Learn it of these topics. Raises `Unreachable`."""
        for topic in sorted(set(names)):
            told = await asker.tombstones_kept(topic, seconds)
            found = DEFAULT_SECONDS if told is None else told
            if found != self._kept.get(topic):
                self._kept[topic] = found
                self._committer.stage({(Family.META, keys.REMEMBERED): json.dumps(self._kept).encode()}, sync=False)

    @property
    def left(self) -> float | None:
        """Seconds until the first partition has to be read again from its start, at most; below zero where that will be. None where nothing was
        read yet, or is read again already."""
        return min((left for left, _ in self._lefts()), default=None)

    @property
    def warning(self) -> str:
        """What people should know of it, in words; empty while there is time."""
        left = min((left for left, kept in self._lefts() if left <= WARNED_FROM * kept), default=None)
        if left is None:
            return ""
        if left <= 0:
            return "this device was away for longer than the cloud remembers: it needs a snapshot when it comes back"
        return f"{span(round(left * 1000))} left before this device needs a snapshot: connect it"

    def _lefts(self) -> Iterator[tuple[float, float]]:
        """Of each partition that is not read again just now: how many seconds are left, of how many."""
        for topic, partition in self._places.states:
            age = self._freshness.age(self._freshness.since((topic, partition)))
            if age is not None and return_of(self._journal, self._places.topics[topic][0], partition) is None:
                yield self.kept(topic) - age, self.kept(topic)

    def facts(self) -> dict[str, Any]:
        """For `/v1/status`."""
        return {"needed_in_seconds": self.left, "warning": self.warning}

    def tick(self) -> None:
        """Say it in the log when it begins."""
        warning = self.warning
        if bool(warning) != self._warned:
            self._warned = bool(warning)
            if warning:
                log.warning("the cloud will soon have forgotten what this device needs", warning=warning)
