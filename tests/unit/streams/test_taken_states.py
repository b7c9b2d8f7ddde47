"""Records that bear the same are taken together: it comes to what they come to one by one, however the topic is cut into blocks."""

from __future__ import annotations

from dataclasses import asdict
from random import Random
from typing import Any

import pytest

from driftlog_crdt import DocumentState, Op
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.taken_states import TakenStates
from tests.unit.streams.cloud import Cloud
from tests.unit.streams.test_forgotten_recovery import Kept

DOCUMENTS = [DocumentId("Stock", scope, sku) for scope in ("s1", "s2", "ü/%") for sku in ("tea", "oat", "mate", "käse")]
OPS_END = 60


@pytest.fixture(scope="module")
def values() -> list[bytes]:
    """Of each document a state, a later one, another writer's, and one by which it is deleted."""
    cloud = Cloud()
    return [_state(cloud, document, kind) for document in DOCUMENTS for kind in range(4)]


def _state(cloud: Cloud, document: DocumentId, kind: int) -> bytes:
    collection = cloud.rules.collections["Stock"]
    made: DocumentState = collection.type.new()
    replica = "b.1" if kind == 2 else "a.1"
    for seq in range(1, 2 + kind % 2):
        collection.type.apply(made, Op(replica, seq, seq, "on_hand", "increment", 5))
    if kind == 3:
        collection.type.apply(made, Op(replica, 3, 3, "", "delete", None, {}))
    return collection.codec.encode(document, made)


def topic(random: Random, values: list[bytes]) -> list[ChangelogRecord]:
    """Groups of a life, torn ones among them, and what others wrote: late numbers, purges, deadlines, conflicts, forged numbers, noise."""
    records: list[ChangelogRecord] = []
    number = 0
    while len(records) < 60:
        number = number + random.randint(0, 3) if random.random() < 0.85 else random.randint(0, OPS_END + 3)
        size, torn = random.randint(1, 8), random.random() < 0.2
        for place in range(size):
            at = random.randrange(len(DOCUMENTS))
            headers = groups.headers(number, last=place == size - 1 and not torn)
            value: bytes | None = values[4 * at + random.choice((0, 0, 1, 1, 2, 3))]
            odd = random.random()
            if odd < 0.05:
                value, headers = None, [*headers, groups.purged(random.randint(1, 40))]
            elif odd < 0.1:
                headers = [*headers, groups.due(random.randint(1, 9))]
            elif odd < 0.15:
                headers = [*headers, groups.disputed(), groups.owed()]
            elif odd < 0.18:
                headers = []
            elif odd < 0.2:
                value = b"noise"
            records.append(ChangelogRecord(document_key(DOCUMENTS[at]), value, 2 * len(records) + 5, headers))
    return records


def taken(records: list[ChangelogRecord], blocks: list[int], *, anew: bool) -> list[Any]:
    """What is in the store, what it is to be answered, and how far it is read, when all is read in blocks that end there."""
    cloud, store, recovered = Cloud(), Kept(), Recovered(ops_end=OPS_END, anew=anew)
    restoration, begin = Restoration(cloud.rules), 0
    dead: dict[bytes, int] = {}
    for end in blocks:
        restoration.take(store, recovered, records[begin:end])
        dead = {key: at for key, at in dead.items() if key not in {record.key for record in records[begin:end]}}
        dead |= store.passed.dead
        begin = end
    open_group = recovered.tail
    told = {name: value for name, value in asdict(recovered).items() if name != "tail"}
    tail = (open_group.start if open_group.open else None, open_group.number, [*open_group.keys])
    return [store.states, store.passed.gone, store.digests, store.mark, dead, told, tail]


@pytest.mark.parametrize("seed", range(40))
def test_together_and_one_by_one_come_to_the_same(
    values: list[bytes], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    records, anew = topic(random, values), seed % 8 == 7
    cuts = sorted(random.sample(range(1, len(records)), 4))
    together = taken(records, [len(records)], anew=anew)
    in_blocks = taken(records, [*cuts, len(records)], anew=anew)
    monkeypatch.setattr(TakenStates, "_plain", lambda self, mark: False)
    one_by_one = taken(records, [len(records)], anew=anew)
    assert together == one_by_one
    assert in_blocks == taken(records, [*cuts, len(records)], anew=anew)


def test_a_run_is_not_taken_record_by_record(values: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    singly: list[ChangelogRecord] = []
    monkeypatch.setattr(TakenStates, "_take_one", lambda self, record, mark: singly.append(record))
    inner, last = groups.headers(7, last=False), groups.headers(7, last=True)
    run = [ChangelogRecord(document_key(one), values[0], at, inner) for at, one in enumerate(DOCUMENTS)]
    end = ChangelogRecord(document_key(DOCUMENTS[0]), values[1], len(run), last)
    store, recovered = Kept(), Recovered(ops_end=OPS_END)
    Restoration(Cloud().rules).take(store, recovered, [*run, end])
    assert singly == [end]
    assert [*store.states] == [document_key(one) for one in DOCUMENTS]
    assert recovered.records == len(run)
    assert recovered.tail.unended, "the record that ends it was left out"


def test_what_was_read_before_is_left_out(values: list[bytes]) -> None:
    inner = groups.headers(7, last=False)
    run = [ChangelogRecord(document_key(one), values[0], at, inner) for at, one in enumerate(DOCUMENTS)]
    store, recovered = Kept(), Recovered(ops_end=OPS_END)
    restoration = Restoration(Cloud().rules)
    restoration.take(store, recovered, run[:5])
    restoration.take(store, recovered, run[:3])
    assert recovered.read.states == 4
    restoration.take(store, recovered, run[2:])
    assert recovered.records == len(run)
    assert recovered.read.states == len(run) - 1
