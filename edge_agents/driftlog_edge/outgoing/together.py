"""In which classes commands wait that come into the queue together, and of which some were waiting in it, or were sealed, before.

Each has a class by what is declared. Order within a document must hold: what comes earlier is in a class that is at least as urgent as what comes
later, so an urgent one takes the earlier ones of its documents along, and theirs in turn. Classes that wait for a rhythm may come to their moments in any
order, so of those that hang together all are in the most urgent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from driftlog_edge.store import keys
from driftlog_edge.store.logged import changed_keys
from driftlog_schemas.messages import Command


def classes_of(commands: Mapping[int, Command], declared: Callable[[Command], int]) -> dict[int, int]:
    """lsn -> class of these commands (by lsn); nothing else that waits changes their documents."""
    documents = {lsn: changed_keys(command) for lsn, command in commands.items()}
    classes: dict[int, int] = {}
    wanted: dict[bytes, int] = {}
    """The most urgent class of what comes later on a document."""
    for lsn in sorted(commands, reverse=True):
        own = declared(commands[lsn])
        classes[lsn] = min((own, *(wanted[key] for key in documents[lsn] if key in wanted)))
        wanted.update(dict.fromkeys(documents[lsn], classes[lsn]))
    return classes | _waiting_together(classes, documents)


def _waiting_together(classes: Mapping[int, int], documents: Mapping[int, set[bytes]]) -> dict[int, int]:
    """The same of what waits for a rhythm or a network."""
    by_document: dict[bytes, list[int]] = {}
    left = {lsn for lsn, urgency in classes.items() if urgency >= keys.WAITING}
    for lsn in left:
        for key in documents[lsn]:
            by_document.setdefault(key, []).append(lsn)
    found: dict[int, int] = {}
    while left:
        todo, group = [left.pop()], set[int]()
        while todo:
            lsn = todo.pop()
            group.add(lsn)
            near = {other for key in documents[lsn] for other in by_document.pop(key, ())} & left
            left -= near
            todo += near
        found.update(dict.fromkeys(group, min(classes[lsn] for lsn in group)))
    return found
