"""A recorded editing session, played through documents: every author is a replica with a view of its own.

A transaction names its author and its parents. Before an author writes, its view learns, op by op, whatever the parents'
history holds and the view lacks; then each patch is prepared on that view and applied to it. So every op is made by
somebody who saw just what the recorded person saw, and the positions in the recording mean what they meant then.

The recording has one tie: somebody types behind a character that the other deletes and replaces at the same moment. Yrs puts
both texts behind the deleted one and lets the smaller client id go first. As recorded, author 0 goes first, so by default the
authors' names are such that their client ids ascend.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftlog_crdt import DocumentState, DocumentType, Field, Op, Outcome, Text

TRACES = Path(__file__).resolve().parents[2] / "data" / "editing-traces"
NOTE = DocumentType("Note", {"body": Field(Text())}, max_bytes=100_000_000)


IN_ORDER = ("ann", "ben")
"""Names of authors 0 and 1 whose client ids ascend."""


@dataclass(frozen=True)
class Transaction:
    author: str
    parents: list[int]
    patches: list[tuple[int, int, str]]


@dataclass(frozen=True)
class Trace:
    transactions: list[Transaction]
    end: str

    @property
    def authors(self) -> list[str]:
        return sorted({t.author for t in self.transactions})


def read_trace(name: str, authors: tuple[str, ...] = IN_ORDER) -> Trace:
    recorded: dict[str, Any] = json.loads(gzip.decompress((TRACES / f"{name}.json.gz").read_bytes()))
    assert recorded.get("startContent", "") == ""
    transactions = [
        Transaction(
            authors[t.get("agent", 0)],
            t.get("parents", [number - 1] if number else []),
            [(at, gone, new) for at, gone, new, *_ in t["patches"]],
        )
        for number, t in enumerate(recorded["txns"])
    ]
    return Trace(transactions, recorded["endContent"])


class Session:
    """The replay of a trace: the ops of each transaction so far, and each author's view."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ops: list[list[Op]] = []
        self.views: dict[str, DocumentState] = {author: NOTE.new() for author in trace.authors}
        self._known: dict[str, set[int]] = {author: set() for author in trace.authors}

    def play(self, count: int | None = None) -> None:
        """The next `count` transactions, or all that are left."""
        first = len(self.ops)
        for transaction in self.trace.transactions[first : None if count is None else first + count]:
            self._play(transaction)

    def catch_up(self) -> None:
        """Every author learns everything."""
        for author in self.views:
            self._learn(author, list(range(len(self.ops))))

    def _play(self, transaction: Transaction) -> None:
        author, view = transaction.author, self.views[transaction.author]
        self._learn(author, transaction.parents)
        made: list[Op] = []
        for position, gone, new in transaction.patches:
            if gone:
                made.append(self._write(view, author, "delete", [position, gone]))
            if new:
                made.append(self._write(view, author, "insert", [position, new]))
        self._known[author].add(len(self.ops))
        self.ops.append(made)

    def _write(self, view: DocumentState, author: str, kind: str, value: Any) -> Op:
        op = NOTE.prepare(view, author, 0, "body", kind, value)
        assert NOTE.apply(view, op).outcome is Outcome.APPLIED
        return op

    def _learn(self, author: str, tips: list[int]) -> None:
        """Merge into the author's view the transactions at `tips` and all before them that it lacks."""
        known, missing = self._known[author], []
        front = [tip for tip in tips if tip not in known]
        while front:
            number = front.pop()
            if number not in known:
                known.add(number)
                missing.append(number)
                front += [p for p in self.trace.transactions[number].parents if p not in known]
        for number in sorted(missing):
            for op in self.ops[number]:
                NOTE.check(op)
                assert NOTE.apply(self.views[author], op).outcome is Outcome.APPLIED
