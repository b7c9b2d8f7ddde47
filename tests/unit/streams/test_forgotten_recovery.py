"""A null in the changelog wins over what was there before the purge, and loses against what began after it, in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from driftlog_crdt import DocumentState, Op
from driftlog_schemas import groups
from driftlog_schemas.groups import GroupMark
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA
from driftlog_schemas.messages import ChainRow, Forgot
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.store_mark import StoreMark
from tests.unit.streams.cloud import Cloud, key, stock

KEY = key(stock())


class Kept:
    """`Changelogged` in memory."""

    def __init__(self) -> None:
        self.mark = StoreMark()
        self.states: dict[bytes, bytes | None] = {}
        self.passed = Passed()
        self.digests: dict[str, int | None] = {}
        self.rows: dict[str, bytes | None] = {}

    def get(self, name: bytes) -> bytes | None:
        return self.states.get(name)

    def row(self, replica: str) -> bytes | None:
        return self.rows.get(replica)

    def replicas(self) -> Iterable[str]:
        return [name for name, value in self.rows.items() if value is not None]

    def purged(self, name: bytes) -> int:
        return self.passed.gone.get(name, 0)

    def dispute(self, name: bytes) -> bytes | None:
        return next((key for key, names in self.passed.disputes.items() if name in names), None)

    def ended(self, name: bytes) -> bytes | None:
        return self.passed.ends.get(name)

    def disputes(self) -> Iterable[bytes]:
        return [name for names in self.passed.disputes.values() for name in names]

    def disputes_of(self, key: bytes) -> Iterable[bytes]:
        return self.passed.disputes.get(key, ())

    def digest(self, scope: str) -> int | None:
        return self.digests.get(scope, 0)

    def unknown_digests(self) -> list[str]:
        return [scope for scope, digest in self.digests.items() if digest is None]

    def documents(self) -> Iterable[tuple[bytes, bytes]]:
        return [(name, value) for name, value in self.states.items() if value is not None]

    def write(
        self,
        states: Iterable[tuple[bytes, bytes | None]],
        mark: StoreMark,
        rows: Iterable[tuple[str, bytes | None]] = (),
        passed: Passed | None = None,
        digests: Mapping[str, int | None] | None = None,
    ) -> None:
        self.states.update(states)
        self.digests.update(digests or {})
        self.rows.update(rows)
        self.mark = mark
        if passed is not None:
            self.passed.gone.update(passed.gone)
            self.passed.dead = passed.dead
            self.passed.disputes.update(passed.disputes)
            self.passed.ends = {**self.passed.ends, **passed.ends}


def state(cloud: Cloud, epoch: int, replica: str, *, deleted: bool = False) -> bytes:
    collection = cloud.rules.collections["Stock"]
    made: DocumentState = collection.type.new()
    collection.type.begin(made, epoch)
    collection.type.apply(made, Op(replica, 1, 1, "on_hand", "increment", 5))
    if deleted:
        collection.type.apply(made, Op(replica, 2, 2, "", "delete", None, {}))
    return collection.codec.encode(stock(), made)


def refused(cloud: Cloud, count: int = 0) -> bytes:
    """A state of so many accepted changes, and one that was refused."""
    collection = cloud.rules.collections["Stock"]
    made: DocumentState = collection.type.new()
    for seq in range(1, count + 1):
        collection.type.apply(made, Op("a.1", seq, 1, "on_hand", "increment", 5))
    collection.type.see(made, Op("a.1", count + 1, 1, "on_hand", "increment", 5))
    return collection.codec.encode(stock(), made)


def records(*found: tuple[bytes | None, int]) -> list[ChangelogRecord]:
    """Values with their group numbers; a null of group n was purged by record 50. A later group stands before them all."""
    result = [ChangelogRecord(b"Stock/s1/other", None, 0, groups.headers(100, last=True))]
    for offset, (value, number) in enumerate(found, 1):
        marks = groups.headers(number, last=True)
        result.append(ChangelogRecord(KEY, value, offset, marks if value else [*marks, groups.purged(50)]))
    return result


@pytest.mark.parametrize("restarts", [False, True])
def test_the_two_words_of_a_purge_in_any_order(cloud: Cloud, restarts: bool) -> None:
    old, new = state(cloud, 0, "a.1", deleted=True), state(cloud, 50, "b.1")
    gone_again = state(cloud, 50, "b.1", deleted=True)
    for words, last, stale in (
        ([(old, 40), (None, 60)], None, False),
        ([(None, 60), (old, 40)], None, True),
        ([(None, 60), (new, 70)], new, False),
        ([(new, 70), (None, 60)], new, True),
        ([(gone_again, 70), (None, 60)], gone_again, True),
        ([(new, 70), (old, 40), (None, 60)], new, True),
        ([(None, 60), (old, 40), (new, 70)], new, False),
    ):
        store, recovered, restoration = Kept(), Recovered(), Restoration(cloud.rules)
        found = records(*words)
        if restarts:
            for record in found:
                restoration.take(store, recovered, [record])
        else:
            restoration.take(store, recovered, found)
        assert store.states[KEY] == last, words
        assert (KEY in recovered.stale) is stale, words


@pytest.mark.parametrize("had", [79, 80])
@pytest.mark.parametrize("number", [40, 60])
def test_a_state_from_below_a_floor_that_a_store_was_beyond_is_over(cloud: Cloud, had: int, number: int) -> None:
    """The store of a life before has nothing of it, and remembers no purge; all below the floor had been in it when record 80 said the floor."""
    store = Kept()
    row = ChainRow(CLOUD, CLOUD_REPLICA, "retail", 0, 1, bytes(16), 1, (), offset=80, forgot=(Forgot(80, 60, 50),))
    store.rows = {CLOUD_REPLICA: cloud.rules.records.encode_chain_row(row)}
    late, found = state(cloud, 0, "a.1"), Recovered(had=had)
    Restoration(cloud.rules).take(store, found, records((late, number)))
    over = had == 80 and number == 40
    assert store.states[KEY] == (None if over else late)
    assert (KEY in found.stale) is over
    assert store.passed.gone.get(KEY, 0) == (50 if over else 0)


def test_what_is_deleted_is_listed_by_a_number_that_is_not_below_its_last_change(cloud: Cloud) -> None:
    store = Kept()
    Restoration(cloud.rules).take(store, Recovered(), records((state(cloud, 0, "a.1", deleted=True), 40)))
    assert store.passed.dead == {KEY: 100}
    for written, listed in ((refused(cloud), {KEY: 100}), (refused(cloud, count=1), {})):
        store = Kept()
        Restoration(cloud.rules).take(store, Recovered(), records((written, 40)))
        assert store.passed.dead == listed
    Restoration(cloud.rules).take(
        store, Recovered(), [ChangelogRecord(KEY, state(cloud, 0, "a.1"), 9, groups.headers(120, last=True))]
    )
    assert store.passed.dead == {}


def test_the_mark_of_a_purge_survives_strange_headers() -> None:
    marks = [*groups.headers(7, last=True), groups.purged(5)]
    assert groups.parse(marks) == GroupMark(7, True, 5)
    assert groups.parse([("driftlog.purged", b"x")]) == groups.FOREIGN
