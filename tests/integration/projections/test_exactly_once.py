"""Exactly once, whatever ends whenever: the projector, a second one, PostgreSQL, the broker's topic."""

from __future__ import annotations

import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import NewTopic
from psycopg import sql

from driftlog_infra import EmbeddedBroker, EmbeddedPostgres
from driftlog_schemas import topics
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.projections.errors import Superseded
from driftlog_streams.projections.postgres import rebuild
from driftlog_streams.projections.postgres.settings import PostgresSettings
from driftlog_streams.projections.postgres.sink import PostgresSink
from driftlog_streams.projections.records import StateReader
from driftlog_streams.projections.sink import Group, Row
from tests.integration.projections.shop import (
    PARTITIONS,
    STOCK,
    Projector,
    Shop,
    agree,
    ask,
    deliver,
    following,
    project,
    shown_rows,
    stock,
    stock_rows,
)
from tests.load.waiting import until
from tests.made_anew import make_anew

KILLS = 6
ARTICLES = 60
TOTAL = 600


class Busy(threading.Thread):
    """Moves goods between the articles of each store; the sum in a store stays, in every group."""

    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self._shop, self._over = shop, threading.Event()
        self._random = random.Random(3)
        self.published = 0
        self.failed: BaseException | None = None
        for store in ("s1", "s2", "s3"):
            deliver(shop, {self._article(store, n): TOTAL // ARTICLES for n in range(ARTICLES)})

    def _article(self, store: str, number: int) -> DocumentId:
        return stock(f"article-{number}", store)

    def run(self) -> None:
        try:
            for turn in itertools.count():
                if self._over.is_set():
                    return
                store = f"s{1 + turn % 3}"
                one, other = self._random.sample(range(ARTICLES), 2)
                self._shop.change(self._article(store, one), "on_hand", "decrement", 1)
                self._shop.change(self._article(store, other), "on_hand", "increment", 1)
                self._shop.publish(self._article(store, one), self._article(store, other))
                self.published += 1
        except BaseException as error:
            self.failed = error
            raise

    def end(self) -> None:
        self._over.set()
        self.join(60)
        assert self.failed is None and not self.is_alive()


@contextmanager
def busy(shop: Shop) -> Iterator[Busy]:
    working = Busy(shop)
    working.start()
    try:
        yield working
    finally:
        working.end()


def sums(postgres: EmbeddedPostgres, shop: Shop) -> dict[str, int]:
    return dict(ask(postgres, f'SELECT store, sum(on_hand)::int FROM "{shop.space}".stock GROUP BY store'))


def require_one_write(postgres: EmbeddedPostgres, shop: Shop) -> None:
    """A partition stands right behind the record that its newest row was made from: here every record is a row's."""
    query = (
        "SELECT (SELECT jsonb_object_agg(partition, next_offset) FROM {0}._positions WHERE next_offset > 0),"
        " (SELECT jsonb_object_agg(store, last) FROM (SELECT store, max(_offset) AS last FROM {0}.stock GROUP BY store) found)"
    )
    ((stands, last),) = ask(postgres, query.format(f'"{shop.space}"'))
    newest: dict[str, int] = {}
    for store, offset in (last or {}).items():  # nothing yet, if the first write was killed
        partition = str(partition_of(store, PARTITIONS))
        newest[partition] = max(offset + 1, newest.get(partition, 0))
    assert (stands or {}) == newest


def slow_down(postgres: EmbeddedPostgres, shop: Shop) -> None:
    """A write takes half of the time, so that many a kill falls into one."""
    name = sql.Identifier(shop.space, "slowly")
    body = "CREATE FUNCTION {} () RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END'"
    trigger = "CREATE TRIGGER slowly BEFORE INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION {} ()"
    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute(sql.SQL(body).format(name))
        connection.execute(sql.SQL(trigger).format(sql.Identifier(shop.space, "stock"), name))


def test_killed_at_any_moment_nothing_is_lost_or_done_twice(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    moments = random.Random(5)
    with busy(shop) as working:
        projector = Projector(shop, postgres)
        until(lambda: any(one["event"] == "partitions are projected" for one in projector.told()), "it begins", 90)
        slow_down(postgres, shop)
        for _ in range(KILLS):
            reached = working.published
            until(lambda: working.published > reached + 5, "goods move", 60)  # noqa: B023 - asked at once
            time.sleep(moments.random() * 0.7)
            assert projector.end(signal.SIGKILL) == -signal.SIGKILL
            assert set(sums(postgres, shop).values()) <= {TOTAL}, "a group is there whole or not at all"
            require_one_write(postgres, shop)
            projector = Projector(shop, postgres)
        commits = working.published
        until(lambda: working.published > commits + 5, "goods move", 60)
    agree(postgres, shop, projector, 90)
    assert projector.end() == 0
    again = project(shop, postgres)
    assert (again.rows, again.records) == (0, 0), "where it stands was written with the rows"


def test_a_second_process_stands_by_and_takes_over(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    first = Projector(shop, postgres)
    agree(postgres, shop, first)
    with following(shop, postgres) as second:
        until(lambda: _stands_by(second), "the second is there", 60, second.log)
        deliver(shop, {stock("tea"): 1})
        agree(postgres, shop, second)
        assert not _holds(second), "the first one writes"
        first.end(signal.SIGKILL)
        deliver(shop, {stock("milk", "s2"): 1})
        agree(postgres, shop, second)
        assert _holds(second)


def _holds(projector: Projector) -> bool:
    return any(one["event"] == "partitions are projected" and one["partitions"] for one in projector.told())


def _stands_by(projector: Projector) -> bool:
    return any(one.get("stands_by") == PARTITIONS for one in projector.told())


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


@pytest.fixture
def sinks(shop: Shop, postgres: EmbeddedPostgres) -> Iterator[Callable[[], PostgresSink]]:
    """Makes sinks of one shop, as it is declared then."""
    made: list[PostgresSink] = []

    def make() -> PostgresSink:
        settings = PostgresSettings(url=postgres.url, password_file=postgres.password_file)
        tables = StateReader(shop.contract.spaces[shop.space], shop._ids).tables
        made.append(PostgresSink(settings, shop.space, shop.space, PARTITIONS, tables))
        made[-1].open()
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def make_wider(shop: Shop, sinks: Callable[[], PostgresSink]) -> Callable[[], PostgresSink]:
    """Makes a sink of another release, with a field more."""

    def make() -> PostgresSink:
        shop.declare(STOCK.replace("on_hand: Counter\n", 'on_hand: Counter\n    shelf: Register[str] = "floor"\n'))
        return sinks()

    return make


def arrival(on_hand: int, start: int, end: int, partition: int = 0) -> Group:
    values = {"name": "", "price": 0, "on_hand": on_hand, "tags": []}
    row = Row(stock("tea"), end - 1, 1_790_000_000_000, disputed=False, values=values)
    return Group(partition, "topic", start, end, (row,))


def test_a_writer_that_was_taken_for_dead_moves_nothing(
    sinks: Callable[[], PostgresSink], postgres: EmbeddedPostgres
) -> None:
    frozen, other = sinks(), sinks()
    assert frozen.claim([0, 1])[0].offset == 0
    assert other.claim([0, 2]).keys() == {2}, "a partition has one writer"
    frozen.rows([arrival(1, 0, 5)])
    assert frozen._connection is not None
    frozen._connection.execute("SELECT pg_advisory_unlock_all()")  # as if a pooler had lent the session to others
    assert other.claim([0])[0].offset == 5
    other.rows([arrival(2, 5, 9)])
    with pytest.raises(Superseded, match="partition 0 does not stand at 5"):
        frozen.rows([arrival(3, 0, 7, partition=1), arrival(4, 5, 8)])
    found = ask(postgres, f'SELECT on_hand FROM "{other.schema}".stock')
    assert found == [(2,)]
    assert other.claim([]) == {} and frozen.claim([1])[1].offset == 0, "nothing of a write that is refused is there"


@pytest.mark.deep
def test_what_is_read_again_to_fill_a_column_takes_nothing_back(
    sinks: Callable[[], PostgresSink], make_wider: Callable[[], PostgresSink], postgres: EmbeddedPostgres
) -> None:
    old = sinks()
    old.claim([0])
    milk = Row(stock("milk"), 0, 0, disputed=False, values={"name": "", "price": 0, "on_hand": 1, "tags": []})
    old.rows([Group(0, "topic", 0, 1, (milk,))])
    old.rows([arrival(5, 1, 2)])
    old.rows([Group(0, "topic", 2, 5, (milk._replace(offset=3, values=None), *arrival(7, 4, 5).rows))])
    old.close()
    wider = make_wider()
    assert wider.claim([0])[0].offset == 0

    def wide(row: Row, shelf: str) -> Row:
        return row._replace(values={**(row.values or {}), "shelf": shelf})

    query = f'SELECT sku, on_hand, shelf FROM "{wider.schema}".stock'
    wider.rows([Group(0, "topic", 0, 2, (wide(milk, "top"), wide(arrival(5, 1, 2).rows[0], "low")))])
    assert ask(postgres, query) == [("tea", 7, "floor")]
    wider.rows([Group(0, "topic", 2, 5, (wide(arrival(7, 4, 5).rows[0], "high"),))])
    assert ask(postgres, query) == [("tea", 7, "high")]
    wider.rows([Group(0, "topic", 5, 6, (wide(arrival(8, 5, 6).rows[0], "top"),))])
    assert ask(postgres, query) == [("tea", 8, "top")]


def test_a_host_that_is_gone_is_noticed_by_the_server(sinks: Callable[[], PostgresSink]) -> None:
    connection = sinks()._connection
    assert connection is not None
    kept = [
        connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("tcp_keepalives_idle", "tcp_user_timeout")
    ]
    assert kept == [("15",), ("30000",)]


def test_a_value_that_postgresql_does_not_take_stops_nothing(
    sinks: Callable[[], PostgresSink], postgres: EmbeddedPostgres
) -> None:
    sink = sinks()
    sink.claim([0])
    good = arrival(7, 0, 5)
    bad = Row(stock("milk"), 3, 0, disputed=False, values={"name": "", "price": 0, "on_hand": 2**64, "tags": []})
    sink.rows([Group(0, "topic", 0, 5, (bad, *good.rows))])
    assert ask(postgres, f'SELECT sku, on_hand FROM "{sink.schema}".stock') == [("tea", 7)]
    assert sink.claim([0])[0].offset == 5


def test_postgresql_that_is_killed_is_waited_for(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with EmbeddedPostgres() as own, busy(shop) as working, following(shop, own) as projector:
        until(lambda: _holds(projector), "it begins", 90, projector.log)
        for _ in range(3):
            reached = working.published
            until(lambda: working.published > reached + 20, "goods move", 60)  # noqa: B023 - asked at once
            own.kill()
            until(lambda: working.published > reached + 40, "goods move", 60)  # noqa: B023 - asked at once
            own.start()
        working.end()
        agree(own, shop, projector, 120)
        assert set(sums(own, shop).values()) == {TOTAL}
        assert any("begins again" in one["event"] for one in projector.told())


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            "ALTER TABLE {}.stock ALTER on_hand DROP DEFAULT, ALTER on_hand TYPE boolean USING on_hand > 0",
            "ALTER TABLE {}.stock ALTER on_hand TYPE bigint USING 5, ALTER on_hand SET DEFAULT 0",
        ),
        (
            "CREATE FUNCTION {0}.no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not on a Sunday'; END$$;"
            "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON {0}.stock FOR EACH ROW EXECUTE FUNCTION {0}.no()",
            "DROP TRIGGER no ON {}.stock",
        ),
    ],
    ids=["a column of another type", "a trigger that raises"],
)
def test_what_was_changed_in_the_tables_by_hand_is_told_and_waited_for(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres, change: str, back: str
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    with following(shop, postgres) as projector:
        agree(postgres, shop, projector)
        schema = sql.Identifier(shop.space).as_string()
        with psycopg.connect(postgres.conninfo) as connection:
            connection.execute(change.format(schema).encode())
        deliver(shop, {stock("tea"): 2, stock("milk"): 3})
        until(
            lambda: sum("does not take it" in str(one.get("why")) for one in projector.told()) > 1,
            "it tells, and tries again",
            60,
            projector.log,
        )
        with psycopg.connect(postgres.conninfo) as connection:
            connection.execute(back.format(schema).encode())
        agree(postgres, shop, projector)


def test_a_rebuild_waits_for_a_postgresql_that_is_away_when_it_begins(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    with EmbeddedPostgres() as own:
        project(shop, own)
        own.kill()
        anew = Projector(shop, own, "--rebuild", "--wait", "90s")
        until(lambda: any("waited for" in one["event"] for one in anew.told()), "it waits", 60, anew.log)
        own.start()
        assert anew.wait() == 0, anew.log()
        assert stock_rows(own, shop) == shown_rows(shop)


@pytest.mark.parametrize("done", [False, True])
def test_a_rebuild_goes_on_where_its_connection_was_lost_in_the_swap(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """Before it took effect, or after it, when nobody has heard of that."""
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    project(shop, postgres)
    deliver(shop, {stock("milk"): 3})
    lost = list[str]()

    def lose(connection: Any) -> None:
        lost.append("it is")
        connection.close()

    grant, log = rebuild.Swap._grant, rebuild.log

    def granted(self: rebuild.Swap, connection: Any) -> None:
        grant(self, connection)
        monkeypatch.setattr(rebuild.Swap, "_grant", grant)
        if done:
            monkeypatch.setattr(rebuild, "log", SimpleNamespace(info=lambda *_, **__: lose(connection)))
        else:
            lose(connection)

    monkeypatch.setattr(rebuild.Swap, "_grant", granted)
    project(shop, postgres, rebuild=True)
    monkeypatch.setattr(rebuild, "log", log)
    assert lost
    assert stock_rows(postgres, shop) == shown_rows(shop)
    with psycopg.connect(postgres.conninfo) as connection:
        asked = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s"
        assert connection.execute(asked, [f"{shop.space}\\_%"]).fetchone() == (0,)


def remade(shop: Shop) -> None:
    """The state topic, empty."""
    state = topics.state_topic(shop.space)
    make_anew(shop.bootstrap, NewTopic(state, PARTITIONS, 1, config={"cleanup.policy": "compact"}))


def test_a_topic_that_was_made_anew_is_said_and_a_rebuild_heals_it(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    tea, milk = stock("tea"), stock("milk")
    deliver(shop, {tea: 5, milk: 2})
    deliver(shop, {tea: 1})
    project(shop, postgres)
    before = stock_rows(postgres, shop)
    remade(shop)
    shop._states.pop(milk)
    for _ in range(3):  # so the offset that comes next is there again, with something else before it
        deliver(shop, {tea: 1})
    stopped = Projector(shop, postgres, "--once")
    assert stopped.wait() == 1
    line = stopped.log().splitlines()[-1]
    assert "was made anew" in line and line.endswith("run once with --rebuild"), line
    assert stock_rows(postgres, shop) == before
    anew = Projector(shop, postgres, "--rebuild", "--json")
    assert anew.wait() == 0, anew.log()
    assert json.loads(anew.output)["rows"] == 1
    assert stock_rows(postgres, shop) == shown_rows(shop)
    assert project(shop, postgres).records == 0


@pytest.mark.deep
def test_a_topic_that_is_made_anew_meanwhile_stops_it(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    projector = Projector(shop, postgres)
    agree(postgres, shop, projector)
    before = stock_rows(postgres, shop)
    remade(shop)
    deliver(shop, {stock("tea"): 5})
    deliver(shop, {stock("tea"): 5})
    assert projector.wait() == 1
    assert "--rebuild" in projector.log().splitlines()[-1], projector.log()
    assert stock_rows(postgres, shop) == before


@pytest.mark.deep
def test_a_topic_that_another_broker_led_and_that_is_made_anew_meanwhile_stops_it(
    restartable_broker: EmbeddedBroker,
    registry_url: str,
    fresh_name: Callable[[str], str],
    tmp_path: Path,
    postgres: EmbeddedPostgres,
) -> None:
    """Its client takes the new log's leader for an outdated one and gets nothing of it, however much there is."""
    shop = Shop(tmp_path, restartable_broker.bootstrap, registry_url, fresh_name("shop").replace("-", "_"), STOCK)
    deliver(shop, {stock("tea"): 5})
    projector = Projector(shop, postgres)
    agree(postgres, shop, projector)
    restartable_broker.stop()
    restartable_broker.start()
    deliver(shop, {stock("tea"): 5})
    agree(postgres, shop, projector)
    before = stock_rows(postgres, shop)
    remade(shop)
    assert projector.wait() == 1
    assert "--rebuild" in projector.log().splitlines()[-1], projector.log()
    assert stock_rows(postgres, shop) == before


def test_nobody_is_let_in_with_a_wrong_password(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    refused = Projector(make_shop(), postgres, "--once", DRIFTLOG_POSTGRES__PASSWORD="guessed-it")
    assert refused.wait() == 1
    line = refused.log().splitlines()[-1]
    assert line.startswith("error: PostgreSQL at 127.0.0.1:") and "password authentication failed" in line
    assert "guessed-it" not in refused.log()
