"""When a worker's commits get through decides nothing: a row forgets earlier or later by them, and what the log comes to is the same.

A log here is written by two devices and by the workers' own, and holds what it may hold beside good batches: copies that come late, other batches
of numbers that are taken (a copied folder, a frozen worker), ends of lives, and settlements. A replay commits in another rhythm than those who merged.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.identity import CLOUD_REPLICA
from driftlog_schemas.messages import Due
from tests.unit.streams.cloud import NOW_MS, Cloud, change, command, count, stock

REPLICAS = ("store-1.1", "store-1.2", "store-2.1")
LATER_MS = 1 << 46
LOG = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "name", "empty", "late copy", "fork", "end", "settle", "frozen"]),
        st.sampled_from(REPLICAS),
        st.integers(0, 7),
    ),
    min_size=4,
    max_size=25,
)


class Writing:
    """The log of a history, written beside a cloud that merges it."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.log: list[tuple[bytes, int]] = []
        self._seqs = dict.fromkeys(REPLICAS, 0)
        self._dues: list[Due] = []

    def write(self, kind: str, replica: str, pick: int) -> None:
        cloud, ms = self.cloud, NOW_MS
        last = cloud.numbers.get(replica, 0)
        if kind in ("change", "name"):
            seq = self._seqs[replica] = self._seqs[replica] + 1
            op = count(stock(), 1, seq, replica)
            if kind == "name":
                op = change(stock(), "price", "set", len(self.log), seq, replica=replica, ms=NOW_MS + len(self.log))
            value = self._batch(replica, command(f"{replica}-{seq}", op))
        elif kind == "empty":
            value = self._batch(replica)
        elif kind == "late copy" and self.log:
            value, ms = self.log[pick % len(self.log)][0], LATER_MS
        elif kind == "fork" and last:
            heads = dict(cloud.heads)
            ended = replica if replica == REPLICAS[2] else REPLICAS[pick % 2]
            value = cloud.batch(replica=replica, number=max(1, last - pick), ends=(ended,))
            cloud.heads = heads
        elif kind == "end" and replica != REPLICAS[0] and replica.startswith("store-1"):
            value = self._batch(replica, ends=(REPLICAS[0],))
        elif kind in ("settle", "frozen"):
            cloud.fly()
            self._dues = [*cloud.overdue()] or self._dues
            if not self._dues:
                return
            value, ms = self._settlement(frozen=kind == "frozen"), LATER_MS if pick > 3 else NOW_MS
        else:
            return
        self.log.append((value, ms))
        cloud.merge_value(value, append_ms=ms)
        cloud.fly()

    def _batch(self, replica: str, *commands: object, ends: tuple[str, ...] = ()) -> bytes:
        return self.cloud.batch(*commands, replica=replica, floor=1 << 30, ends=ends)  # type: ignore[arg-type]

    def _settlement(self, *, frozen: bool) -> bytes:
        """A frozen worker's has the number of one that has come since."""
        cloud, last = self.cloud, self.cloud.numbers.get(CLOUD_REPLICA, 0)
        heads = dict(cloud.heads)
        if frozen and last > 1:
            cloud.numbers[CLOUD_REPLICA] = last - 2
        value = cloud.due(*self._dues)
        if frozen and last > 1:
            cloud.numbers[CLOUD_REPLICA], cloud.heads = last, heads
        return value


@given(steps=LOG, seed=st.integers(0, 1 << 16))
def test_when_commits_get_through_decides_nothing(steps: list[tuple[str, str, int]], seed: int) -> None:
    writing, chance = Writing(), Random(seed)
    for step in steps:
        writing.write(*step)
    again = Cloud()
    again.identities, again.devices = writing.cloud.identities, writing.cloud.devices
    for value, ms in writing.log:
        again.merge_value(value, append_ms=ms)
        if chance.random() < 0.2:
            again.fly()
    again.fly()
    assert again.store == writing.cloud.store
    assert {name: _ended(again, name) for name in again.rows} == {
        name: _ended(writing.cloud, name) for name in again.rows
    }
    assert again.parked().keys() == writing.cloud.parked().keys()


def _ended(cloud: Cloud, replica: str) -> tuple[int, str, int]:
    row = cloud.row(replica)
    return row.last, row.ended, row.ended_at
