"""A shop whose workers are a test: it publishes groups of states as a worker does, and a real projector makes tables of them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, Op, Plain
from driftlog_infra import EmbeddedPostgres
from driftlog_schemas import groups, topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.state_codec import StateCodec
from driftlog_streams.projections.following import StateLog
from driftlog_streams.projections.projector import Done
from driftlog_streams.projections.running import Projection
from driftlog_streams.projections.settings import ProjectorSettings
from tests.admin_clients import kept
from tests.copies import driftlog_copied
from tests.load.ground import lay_topics
from tests.load.waiting import until

PARTITIONS = 4

HEAD = """
from datetime import date, datetime
from decimal import Decimal
from driftlog import AddWinsSet, App, Counter, Document, Flag, List, Map, Max, MultiValue, Ranked, Register, Text, field

app = App("shop")
space = app.space({space!r}, partitions={partitions})
"""
STOCK = """
@space.collection(scope="store", id="sku")
class Stock(Document):
    store: str
    sku: str
    name: Register[str] = ""
    price: Register[Decimal] = field(default=Decimal("0"))
    on_hand: Counter
    tags: AddWinsSet[str]
"""


class Shop:
    """One space on a broker, and what is published of it. `source` declares the collections."""

    def __init__(self, folder: Path, bootstrap: str, registry: str, space: str, source: str = STOCK) -> None:
        self.folder, self.bootstrap, self.registry, self.space = folder, bootstrap, registry, space
        self._states: dict[DocumentId, DocumentState] = {}
        self._seq: dict[DocumentId, int] = {}
        self._codecs: dict[str, StateCodec] = {}
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0})
        self._ids = CachedRegistry(registry, folder / "worker-schemas", register=True)
        self.declare(source)
        lay_topics(bootstrap, self.contract)

    def declare(self, source: str) -> None:
        """Another release of the app, for whoever starts from now on."""
        text = HEAD.format(space=self.space, partitions=PARTITIONS) + source
        (self.folder / "shop.py").write_text(text)
        spec = importlib.util.spec_from_file_location(f"shop_{uuid.uuid4().hex}", self.folder / "shop.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        before = self._codecs
        kept = [
            (document, before[document.collection].collection.document.encode(state))
            for document, state in self._states.items()
            if document.collection in before
        ]
        self.contract: AppContract = module.app.contract
        known = self.contract.spaces[self.space].collections
        for document, memory in kept:  # what is not declared is carried along, as a worker does
            if document.collection in known:
                self._states[document] = known[document.collection].document.decode(memory)
        self._codecs = {
            name: StateCodec(one, self._ids) for name, one in self.contract.spaces[self.space].collections.items()
        }

    def change(self, document: DocumentId, field: str, kind: str, value: Plain) -> None:
        """One op on a document."""
        rules = self.contract.collection(document.collection).document
        state = self._states.setdefault(document, rules.new())
        seq = self._seq[document] = self._seq.get(document, 0) + 1
        context = dict(state.vector) if kind in ("set", "remove", "add", "enable", DELETE) else None
        rules.apply(state, Op("till.1", seq, seq << 20, field, kind, value, context))

    def delete(self, document: DocumentId) -> None:
        self.change(document, DOCUMENT, DELETE, None)

    def publish(self, *documents: DocumentId, last: bool = True, purge: Sequence[DocumentId] = ()) -> None:
        """One group of each partition concerned, as a worker does; a torn one without `last`."""
        by_partition: dict[int, list[DocumentId]] = {}
        for document in (*documents, *purge):
            by_partition.setdefault(partition_of(document.scope, PARTITIONS), []).append(document)
        for partition, found in by_partition.items():
            number = self._op(partition)
            for place, document in enumerate(found, 1):
                value = None if document in purge else self.encoded(document)
                mark = groups.headers(number, last=last and place == len(found))
                self.put(partition, document_key(document), value, mark)
        assert self._producer.flush(30) == 0

    def encoded(self, document: DocumentId) -> bytes:
        return self._codecs[document.collection].encode(document, self._states[document])

    def put(self, partition: int, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        """A record of the state topic, whoever writes it."""
        self._producer.produce(topics.state_topic(self.space), value, key, partition, headers=headers)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def _op(self, partition: int) -> int:
        """The offset of a new op record."""
        offsets: list[int] = []
        self._producer.produce(
            topics.ops_topic(self.space), b"op", b"till", partition, on_delivery=lambda _, m: offsets.append(m.offset())
        )
        assert self._producer.flush(30) == 0
        return offsets[0]

    def shown(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(scope, id) -> fields of every Stock there is, as the table should have it."""
        rules = self.contract.collection("Stock")
        found = {}
        for document, state in self._states.items():
            if document.collection == "Stock" and rules.document.exists(state):
                found[document.scope, document.id] = rules.present(document.scope, document.id, state)
        return found


class Projector:
    """The real process."""

    def __init__(self, shop: Shop, postgres: EmbeddedPostgres, *arguments: str, **environment: str) -> None:
        self._log = shop.folder / f"projector-{uuid.uuid4().hex[:6]}.log"
        self._said = self._log.with_suffix(".out")
        words = [
            *("project", "--app", "shop:app", "--postgres", postgres.url),
            *(
                "--bootstrap",
                shop.bootstrap,
                "--registry",
                shop.registry,
                "--schema-cache",
                str(shop.folder / "schemas"),
            ),
            *arguments,
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DRIFTLOG_POSTGRES__PASSWORD": postgres.password_file.read_text(),
            **environment,
        }
        with self._log.open("wb") as log, self._said.open("wb") as said:
            self.process = driftlog_copied(words, shop.folder, environment, stdout=said.fileno(), stderr=log.fileno())

    def log(self) -> str:
        return self._log.read_text()

    def told(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after this signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(90)
        finally:
            self.process.kill()
            self.process.wait(90)
            self.output = self._said.read_text()


class _Kept(Projection):
    """Its clients are never let go of (see `tests.admin_clients`)."""

    def _log(self) -> StateLog:
        return kept(super()._log())


def project(shop: Shop, postgres: EmbeddedPostgres, *, rebuild: bool = False) -> Done:
    """What the process does, in this one: to the topic's present end, or all of it anew."""
    settings = ProjectorSettings.load(
        None,
        app="shop:app",
        bootstrap=shop.bootstrap,
        registry=shop.registry,
        schema_cache=shop.folder / "schemas",
        postgres={"url": postgres.url, "password_file": postgres.password_file},
    )
    made = _Kept(settings, shop.contract)
    return made.rebuild(threading.Event()) if rebuild else made.to_end(threading.Event())


@contextmanager
def following(shop: Shop, postgres: EmbeddedPostgres, *arguments: str) -> Iterator[Projector]:
    """A projector that follows, ended in order."""
    made = Projector(shop, postgres, *arguments)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            assert made.end() == 0, made.log()


def ask(postgres: EmbeddedPostgres, query: str, *given: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.conninfo) as connection:
        return connection.execute(query.encode(), given).fetchall()


def stock_rows(postgres: EmbeddedPostgres, shop: Shop) -> dict[tuple[str, str], dict[str, Any]]:
    """As `Shop.shown`, from the table."""
    columns = "store, sku, name, price, on_hand, tags"
    return {
        (store, sku): {
            "store": store,
            "sku": sku,
            "name": name,
            "price": price,
            "on_hand": on_hand,
            "tags": sorted(tags),
        }
        for store, sku, name, price, on_hand, tags in ask(postgres, f'SELECT {columns} FROM "{shop.space}".stock')
    }


def shown_rows(shop: Shop) -> dict[tuple[str, str], dict[str, Any]]:
    """What `stock_rows` should be."""
    return {
        key: {**row, "price": Decimal(row["price"]), "tags": sorted(row["tags"])} for key, row in shop.shown().items()
    }


def agree(postgres: EmbeddedPostgres, shop: Shop, explain: Projector, seconds: float = 60) -> None:
    """Wait until the table says what was published."""
    wanted = shown_rows(shop)

    def same() -> bool:
        try:
            return stock_rows(postgres, shop) == wanted
        except (psycopg.errors.UndefinedTable, psycopg.OperationalError):  # not made yet, or the server is starting
            return False

    until(same, "the table is as the topic", seconds, explain.log)


def stock(sku: str, store: str = "s1") -> DocumentId:
    return DocumentId("Stock", store, sku)


def deliver(shop: Shop, amounts: Mapping[DocumentId, int]) -> None:
    """Goods arrive; published as one."""
    for document, amount in amounts.items():
        shop.change(document, "on_hand", "increment", amount)
    shop.publish(*amounts)
