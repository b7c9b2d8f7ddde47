"""A page of a document's history as rows of a table, and the picture that is drawn from the same rows: a lane for each author, an arrow from what a
writer had seen last to what they wrote. The newest is on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from driftlog_console.history.kept import Moment
from driftlog_streams.replaying.history import BESIDE, STANDS, who
from driftlog_streams.replaying.retelling import Step

IDLE_MS = 3_600_000
"""A pause of so long between two changes is folded, and said."""
ROW, LANE, LEFT = 40, 64, 20


class Row(NamedTuple):
    """A line of the table."""

    key: str
    """Of its address within the page."""
    moment: Moment
    step: Step
    author: str
    mark: str
    """`stands`, `beside`, `failed` or `done`: how it is drawn, and said."""
    idle_ms: int
    """How long nothing had happened before it, where that is worth a word; else 0."""


class Node(NamedTuple):
    """A step in the picture."""

    x: int
    y: int
    row: Row


class Arrow(NamedTuple):
    """From what was seen to what was written."""

    path: str
    title: str


class Pause(NamedTuple):
    """Nothing happened here for so long."""

    y: int
    ms: int


class Picture(NamedTuple):
    """All of it, in units of the picture."""

    width: int
    height: int
    lanes: Sequence[tuple[int, str]]
    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    pauses: Sequence[Pause]


def rows_of(moments: Sequence[Moment]) -> list[Row]:
    """The steps of these moments, the newest first."""
    found: list[Row] = []
    before = 0
    for moment in moments:
        for number, step in enumerate(moment.steps):
            idle = step.logged_ms - before if before else 0
            found.append(
                Row(f"{step.offset}-{number}", moment, step, who(step), _mark(step), idle if idle >= IDLE_MS else 0)
            )
            before = step.logged_ms
    return found[::-1]


def picture_of(rows: Sequence[Row]) -> Picture:
    """The picture of these rows."""
    authors = {name: number for number, name in enumerate(dict.fromkeys(row.author for row in rows))}
    nodes = [Node(LEFT + authors[row.author] * LANE, ROW * number + ROW // 2, row) for number, row in enumerate(rows)]
    pauses = [Pause(node.y + ROW // 2, node.row.idle_ms) for node in nodes[:-1] if node.row.idle_ms]
    lanes = [(LEFT + number * LANE, name) for name, number in authors.items()]
    return Picture(LEFT + max(1, len(authors)) * LANE, ROW * len(rows) + 8, lanes, nodes, list(_arrows(nodes)), pauses)


def _mark(step: Step) -> str:
    if step.outcome not in ("accepted", "no_effect", "not_known"):
        return "waits" if step.outcome == "parked" else "failed"
    left = set(step.now.values())
    return STANDS if STANDS in left else BESIDE if BESIDE in left else "done"


def _arrows(nodes: Sequence[Node]) -> Iterable[Arrow]:
    """Of each other author, the last change that a writer had seen; not again what the same writer had seen before."""
    by_replica: dict[str, list[tuple[int, Node]]] = {}
    for node in reversed(nodes):
        last = max((change.seq for change in node.row.step.changes), default=0)
        by_replica.setdefault(node.row.step.replica, []).append((last, node))
    told: dict[str, dict[str, Node]] = {}
    for node in reversed(nodes):
        author = node.row.author
        for other, seen in _latest(node.row.step.saw, by_replica).items():
            if other != author and told.setdefault(author, {}).get(other) is not seen:
                told[author][other] = seen
                yield _arrow(seen, node)


def _latest(saw: Mapping[str, int], by_replica: Mapping[str, Sequence[tuple[int, Node]]]) -> dict[str, Node]:
    """Author -> the newest of their changes that was seen, of those in the picture."""
    found: dict[str, Node] = {}
    for replica in by_replica.keys() & saw.keys():
        seen = [node for seq, node in by_replica[replica] if seq <= saw[replica]]
        if seen and (seen[-1].row.author not in found or found[seen[-1].row.author].y > seen[-1].y):
            found[seen[-1].row.author] = seen[-1]
    return dict(sorted(found.items()))


def _arrow(start: Node, end: Node) -> Arrow:
    side = 13 if end.x > start.x else -13
    path = f"M{start.x} {start.y - 13}C{start.x} {end.y} {start.x} {end.y} {end.x - side} {end.y}"
    return Arrow(path, f"{end.row.author} had seen this change of {start.row.author}")
