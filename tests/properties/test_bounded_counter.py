"""A bounded counter keeps its bound and loses no right, whatever up to eight replicas do apart from one another."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from driftlog_crdt import BadOperation, BoundedCounter, DocumentState, DocumentType, Field, Op

REPLICAS = "abcdefgh"
BOUNDS = [(-3, 12), (-3, None), (None, 12)]
INITIAL = 4

replicas = st.sampled_from(REPLICAS)
amounts = st.integers(0, 9)


class Escrow(RuleBasedStateMachine):
    """Replicas write on their own views; a partition decides whose ops reach whom."""

    @initialize(count=st.integers(2, 8), holder=st.sampled_from("ab"), bounds=st.sampled_from(BOUNDS))
    def start(self, count: int, holder: str, bounds: tuple[int | None, int | None]) -> None:
        self.lower, self.upper = bounds
        self.counter = BoundedCounter(*bounds, INITIAL, holder)
        self.document = DocumentType("Seats", {"free": Field(self.counter)})
        self.names = REPLICAS[:count]
        self.views = {name: self.document.new() for name in self.names}
        self.everything = self.document.new()
        self.log: list[Op] = []
        self.side = dict.fromkeys(self.names, 0)
        self.total = INITIAL

    @rule(side=st.lists(st.integers(0, 2), min_size=8, max_size=8))
    def partition(self, side: list[int]) -> None:
        self.side = dict(zip(self.names, side, strict=False))

    @rule(name=replicas, other=replicas)
    def learn(self, name: str, other: str) -> None:
        if name in self.views and other in self.views and self.side[name] == self.side[other]:
            self.views[name] = self.document.join(self.views[name], self.views[other])

    @rule(name=replicas, other=replicas, count=st.integers(1, 3))
    def hear(self, name: str, other: str, count: int) -> None:
        """Some of what the other has seen arrives as ops, the oldest first."""
        if name in self.views and other in self.views and self.side[name] == self.side[other]:
            view, seen = self.views[name], self.views[other].vector
            news = [op for op in self.log if view.vector.get(op.replica, 0) < op.seq <= seen.get(op.replica, 0)]
            for op in news[:count]:
                self.document.apply(view, op)

    @rule(name=replicas)
    def restart(self, name: str) -> None:
        if name in self.views:
            self.views[name] = self.document.decode(self.document.encode(self.views[name]))

    @rule(name=replicas, kind=st.sampled_from(["increment", "decrement"]), amount=amounts)
    def count(self, name: str, kind: str, amount: int) -> None:
        if self._write(name, kind, amount):
            self.total += amount if kind == "increment" else -amount

    @rule(name=replicas, other=replicas, kind=st.sampled_from(["transfer", "transfer_room"]), amount=amounts)
    def transfer(self, name: str, other: str, kind: str, amount: int) -> None:
        if other in self.views:
            self._write(name, kind, [other, amount])

    def _write(self, name: str, kind: str, value: Any) -> bool:
        if name not in self.views:
            return False
        view = self.views[name]
        before = self.document.encode(view)
        goes_down = kind in ("decrement", "transfer")
        left = (self.counter.rights if goes_down else self.counter.room)(_rows(view), name)
        amount = value[1] if isinstance(value, list) else value
        try:
            op = self.document.prepare(view, name, 0, "free", kind, value)
        except BadOperation as refusal:
            if left is None:
                assert "no bound on that side" in refusal.reason
                return False
            assert amount > left
            assert f"may {'take' if goes_down else 'add'} {left} more" in refusal.reason
            assert self.document.encode(view) == before
            return False
        assert left is None or amount <= left
        self.document.permit(self.everything, op)  # an honest op is permitted wherever it arrives
        self.document.apply(view, op)
        self.document.apply(self.everything, op)
        self.log.append(op)
        return True

    @invariant()
    def the_bound_holds_in_every_view(self) -> None:
        for state in (*self.views.values(), self.everything):
            value = self.document.values(state)["free"]
            assert self.lower is None or self.lower <= value
            assert self.upper is None or value <= self.upper
        assert self.document.values(self.everything)["free"] == self.total

    @invariant()
    def no_right_is_lost_or_made(self) -> None:
        for state in (*self.views.values(), self.everything):
            rows, value = _rows(state), self.document.values(state)["free"]
            rights = [self.counter.rights(rows, name) for name in self.names]
            room = [self.counter.room(rows, name) for name in self.names]
            if self.lower is None:
                assert set(rights) == {None}
            else:
                assert sum(rights) == value - self.lower
                assert state is not self.everything or min(rights) >= 0
            if self.upper is None:
                assert set(room) == {None}
            else:
                assert sum(room) == self.upper - value
                assert state is not self.everything or min(room) >= 0

    def teardown(self) -> None:
        for seed in range(2):
            state = self.document.new()
            waiting = list(self.log)
            Random(seed).shuffle(waiting)
            while waiting:
                waiting = [op for op in waiting if self.document.apply(state, op).outcome.value == "gap"]
            assert self.document.encode(state) == self.document.encode(self.everything)
        joined = self.document.new()
        for view in self.views.values():
            joined = self.document.join(joined, view)
        assert self.document.encode(joined) == self.document.encode(self.everything)
        for kind, bound in (("decrement", self.lower), ("increment", self.upper)):
            if bound is not None:
                self._spend_everything(kind, bound)

    def _spend_everything(self, kind: str, bound: int) -> None:
        """The partition has healed: whatever is left up to the bound is somebody's to use."""
        state = self.document.copy(self.everything)
        rows = _rows(self.everything)
        for name in self.names:
            left = self.counter.rights(rows, name) if kind == "decrement" else self.counter.room(rows, name)
            assert left is not None
            self.document.apply(state, self.document.prepare(state, name, 0, "free", kind, left))
        assert self.document.values(state)["free"] == bound
        for name in self.names:
            with pytest.raises(BadOperation, match=r"may (take|add) 0 more"):
                self.document.prepare(state, name, 0, "free", kind, 1)


def _rows(state: DocumentState) -> Any:
    return state.fields.get("free", {})


TestEscrow = Escrow.TestCase
TestEscrow.settings = settings(stateful_step_count=40)


@given(amount=st.integers(1, 20))
def test_one_bound_leaves_the_other_side_free(amount: int) -> None:
    only_lower, only_upper = BoundedCounter(lower=0), BoundedCounter(lower=None, upper=10)
    assert only_lower.room({}, "a") is None
    assert only_upper.rights({}, "a") is None
    assert (only_lower.rights({}, "a"), only_upper.room({}, "a")) == (0, 0)
    only_lower.permit({}, Op("a", 1, 0, "n", "increment", amount))
    only_upper.permit({}, Op("a", 1, 0, "n", "decrement", amount))
    for counter, kind in ((only_lower, "decrement"), (only_upper, "increment")):
        with pytest.raises(BadOperation, match=r"may .* 0 more"):
            counter.permit({}, Op("a", 1, 0, "n", kind, amount))
    for counter, kind in ((only_lower, "transfer_room"), (only_upper, "transfer")):
        with pytest.raises(BadOperation, match="no bound on that side"):
            counter.check(Op("a", 1, 0, "n", kind, ["b", amount]))
    assert (only_lower.value({}), only_upper.value({})) == (0, 10)


@pytest.mark.parametrize(
    ("bounds", "complaint"),
    [
        ((None, None), "needs a lower or an upper bound"),
        ((0, 5, 6), "above the upper bound"),
        ((0, 5, -1), "below the lower bound"),
        ((0, 5), "name the device that holds them"),
        ((0, None, 3), "name the device that holds them"),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(bounds: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BoundedCounter(*bounds)


def test_a_bounded_counter_cannot_stand_where_updates_survive_deletes() -> None:
    with pytest.raises(ValueError, match=r"Seats\.free: a bounded_counter cannot stand in an update-wins document"):
        DocumentType("Seats", {"free": Field(BoundedCounter())}, "update-wins")
