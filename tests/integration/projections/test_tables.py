"""The read model as tables, on a real broker and a real PostgreSQL: typed, whole groups only, and nothing that no worker wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx
import pytest

from driftlog_infra import EmbeddedPostgres
from driftlog_infra.ports import free_port
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from tests.integration.projections.shop import (
    PARTITIONS,
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

EVERYTHING = """
@space.collection(scope="store", id="number")
class StockItem(Document):
    store: str
    number: str
    counted: Counter
    name: Register[str] = ""
    price: Register[Decimal] = field(default=Decimal("1.5"))
    weight: Register[float] = 0.0
    checked: Register[datetime | None] = None
    best_before: Register[date] = field(default=date(2026, 1, 1))
    stage: Ranked[str] = field(order=["open", "packed"])
    ready: Flag
    labels: Map[Register[str]]
    tags: AddWinsSet[str]
    prices: AddWinsSet[Decimal]
    seen: MultiValue[int]
    most: Max[int]
    note: Text
    size: Register[list[float]] = field(default=[])
"""


def test_every_kind_of_field_has_its_type(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop(EVERYTHING)
    one, bare = DocumentId("StockItem", "s1", "1"), DocumentId("StockItem", "s2", "2")
    for name, kind, value in (
        ("counted", "increment", 7),
        ("name", "set", 'a "name"; DROP TABLE stock_item\t\0é'),
        ("price", "set", "4.25"),
        ("weight", "set", 0.5),
        ("checked", "set", "2026-03-01T12:00:00Z"),
        ("best_before", "set", "2026-03-02"),
        ("stage", "set", "packed"),
        ("ready", "enable", None),
        ("labels", "set", ["shelf", "A\0\\u0000"]),
        ("tags", "add", "new"),
        ("prices", "add", "2.5"),
        ("seen", "set", 3),
        ("most", "raise", 9),
        ("size", "set", [1.0, 2.5]),
    ):
        shop.change(one, name, kind, value)
    shop.change(bare, "counted", "increment", 0)
    shop.publish(one, bare)
    done = project(shop, postgres)
    assert done.rows == 2

    types = dict(
        ask(
            postgres,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = 'stock_item'",
            shop.space,
        )
    )
    assert types == {
        **dict.fromkeys(("store", "number", "name", "stage", "note"), "text"),
        **dict.fromkeys(("counted", "most", "_offset"), "bigint"),
        **dict.fromkeys(("labels", "tags", "prices", "seen", "size"), "jsonb"),
        **dict.fromkeys(("checked", "_updated_at"), "timestamp with time zone"),
        **dict.fromkeys(("ready", "_conflict_open"), "boolean"),
        "price": "numeric",
        "weight": "double precision",
        "best_before": "date",
    }
    fields = "counted, name, price, weight, checked, best_before, stage, ready, labels, tags, prices, seen, most, size"
    (row,) = ask(postgres, f'SELECT {fields} FROM "{shop.space}".stock_item WHERE store = %s', "s1")
    assert row == (
        *(7, 'a "name"; DROP TABLE stock_item\t�é', Decimal("4.25"), 0.5),
        *(datetime(2026, 3, 1, 12, tzinfo=UTC), date(2026, 3, 2), "packed", True),
        *({"shelf": "A�\\u0000"}, ["new"], ["2.5"], [3], 9, [1.0, 2.5]),
    )
    prices = ask(postgres, f'SELECT price::text FROM "{shop.space}".stock_item ORDER BY 1')
    assert prices == [("1.5",), ("4.25",)]
    (row,) = ask(
        postgres, f"SELECT price, checked, stage, ready, tags, most FROM \"{shop.space}\".stock_item WHERE store = 's2'"
    )
    assert row == (Decimal("1.5"), None, "open", False, [], None)


def test_rows_come_change_and_go_for_good(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop()
    tea, coffee, milk = stock("tea"), stock("coffee", "s2"), stock("milk")
    with following(shop, postgres) as projector:
        deliver(shop, {tea: 5, coffee: 3, milk: 1})
        agree(postgres, shop, projector)
        shop.change(tea, "on_hand", "decrement", 2)
        shop.delete(milk)
        shop.publish(tea, milk)
        agree(postgres, shop, projector)
        assert set(stock_rows(postgres, shop)) == {("s1", "tea"), ("s2", "coffee")}
        shop.publish(purge=[milk])
        deliver(shop, {coffee: 1})
        agree(postgres, shop, projector)
    assert project(shop, postgres).rows == 0
    assert stock_rows(postgres, shop) == shown_rows(shop)


def test_a_torn_group_waits_and_a_strangers_record_does_not_count(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    tea, milk = stock("tea"), stock("milk")
    deliver(shop, {tea: 5})
    before = shown_rows(shop)
    key, here = document_key(tea), partition_of("s1", PARTITIONS)
    shop.change(tea, "on_hand", "increment", 100)
    forged = shop.encoded(tea)
    shop.put(here, key, forged, [])
    shop.put(here, key, None, [])
    shop.put(here, key, forged, groups.headers(10_000_000, last=True))
    shop.put((here + 1) % PARTITIONS, key, forged, groups.headers(0, last=True))
    shop.put(here, b"no key", forged, groups.headers(0, last=True))
    shop.put(here, document_key(milk), b"\0garbage", groups.headers(0, last=True))
    shop.flush()
    shop.change(milk, "on_hand", "increment", 1)
    shop.publish(milk, tea, last=False)
    done = project(shop, postgres)
    assert stock_rows(postgres, shop) == before
    assert done.rows == 1
    deliver(shop, {tea: 1})
    project(shop, postgres)
    assert stock_rows(postgres, shop) == shown_rows(shop)


def test_it_tells_how_it_is(make_shop: Callable[..., Shop], postgres: EmbeddedPostgres) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 5})
    address = f"127.0.0.1:{free_port()}"
    with following(shop, postgres, "--metrics-address", address) as projector:
        agree(postgres, shop, projector)

        def got(path: str) -> httpx.Response:
            return httpx.get(f"http://{address}/{path}", trust_env=False)

        def ready() -> bool:
            answer = got("readyz")
            return (answer.status_code, answer.json()) == (
                200,
                {"ok": True, "partitions": [0, 1, 2, 3], "generation": 1},
            )

        until(ready, "it is ready with all partitions", 60, projector.log)
        counted = f'driftlog_projector_rows_total{{space="{shop.space}"}} 1.0'  # behind the write that shows it
        until(lambda: counted in got("metrics").text, "the row is counted", 60, projector.log)
        assert f'driftlog_projector_lag_records{{space="{shop.space}"}} ' in got("metrics").text


def test_what_was_passed_over_is_told_with_its_address(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres
) -> None:
    shop = make_shop()
    here = partition_of("s1", PARTITIONS)
    deliver(shop, {stock("tea"): 1})
    shop.put(here, document_key(stock("milk")), b"\0garbage", groups.headers(0, last=True))
    shop.flush()
    with following(shop, postgres) as projector:
        agree(postgres, shop, projector)
        deliver(shop, {stock("tea"): 1})
        agree(postgres, shop, projector)
        (line,) = [one for one in projector.told() if one["event"] == "a record is passed over"]
        assert (line["partition"], line["offset"]) == (here, 1)
        assert "milk" in line["key"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            '@space.collection(scope="s", id="i")\nclass StockItem(Document):\n    s: str\n    i: str\n    n: Counter\n'
            '@space.collection(scope="s", id="i")\nclass Stock_item(Document):\n    s: str\n    i: str\n    n: Counter\n',
            "collection Stock_item would be called 'stock_item' in PostgreSQL, as collection StockItem is; rename one of both",
        ),
    ],
)
def test_names_that_collide_are_refused(
    make_shop: Callable[..., Shop], postgres: EmbeddedPostgres, source: str, words: str
) -> None:
    shop = make_shop(source)
    refused = Projector(shop, postgres, "--once")
    assert refused.wait() == 1
    assert refused.log().splitlines()[-1] == f"error: {words}"
    assert ask(postgres, "SELECT FROM pg_namespace WHERE nspname = %s", shop.space) == []
