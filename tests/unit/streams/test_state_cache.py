"""What is not stored yet is never forgotten."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

import pytest

from driftlog import AddWinsSet, App, Counter, Document, Register
from driftlog_crdt import DocumentState, Plain
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import BYTES_PER_BYTE, ENTRY_BYTES, CacheRoom, StateCache
from tests.few import few
from tests.unit.streams.cloud import NOW_MS, SPACE, key, stock

RULES = SpaceRules(SPACE, FixedIds())
STOCK = RULES.collections["Stock"]

FACTOR = 1.6
"""How far the estimate of what a document takes may be off, either way."""
COUNTED = 100

app = App("sizes")
sizes = app.space("sizes", partitions=1)


@sizes.collection(scope="place", id="item")
class Item(Document):
    place: str
    item: str
    hits: Counter
    tags: AddWinsSet[str]
    label: Register[str] = ""
    a: Register[str] = ""
    b: Register[str] = ""
    c: Register[str] = ""
    d: Register[str] = ""
    e: Register[str] = ""
    f: Register[str] = ""


ITEM = SpaceRules(app.contract.spaces["sizes"], FixedIds()).collections["Item"]
WRITES: dict[str, tuple[str, Plain]] = {"hits": ("increment", 7), "tags": ("add", "red")}


class Disk:
    def __init__(self) -> None:
        self.reads: list[bytes] = []

    def __call__(self, key: bytes) -> bytes | None:
        self.reads.append(key)
        return None


def room(documents: int) -> CacheRoom:
    """Room for a young and an old generation of so many empty documents."""
    return CacheRoom(2 * documents * ENTRY_BYTES)


def fill(cache: StateCache, count: int) -> None:
    for n in range(count):
        cache.get(stock(f"filler-{n}"), STOCK)
        cache.make_room()


def test_a_document_in_flight_survives_any_pressure() -> None:
    disk = Disk()
    cache = StateCache(disk, room(5))
    pinned = cache.get(stock(), STOCK)
    pinned.flights = 1
    fill(cache, 100)
    assert cache.get(stock(), STOCK) is pinned
    pinned.landed()
    fill(cache, 100)
    assert cache.get(stock(), STOCK) is not pinned


def test_it_is_bounded() -> None:
    cache = StateCache(Disk(), room(5))
    fill(cache, 1000)
    assert len(cache) <= 12


def test_many_pinned_documents_do_not_turn_it_on_every_access() -> None:
    disk = Disk()
    cache = StateCache(disk, room(5))
    for n in range(200):
        cache.get(stock(f"p{n}"), STOCK).flights = 1
    turns = 0
    turn = cache.turn

    def counting() -> None:
        nonlocal turns
        turns += 1
        turn()

    cache.turn = counting  # type: ignore[method-assign]
    fill(cache, 100)
    assert turns <= 100 // 5 + 1


def test_what_is_used_stays_read() -> None:
    disk = Disk()
    cache = StateCache(disk, room(10))
    for n in range(100):
        cache.get(stock("hot"), STOCK)
        cache.get(stock(f"cold-{n}"), STOCK)
        cache.make_room()
    assert disk.reads.count(key(stock("hot"))) == 1


def test_large_documents_leave_room_for_fewer() -> None:
    cache = StateCache(Disk(), room(100))
    for n in range(100):
        entry = cache.get(stock(f"large-{n}"), STOCK)
        entry.size = 10 * ENTRY_BYTES // BYTES_PER_BYTE
        entry.recount()
        cache.make_room()
    assert len(cache) <= 2 * 100 // 10


def test_all_partitions_share_one_room() -> None:
    shared = room(50)
    caches = [StateCache(Disk(), shared) for _ in range(20)]
    for cache in caches:
        fill(cache, 50)
    assert sum(map(len, caches)) <= 2 * 51


def test_a_document_that_was_looked_up_is_the_same_until_the_record_is_merged() -> None:
    """A command of many documents in a small room: a second entry of one of them would lose what is merged into the first."""
    cache = StateCache(Disk(), room(1))
    first = cache.get(stock(), STOCK)
    for n in range(50):
        cache.get(stock(f"other-{n}"), STOCK)
    assert cache.get(stock(), STOCK) is first


def item(replicas: int, fields: Sequence[str]) -> DocumentState:
    """A document that each of so many has written, field by field."""
    state = ITEM.type.new()
    for number in range(replicas):
        replica = f"device-{number:03}.1"
        for seq, field in enumerate(fields, 1):
            kind, value = WRITES.get(field, ("set", f"{field} as {number} has it"))
            op = ITEM.type.prepare(state, replica, seq, field, kind, value)
            ITEM.type.apply(state, op._replace(hlc=(NOW_MS + number) << 16))
    return state


@pytest.mark.parametrize("replicas", few([10, 1, 50], 1))
@pytest.mark.parametrize("fields", [["hits"], ["hits", "label", "tags"], ["hits", *"abcdef"]], ids=len)
def test_what_an_entry_is_estimated_to_take_is_about_what_it_takes(replicas: int, fields: Sequence[str]) -> None:
    names = [DocumentId("Item", "here", f"item-{number}") for number in range(COUNTED)]
    records = {document_key(name): ITEM.codec.encode(name, item(replicas, fields)) for name in names}
    space = CacheRoom()
    cache = StateCache(records.get, space)
    ITEM.codec.decode(records[document_key(names[0])])  # whatever reading keeps for good
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _, scope, name in names:
            entry = cache.get(
                DocumentId("Item", scope, f"{name} "[:-1]), ITEM
            )  # a text of its own, as a batch brings it
            ITEM.codec.encode(entry.document, entry.state)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken / FACTOR < space.young < taken * FACTOR
