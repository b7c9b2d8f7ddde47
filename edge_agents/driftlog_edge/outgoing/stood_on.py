"""Which waiting commands must go out under the dots that they have, because something that is sealed stands on them.

Of a document changes leave in the order of their dots, so as a rule nothing that waits is older than what is sealed. But what the cloud has put off waits
again, while what was sealed behind it may be in the log already: that is merged when the earlier dots have come, and would wait for ever for such as never do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from driftlog_edge.outgoing.entries import Entries
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import changed_keys, logged
from driftlog_edge.store.pending import Fate, marks_of


def stood_on(journal: Journal, entries: Entries, space: str, partition: int, documents: Iterable[bytes]) -> set[int]:
    """The lsns of those among the commands that wait on these documents, or on what these commands change besides."""
    waiting: dict[bytes, list[int]] = defaultdict(list)
    changes: dict[int, set[bytes]] = {}
    last: dict[bytes, int] = defaultdict(int)
    """Of a document the last command that goes out as it is."""
    todo = list(documents)
    met = set(todo)
    while todo:
        document = todo.pop()
        for mark in marks_of(journal, document):
            if mark.fate is not Fate.UNKNOWN:
                continue
            if entries.of_command(mark.lsn, space, partition) is None:
                last[document] = max(last[document], mark.lsn)
                continue
            waiting[document].append(mark.lsn)
            if mark.lsn not in changes:
                changes[mark.lsn] = changed_keys(logged(journal, mark.lsn).command)
                todo += changes[mark.lsn] - met
                met |= changes[mark.lsn]
    return _before(last, waiting, changes)


def _before(last: dict[bytes, int], waiting: dict[bytes, list[int]], changes: dict[int, set[bytes]]) -> set[int]:
    """All that comes before what goes out on the same document, and what comes before that in turn."""
    found: set[int] = set()
    todo = list(last)
    while todo:
        document = todo.pop()
        for lsn in waiting[document]:
            if lsn > last[document] or lsn in found:
                continue
            found.add(lsn)
            for other in changes[lsn]:
                if lsn > last[other]:
                    last[other] = lsn
                    todo.append(other)
    return found
