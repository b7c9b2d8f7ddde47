"""Documents a second into PostgreSQL: a topic of states projected into empty tables, beside a raw COPY of the same rows into the same table.

The baseline has the rows in memory, as the text that COPY takes, and writes all of them at once: no topic, no Avro, no groups, no position, nothing that could be
begun again. Ours reads the topic with the process's own parts, in one thread. Both tables have their primary key; the server is the embedded one.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_least
from benchmarks.cluster import BenchSpace
from benchmarks.quiet import quiet
from benchmarks.states import merged
from driftlog_infra import EmbeddedPostgres
from driftlog_schemas.connection import KafkaSettings
from driftlog_streams.projections.following import StateLog
from driftlog_streams.projections.metrics import ProjectorMetrics
from driftlog_streams.projections.postgres.settings import PostgresSettings
from driftlog_streams.projections.postgres.sink import PostgresSink
from driftlog_streams.projections.projector import Projector
from driftlog_streams.projections.records import StateReader
from driftlog_streams.telling.health import Health

PARTITIONS = 4
QUICK, USUAL, LARGE = 2_000, 100_000, 1_000_000
"""Documents."""
AIM = 0.1
TABLE = "item"


@dataclass(frozen=True, slots=True)
class Filled:
    """A space whose state topic holds the documents."""

    space: BenchSpace
    documents: int
    kafka: KafkaSettings


@contextmanager
def _projecting(ground: Ground) -> Iterator[Sides]:
    quiet()
    with cluster.servers(ground) as servers, EmbeddedPostgres() as postgres:
        documents = ground.size(QUICK, USUAL, LARGE)
        space = servers.space(cluster.fresh_name("projected"), ground.folder, partitions=PARTITIONS, devices=1)
        ground.say(f"writing {documents} states")
        merged(space, documents)
        filled = Filled(space, documents, KafkaSettings(bootstrap=servers.bootstrap))
        schemas = (f"round_{number}" for number in itertools.count())
        last = next(schemas)
        _projected(filled, postgres, last)
        rows = _rows(postgres, last)
        yield Sides(
            lambda: _projected(filled, postgres, next(schemas)),
            lambda: _copied(filled, postgres, last, rows),
            {"documents": documents, "bytes of the rows": len(rows)},
        )


def _projected(filled: Filled, postgres: EmbeddedPostgres, schema: str) -> Samples:
    """Documents a second, from the first question to the last commit."""
    space = filled.space.contract.spaces[filled.space.name]
    settings = PostgresSettings(url=postgres.url, password_file=postgres.password_file)
    reader = StateReader(space, filled.space.ids)
    partitions = frozenset(range(PARTITIONS))
    with (
        closing(StateLog(filled.kafka, space.name)) as log,
        closing(PostgresSink(settings, schema, space.name, PARTITIONS, reader.tables)) as sink,
    ):
        projector = Projector(log, reader, sink, partitions, ProjectorMetrics(space.name), Health())
        begun = time.perf_counter()
        projector.run(threading.Event(), lambda: log.ends(partitions), 60.0)
        seconds = time.perf_counter() - begun
    assert projector.done.rows == filled.documents, "all of it is there"
    return [filled.documents / seconds]


def _rows(postgres: EmbeddedPostgres, schema: str) -> bytes:
    """What stands in the table, as COPY reads it."""
    with psycopg.connect(postgres.conninfo) as connection:
        with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, TABLE))) as copy:
            return b"".join(map(bytes, copy))


def _copied(filled: Filled, postgres: EmbeddedPostgres, schema: str, rows: bytes) -> Samples:
    """Documents a second into another table of the same columns and key."""
    place = sql.Identifier("copied")
    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(place))
        like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)")
        connection.execute(like.format(place, sql.Identifier(schema, TABLE)))
        connection.commit()
        begun = time.perf_counter()
        with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(place)) as copy:
            copy.write(rows)
        connection.commit()
        return [filled.documents / (time.perf_counter() - begun)]


CASES: Sequence[Case] = [
    Case("rebuild", "documents/s", _projecting, "raw COPY", ratio_at_least(AIM), rounds=3, warm_up=False)
]
