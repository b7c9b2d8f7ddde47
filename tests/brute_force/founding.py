"""The same histories of a text or list where the cloud founds the body anew between two ops.

After some op a replica writes no more, and all who still write have seen all that it wrote: it is folded, and the body founded anew. Of
those who still write each has read that before it wrote, or has not. Who has sees new names, and writes the same intent on them; who has not
writes what it wrote anyway, and the cloud finds its place by the old order. Every such reading that causality allows is played: who read it
reads it ever after, and nobody sees an op of a reader before it has read.

Where positions among concurrent runs come out otherwise, so do the edits that are made of them; therefore each is judged by its own elements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any
from unittest.mock import patch

from driftlog_crdt import DocumentState, Op, sequence
from tests.brute_force.play import Impossible, Played
from tests.brute_force.shapes import REPLICAS
from tests.properties.histories import unfounded
from tests.reference_model.history import Event

BODIES = {"text", "list"}


def founded_anew(played: Played) -> Iterator[tuple[Played, DocumentState]]:
    """Every way: what was written then, and the cloud's state in the end."""
    if not BODIES & played.document.fields.keys():
        return
    for at in played.all[1:]:
        over = _over(played, at)
        for readers in _readings(played, at) if over else ():
            try:
                with patch.object(sequence, "pays", lambda over, going_on: over > 0):
                    anew = _Anew(played, at, over, readers)
            except Impossible:
                continue
            yield anew.played, anew.cloud


def _over(played: Played, at: int) -> dict[str, str]:
    """Who may be folded when so many ops are merged, each with an heir."""
    later = played.all[at:]
    here = {played.ops[i].replica for i in later}
    found = {}
    for number, replica in enumerate(REPLICAS):
        count = sum(op.replica == replica for op in played.ops[:at])
        if count and replica not in here and all(played.cuts[i][number] == count for i in later):
            found[replica] = min(here)
    return found


def _readings(played: Played, at: int) -> Iterator[frozenset[int]]:
    """Which of the later ops were written by somebody who had read that the body was founded anew."""
    before = {op.replica: op.seq for op in played.ops[:at]}
    able = [i for i in played.all[at:] if _has_read(played, i, before)]
    for count in range(len(able) + 1):
        for some in combinations(able, count):
            if all(i in some or not _after(played, i, some) for i in played.all[at:]):
                yield frozenset(some)


def _has_read(played: Played, number: int, before: dict[str, int]) -> bool:
    """Had its writer seen all that was merged, and heard the outcome of its own? It reads both before it reads what was founded on them."""
    op, cut = played.ops[number], played.cuts[number]
    heard = op.seq - 1 - op.unsure
    return heard >= before.get(op.replica, 0) and all(cut[REPLICAS.index(r)] >= seq for r, seq in before.items())


def _after(played: Played, number: int, readers: Collection[int]) -> bool:
    """Was this written by somebody who had seen, or written himself, what one of these wrote?"""
    return any(played.events[reader].dot in played.events[number].past for reader in readers)


class _Anew:
    """A history played again, with the body founded anew after `at` ops."""

    def __init__(self, played: Played, at: int, over: dict[str, str], readers: frozenset[int]) -> None:
        document = played.document
        self._at, self._over = at, over
        self.played = Played(document, played.ops[:at], played.events[:at], played.cuts)
        self.played.edits = {e.dot: played.edits[e.dot] for e in played.events[:at] if e.dot in played.edits}
        self.cloud = played.fold(range(at))
        before = document.encode(self.cloud)
        assert document.fold(self.cloud, over)
        document.prune(self.cloud, {})
        document.found(self.cloud, at, 0)
        self._takes_in(before)
        self._founded = document.encode(self.cloud)
        for number in played.all[at:]:
            if readers.issuperset(played.all[number:]):
                self._let_go()
            kept = document.encode(self.cloud)
            self._write(played, number, reading=number in readers)
            self._takes_in(kept)

    def _write(self, played: Played, number: int, *, reading: bool) -> None:
        document, op, event = played.document, played.ops[number], played.events[number]
        name, (_, intent) = event.field, played.changes[number]
        view = self._view(played, number, reading=reading)
        body = document.field_value(view, name) if name else None
        if reading:
            intended = intent(body, number)
            if intended is None:
                raise Impossible
            op = document.prepare(view, op.replica, op.hlc, name, *intended, op.unsure)
            event = replace(event, value=intended[1])
        # what was refused may stand here without effect, where a delete has come between that its writer had not seen
        assert event.refused or unfounded(document, self.cloud, op) is None, event
        self._take(self.cloud, op, event, believed=False)
        self.played.ops.append(op)
        self.played.events.append(event)
        if name:
            self._take(view, op, event, believed=True)
            shown: Any = document.field_value(view, name)
            place, what = event.value
            taken: Any = body[place : place + what] if event.kind == "delete" else what  # type: ignore[index]  # a body
            self.played.edits[event.dot] = list(taken)
            self.played.views.append(list(shown))

    def _view(self, played: Played, number: int, *, reading: bool) -> DocumentState:
        """What the writer of an op sees: who reads, what was founded anew, with the later ops that it has seen."""
        op = played.ops[number]
        told = op.seq - 1 - op.unsure
        known = [i for i in played.within(played.cuts[number]) if i != number]
        if not reading:
            return played.fold(known, op.replica, told)
        state = played.document.decode(self._founded)
        for i in known:
            if i >= self._at:
                other, event = self.played.ops[i], self.played.events[i]
                self._take(state, other, event, believed=other.replica == op.replica and other.seq > told)
        return state

    def _take(self, state: DocumentState, op: Op, event: Event, *, believed: bool) -> None:
        if event.refused and not believed:
            self.played.document.see(state, op)
        else:
            self.played.document.apply(state, op, self._over)

    def _let_go(self) -> None:
        """Nobody names the old elements any more."""
        for name, field in self.cloud.fields.items():
            self.played.document.merge_type(name).let_go(field, self._at)

    def _takes_in(self, before: bytes) -> None:
        """A state that is later in the log has all that an earlier one has, and stays the same when it is stored."""
        document = self.played.document
        now, earlier = document.encode(self.cloud), document.decode(before)
        assert document.encode(document.decode(now)) == now
        assert document.encode(document.join(earlier, self.cloud)) == now
        assert document.encode(document.join(self.cloud, earlier)) == now
