"""What a new life takes over from an old one of the same device: the same intents, under another name.

Most ops mean the same whoever writes them. Some name their writer in their values, and what they name is taken over too:

| value | names |
|---|---|
| an edit of a text or a list | the clocks of its writer's elements |
| an erase of a counter | how much its writer had counted up to it, what stays with the old life and what comes along |
| a write of a custom field | the writes of its own that its writer saw; of those nobody else will see nothing is named any more |

So the ops of a document are taken over in their order, and a `Takeover` remembers what has come along so far, and what was left behind: an edit
that stands beside nothing else than that is of no use without it.

Two copies of a folder may write under one name. Once a writer has read what the other copy wrote under a dot of its own, its view shows that, and hides
what itself wrote there: a name means the other's op then (see `Takeover.settled`). What it wrote comes along all the same, and an erase, which takes all
that its writer did before, takes that too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class Run(NamedTuple):
    """Elements in a row that the old life wrote into one body, and that come along."""

    since: int
    """The clock of the first of them under the old name."""
    at: int
    """The same under the new one."""
    length: int = 0


@dataclass(slots=True)
class Takeover:
    """Of one document, one field of it, or one key of a map."""

    old: str
    new: str
    seqs: dict[int, int] = field(default_factory=dict)
    """old seq -> new seq, of the whole document"""
    settled: int = 0
    """Up to this seq the old life's ops are named by their old names; a later one that does not come along nobody will ever see. It never falls
    from one op to the next."""
    seq: int = 0
    """Of the op that is taken over now, under its old name."""
    run: Run | None = None
    """The elements of this body that come along, and that an edit means which names the old life's; None where it means none of them."""
    brought: int = 0
    """How many elements of this body come along, whoever saw them."""
    sums: list[int] = field(default_factory=lambda: [0, 0])
    """What comes along of a counter: up, down."""
    seen_sums: list[int] = field(default_factory=lambda: [0, 0])
    """What of it the writer saw in its sums under the old name."""
    left: list[tuple[int, int]] = field(default_factory=list)
    """(clock, length) of elements in a row whose insert does not come along: it waits for a person."""
    parts: dict[str, Takeover] = field(default_factory=dict)
    _counts: deque[tuple[int, int, int]] = field(default_factory=deque)
    """(old seq, side, amount) of what is in `seen_sums`"""

    def part(self, name: str) -> Takeover:
        """Of a field, or of a key in a map."""
        found = self.parts.setdefault(name, Takeover(self.old, self.new, self.seqs))
        found.seq = self.seq
        if found.settled < self.settled:
            found._hide(self.settled)
        return found

    def has_left(self, clock: int, length: int = 1) -> bool:
        """Are all these elements among those that were left behind?"""
        found = sum(max(0, min(clock + length, start + count) - max(clock, start)) for start, count in self.left)
        return found == length

    def inserts(self, clock: int, length: int) -> None:
        """An edit of the old life inserts so many elements, the first at this clock.

        One that does not follow what came along before was made where another copy of the folder had written under those clocks: it
        means that copy's elements, which the old life's chain holds, and what comes along begins anew.
        """
        run = self.run
        if run is None or clock != run.since + run.length:
            run = Run(clock, self.brought)
        self.run = run._replace(length=run.length + length)
        self.brought += length

    def counts(self, side: int, amount: int) -> None:
        """An op of the old life counts so much, up (0) or down (1)."""
        self.sums[side] += amount
        self.seen_sums[side] += amount
        self._counts.append((self.seq, side, amount))

    def _hide(self, settled: int) -> None:
        """The writer has read what a copy wrote under its dots, up to this one: it saw none of its own there any more.

        Elements go by clocks. Once the copy's have moved them, a later insert of its own had no place in its view either.
        """
        self.settled = settled
        self.run = None
        while self._counts and self._counts[0][0] <= settled:
            _, side, amount = self._counts.popleft()
            self.seen_sums[side] -= amount
