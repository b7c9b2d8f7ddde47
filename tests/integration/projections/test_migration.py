"""Another declaration over tables that are there, and tables that are built anew while readers go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from driftlog_infra import EmbeddedPostgres
from driftlog_schemas.identity import DocumentId
from tests.integration.projections.shop import (
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

WITH_SHELF = STOCK.replace("    on_hand: Counter\n", '    on_hand: Counter\n    shelf: Register[str] = "floor"\n')
WITHOUT_NAME = STOCK.replace('    name: Register[str] = ""\n', "")
SIZED = STOCK.replace("    on_hand: Counter\n", "    on_hand: Counter\n    size: Register[int] = 0\n")
SIZED_FINELY = SIZED.replace("Register[int] = 0", "Register[float] = 0.0")
NAME_OR_NONE = STOCK.replace('name: Register[str] = ""', "name: Register[str | None] = None")
LEDGER = (
    STOCK
    + """
@space.collection(scope="store", id="day")
class Ledger(Document):
    store: str
    day: str
    sold: Counter
"""
)


def column(postgres: EmbeddedPostgres, shop: Shop, name: str) -> dict[str, object]:
    return dict(ask(postgres, f'SELECT sku, "{name}" FROM "{shop.space}".stock'))


def test_an_added_field_is_filled_also_where_it_was_written_before(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    tea, milk, coffee = stock("tea"), stock("milk"), stock("coffee")
    deliver(shop, {tea: 1, milk: 2, coffee: 3})
    shop.declare(WITH_SHELF)  # the workers' release is ahead of the projector's
    shop.change(tea, "shelf", "set", "top")
    shop.publish(tea)
    shop.declare(STOCK)
    shop.delete(coffee)
    shop.publish(coffee)
    project(shop, postgres)
    shop.declare(WITH_SHELF)
    done = project(shop, postgres)
    assert column(postgres, shop, "shelf") == {"tea": "top", "milk": "floor"}
    assert done.records == 5, "what was projected before is read again, once"
    assert project(shop, postgres).records == 0
    shop.change(milk, "shelf", "set", "cellar")
    shop.publish(milk)
    project(shop, postgres)
    assert column(postgres, shop, "shelf") == {"tea": "top", "milk": "cellar"}


@pytest.mark.deep
def test_a_filling_that_is_killed_goes_on(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop()
    articles = [stock(f"article-{n}", f"s{n % 7}") for n in range(300)]
    deliver(shop, dict.fromkeys(articles, 1))
    shop.declare(WITH_SHELF)
    for article in articles[::2]:
        shop.change(article, "shelf", "set", "top")
    shop.publish(*articles[::2])
    shop.declare(STOCK)
    project(shop, postgres)
    shop.declare(WITH_SHELF)
    for _ in range(3):
        killed = Projector(shop, postgres)
        until(lambda: '"the tables change"' in killed.log() or "are projected" in killed.log(), "it begins", 60)  # noqa: B023
        killed.end(9)
    project(shop, postgres)
    shelves = column(postgres, shop, "shelf")
    assert shelves == {one.id: "top" if n % 2 == 0 else "floor" for n, one in enumerate(articles)}


@pytest.mark.deep
def test_a_field_that_is_gone_keeps_its_column_and_comes_back_whole(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    tea, milk = stock("tea"), stock("milk")
    shop.change(tea, "name", "set", "Green tea")
    shop.publish(tea)
    project(shop, postgres)
    shop.declare(WITHOUT_NAME)
    deliver(shop, {tea: 1, milk: 1})
    project(shop, postgres)
    assert column(postgres, shop, "name") == {"tea": "Green tea", "milk": ""}
    assert column(postgres, shop, "on_hand") == {"tea": 1, "milk": 1}
    shop.declare(STOCK)
    shop.change(tea, "name", "set", "Black tea")
    shop.publish(tea)
    project(shop, postgres)
    assert column(postgres, shop, "name") == {"tea": "Black tea", "milk": ""}
    shop.declare(WITHOUT_NAME)
    project(shop, postgres, rebuild=True)
    with pytest.raises(psycopg.errors.UndefinedColumn):
        column(postgres, shop, "name")


def test_a_collection_that_is_new_finds_its_documents(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop(LEDGER)
    monday, tuesday = DocumentId("Ledger", "s1", "monday"), DocumentId("Ledger", "s1", "tuesday")
    shop.change(monday, "sold", "increment", 4)
    shop.change(tuesday, "sold", "increment", 5)
    shop.publish(monday, tuesday)
    deliver(shop, {stock("tea"): 1})
    shop.change(tuesday, "", "delete", None)
    shop.publish(tuesday)
    shop.declare(STOCK)
    project(shop, postgres)
    shop.declare(LEDGER)
    project(shop, postgres)
    assert ask(postgres, f'SELECT day, sold FROM "{shop.space}".ledger') == [("monday", 4)]
    shop.declare(STOCK)
    project(shop, postgres)
    shop.declare(LEDGER)
    shop.change(monday, "sold", "increment", 1)
    shop.publish(monday)
    project(shop, postgres)
    assert ask(postgres, f'SELECT day, sold FROM "{shop.space}".ledger') == [("monday", 5)]
    assert stock_rows(postgres, shop) == shown_rows(shop)


def test_another_type_is_refused_until_a_rebuild(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop(SIZED)
    tea = stock("tea")
    shop.change(tea, "size", "set", 3)
    shop.publish(tea)
    project(shop, postgres)
    shop.declare(SIZED_FINELY)
    refused = Projector(shop, postgres, "--once")
    assert refused.wait() == 1
    assert "column size of stock is bigint not null, and is declared as double precision not null now" in refused.log()
    assert refused.log().rstrip().endswith("run once with --rebuild")
    assert column(postgres, shop, "size") == {"tea": 3}
    project(shop, postgres, rebuild=True)
    assert column(postgres, shop, "size") == {"tea": 3.0}


@pytest.mark.deep
def test_a_field_that_may_be_nothing_now_needs_no_rebuild(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    tea, milk = stock("tea"), stock("milk")
    shop.change(tea, "name", "set", "Tea")
    deliver(shop, {tea: 1, milk: 1})
    project(shop, postgres)
    assert column(postgres, shop, "name") == {"tea": "Tea", "milk": ""}
    shop.declare(NAME_OR_NONE)
    project(shop, postgres)
    assert column(postgres, shop, "name") == {"tea": "Tea", "milk": None}, (
        "the default is another, also where nobody wrote"
    )


def test_readers_go_on_while_tables_are_built_anew(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop()
    tea = stock("tea")
    deliver(shop, {tea: 1, **{stock(f"article-{n}", f"s{n % 5}"): 1 for n in range(500)}})
    with following(shop, postgres) as live:
        agree(postgres, shop, live)
        ask_as_owner = psycopg.connect(postgres.conninfo, autocommit=True)
        ask_as_owner.execute(f'CREATE ROLE "reader_{shop.space}"'.encode())
        ask_as_owner.execute(f'GRANT USAGE ON SCHEMA "{shop.space}" TO "reader_{shop.space}"'.encode())
        ask_as_owner.execute(f'GRANT SELECT ON "{shop.space}".stock TO "reader_{shop.space}"'.encode())
        ask_as_owner.execute(f'CREATE INDEX mine ON "{shop.space}".stock (on_hand) WHERE on_hand > 0'.encode())
        seen: list[int] = []
        over = threading.Event()
        failed: list[Exception] = []

        def read() -> None:
            try:
                with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
                    connection.execute(f'SET ROLE "reader_{shop.space}"'.encode())
                    while not over.is_set():
                        query = f'SELECT on_hand, (SELECT count(*) FROM "{shop.space}".stock) FROM "{shop.space}".stock WHERE sku = \'tea\''
                        (found,) = connection.execute(query.encode()).fetchall()
                        assert found[1] == 501
                        seen.append(found[0])
            except (psycopg.Error, AssertionError, ValueError) as error:  # told below
                failed.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            rebuilding = Projector(shop, postgres, "--rebuild", "--json")
            while rebuilding.process.poll() is None:
                deliver(shop, {tea: 1})
            assert rebuilding.wait() == 0, rebuilding.log()
            deliver(shop, {tea: 1})
            agree(postgres, shop, live)
        finally:
            over.set()
            reader.join(60)
        assert not failed, failed
        assert seen == sorted(seen), "never less than before"
        assert any(one["event"] == "the projection begins again" for one in live.told()), "it goes on in the new tables"
    indexes = ask(postgres, "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND indexname = 'mine'", shop.space)
    assert indexes == [(f"CREATE INDEX mine ON {shop.space}.stock USING btree (on_hand) WHERE (on_hand > 0)",)]
    left = ask(postgres, "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", f"{shop.space}%")
    assert left == [(shop.space,)]


def test_views_keep_a_rebuild_from_leaving_them_behind(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 3})
    project(shop, postgres)
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(f'CREATE VIEW "{shop.space}_all" AS SELECT sum(on_hand) FROM "{shop.space}".stock'.encode())
        refused = Projector(shop, postgres, "--rebuild")
        assert refused.wait() == 1
        assert f"public.{shop.space}_all; drop them, and create them again afterwards" in refused.log()
        assert connection.execute(f'SELECT * FROM "{shop.space}_all"'.encode()).fetchall() == [(Decimal(3),)]
        connection.execute(f'DROP VIEW "{shop.space}_all"'.encode())
    project(shop, postgres, rebuild=True)


def test_a_declaration_changes_nothing_while_another_projector_writes(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 3})
    old = Projector(shop, postgres)
    agree(postgres, shop, old)
    shop.declare(WITH_SHELF)
    with following(shop, postgres) as new:
        until(
            lambda: "stop the other projector" in new.log() or "is to be changed" in new.log(), "it waits", 60, new.log
        )
        assert old.process.poll() is None
        assert old.end() == 0
        until(lambda: "the tables change" in new.log(), "it changes them", 90, new.log)
        until(lambda: column(postgres, shop, "shelf") == {"tea": "floor"}, "it goes on", 60, new.log)


def test_a_change_waits_for_a_long_query_and_holds_up_no_other(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 3})
    project(shop, postgres)
    shop.declare(WITH_SHELF)
    with psycopg.connect(postgres.conninfo) as long_query:
        long_query.execute(f'SELECT * FROM "{shop.space}".stock'.encode())
        with following(shop, postgres) as waits:
            until(lambda: "lock timeout" in waits.log(), "it gives up and tries again", 60, waits.log)
            assert column(postgres, shop, "on_hand") == {"tea": 3}
            long_query.rollback()
            until(lambda: "are projected" in waits.log(), "it changes them", 90, waits.log)
    assert column(postgres, shop, "shelf") == {"tea": "floor"}
