"""What merging keeps besides the values: bytes and time against replicas, elements and ops already merged.

A document may live for years, be written by a thousand devices and hold ten thousand elements. So the questions are: how many bytes does
each replica and each element cost, does merging one more op depend on any of these, and does it depend on how many ops there were
before? A time is measured against the same op on the small document, so the ratio is the growth itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.case import Aim, Case, Ground, Sides, ratio_at_most
from benchmarks.catalogue import SAMPLES, STOCK, Intent, texts_of, write
from benchmarks.timing import per_batch, per_call
from driftlog_crdt import (
    AddWinsSet,
    DocumentState,
    DocumentType,
    Field,
    Map,
    Op,
    Register,
    canonical,
    version_of,
)
from driftlog_schemas.digests import document_digest
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.state_codec import StateCodec
from tests.load.app import COLLECTION, COUNTER, LABEL, app

REPLICAS = (1, 10, 100, 1_000)
ELEMENTS = (1, 10, 100, 1_000, 10_000)
FEW_MERGED, MANY_MERGED = 1_000, 100_000
SEQUENCES = {"list", "text"}
"""Their cost is that of the text they hold; see `bench_text`."""

_plain_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

ITEM = app.contract.collection(COLLECTION)
BASKET = DocumentType("Basket", {"lines": Field(AddWinsSet()), "notes": Field(Map(Register()))}, max_bytes=1 << 30)


class Live(NamedTuple):
    """A document, its state, and ops that come next."""

    document: DocumentType
    state: DocumentState
    ops: Sequence[Op]


def _ops(ground: Ground) -> int:
    return 20 if ground.quick else 1000


def _written_by(replicas: int) -> DocumentState:
    """An article that each of so many devices has counted on, and one after another has priced."""
    state = STOCK.new()
    write(STOCK, state, _device(0), "name", Intent("set", "Oolong tea, loose, 250 g"))
    for number in range(replicas):
        write(STOCK, state, _device(number), "on_hand", Intent("increment", number + 20))
        write(STOCK, state, _device(number), "price", Intent("set", f"{number % 90 + 10}.90"))
    return state


def _holding(elements: int) -> DocumentState:
    state = BASKET.new()
    for number in range(elements):
        write(BASKET, state, _device(number % 5), "lines", Intent("add", f"article {number}"))
        write(BASKET, state, _device(number % 5), "notes", Intent("set", [f"article {number}", "gift"]))
    return state


def _device(number: int) -> str:
    return f"device-{number:04d}"


def _next(document: DocumentType, state: DocumentState, field: str, intent: Intent, count: int) -> Live:
    view = document.copy(state)
    return Live(document, state, [write(document, view, _device(0), field, intent) for _ in range(count)])


def _bytes(name: str, document: DocumentType, make: Callable[[int], DocumentState], size: int) -> Case:
    """The encoded state against the values that a reader sees."""

    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        state = make(min(size, 10) if ground.quick else size)
        length, values = len(document.encode(state)), len(canonical(dict(document.values(state))).encode())
        yield Sides(lambda: [length], lambda: [values], {"bytes each": round(length / size, 1)})

    return Case(f"bytes/{name}={size}", "bytes", opened, "the values as JSON", rounds=1, warm_up=False)


def _codec(name: str, document: DocumentType, make: Callable[[int], DocumentState], size: int) -> list[Case]:
    """Writing and reading the encoded state against plain JSON of the same bytes."""

    @contextmanager
    def encoding(ground: Ground) -> Iterator[Sides]:
        state = make(min(size, 10) if ground.quick else size)
        plain, loops = json.loads(texts_of(document.encode(state))), [None] * (2 if ground.quick else 20)
        yield Sides(
            lambda: [per_call(lambda s, _: document.encode(s), state, loops)],
            lambda: [per_call(lambda p, _: _plain_json(p).encode(), plain, loops)],
        )

    @contextmanager
    def decoding(ground: Ground) -> Iterator[Sides]:
        data = document.encode(make(min(size, 10) if ground.quick else size))
        plain, loops = texts_of(data), [None] * (2 if ground.quick else 20)
        yield Sides(
            lambda: [per_call(lambda d, _: document.decode(d), data, loops)],
            lambda: [per_call(lambda d, _: json.loads(d), plain, loops)],
        )

    return [
        Case(f"encode/{name}={size}", "us", encoding, "plain json of the same"),
        Case(f"decode/{name}={size}", "us", decoding, "plain json of the same"),
    ]


def _digest(size: int, aim: Aim) -> Case:
    """What the digest of its scope adds to a document's record when it leaves, against the making of the record."""

    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        codec, state = StateCodec(ITEM, FixedIds()), ITEM.document.new()
        for number in range(size):
            write(ITEM.document, state, f"{_device(number)}.k3f9q2w7", COUNTER, Intent("increment", number + 20))
            write(ITEM.document, state, f"{_device(number)}.k3f9q2w7", LABEL, Intent("set", f"label {number}"))
        document = DocumentId(COLLECTION, "place", "item")
        key, memory = document_key(document), ITEM.document.encode(state)
        loops = [None] * (20 if ground.quick else 500)
        yield Sides(
            lambda: [per_call(lambda m, _: document_digest(key, version_of(m)), memory, loops)],
            lambda: [per_call(lambda s, _: codec.encode(document, s), state, loops)],
        )

    return Case(f"digest/replicas={size}", "us", opened, "the record's encoding", aim)


def _growth(
    name: str, small: Callable[[Ground], Live], large: Callable[[Ground], Live], than: str, aim: Aim | None
) -> Case:
    """One op merged into the large document against the same op merged into the small one."""

    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        here, there = large(ground), small(ground)
        yield Sides(lambda: _merging(ground, here), lambda: _merging(ground, there))

    return Case(name, "us", opened, than, aim)


def _merging(ground: Ground, live: Live) -> list[float]:
    states = (live.document.copy(live.state) for _ in range(1 if ground.quick else 5))
    return per_batch(live.document.apply, states, live.ops)


def _by_replicas(field: str, intent: Intent, size: int, aim: Aim | None) -> Case:
    def live(replicas: int) -> Callable[[Ground], Live]:
        return lambda ground: _next(
            STOCK, _written_by(min(replicas, 10) if ground.quick else replicas), field, intent, _ops(ground)
        )

    return _growth(f"merge/{field}/replicas={size}", live(1), live(size), "with 1 replica", aim)


def _by_elements(field: str, intent: Intent, size: int) -> Case:
    def live(elements: int) -> Callable[[Ground], Live]:
        return lambda ground: _next(
            BASKET, _holding(min(elements, 10) if ground.quick else elements), field, intent, _ops(ground)
        )

    return _growth(f"merge/{field}/elements={size}", live(1), live(size), "with 1 element", ratio_at_most(1.5))


def _by_history(name: str) -> Case:
    document = DocumentType("Sample", {"it": Field(SAMPLES[name].type)}, max_bytes=1 << 30)

    def live(merged: int) -> Callable[[Ground], Live]:
        def make(ground: Ground) -> Live:
            state = document.new()
            for number in range(merged // 1000 + 20 if ground.quick else merged):
                write(document, state, _device(number % 5), "it", SAMPLES[name].intent(number))
            view = document.copy(state)
            ops = [
                write(document, view, _device(n % 5), "it", SAMPLES[name].intent(n))
                for n in range(20, 20 + _ops(ground))
            ]
            return Live(document, state, ops)

        return make

    return _growth(
        f"merged={MANY_MERGED}/{name}",
        live(FEW_MERGED),
        live(MANY_MERGED),
        f"after {FEW_MERGED} ops",
        ratio_at_most(1.25),
    )


CASES = [
    *(_bytes("replicas", STOCK, _written_by, size) for size in REPLICAS),
    *(_bytes("elements", BASKET, _holding, size) for size in ELEMENTS),
    *_codec("replicas", STOCK, _written_by, REPLICAS[-1]),
    *_codec("elements", BASKET, _holding, ELEMENTS[-1]),
    *(_digest(size, ratio_at_most(0.25)) for size in (1, 10, 100)),
    *(_by_replicas("on_hand", Intent("increment", 1), size, ratio_at_most(1.5)) for size in REPLICAS[1:]),
    # A set carries what its writer had seen, one number for each replica, and each has to be looked at.
    *(_by_replicas("price", Intent("set", "9.90"), size, None) for size in REPLICAS[1:]),
    *(_by_elements("lines", Intent("add", "one more"), size) for size in ELEMENTS[1:]),
    *(_by_elements("notes", Intent("set", ["one more", "gift"]), size) for size in ELEMENTS[1:]),
    *(_by_history(name) for name in SAMPLES if name not in SEQUENCES),
]
