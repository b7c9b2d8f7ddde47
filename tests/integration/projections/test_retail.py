"""The retail example ends in SQL: real agents and workers, a price that two people change, and the report over all stores."""

from __future__ import annotations

import os
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from driftlog.demo.books import report
from driftlog.testing.cluster import Cluster
from driftlog.testing.servers import RunningBroker
from driftlog_infra import EmbeddedPostgres
from tests.copies import ended
from tests.load.waiting import until

RETAIL = Path(__file__).parents[3] / "examples" / "retail"


async def test_the_report_over_all_stores(
    apart: RunningBroker, registry_url: str, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    one, two = (f"store-{uuid.uuid4().hex[:6]}" for _ in range(2))
    with Cluster("shop:app", apart.bootstrap, registry_url, tmp_path, RETAIL) as cluster:
        async with cluster.agent("till", scopes=[one]) as till, cluster.agent("office", scopes=[one, two]) as office:
            await till.run("receive", store=one, sku="tea", qty=10, name="Green tea", wait="merged", seconds=90)
            await office.run("receive", store=two, sku="tea", qty=4, wait="merged", seconds=90)
            await office.run("set_price", store=two, sku="tea", price="2.50", wait="merged", seconds=90)
            await office.run("tag", store=two, sku="tea", add="offer", wait="merged", seconds=90)
            await office.read("Stock", one, "tea", consistency="strong", seconds=60)
            await till.offline()
            await till.run("set_price", store=one, sku="tea", price="4.20")
            await till.run("sell", store=one, sku="tea", qty=3)
            await office.run("set_price", store=one, sku="tea", price="4.90", wait="merged", seconds=90)
            await till.online()
            await till.run("sell", store=one, sku="tea", qty=1, wait="merged", seconds=90)
        found = _projected(cluster, postgres, tmp_path, (one, two))
    (price,) = {row[2] for row in found[2] if row[0] == one}
    assert price in (Decimal("4.2"), Decimal("4.9"))
    wanted = [(one, 1, 6, 6 * price), (two, 1, 4, Decimal("10.0"))]
    assert [row for row in found[0] if row[0] in (one, two)] == sorted(wanted)
    assert [row for row in found[3] if row[0] in (one, two)] == [(two, "tea", Decimal("2.5"))]


def _projected(
    cluster: Cluster, postgres: EmbeddedPostgres, folder: Path, stores: tuple[str, str]
) -> list[list[tuple[Any, ...]]]:
    """The report's answers, once the conflict is in the table."""
    words = [
        *("project", "--once", "--app", "shop:app", "--postgres", postgres.url),
        *(
            "--bootstrap",
            cluster.bootstrap,
            "--registry",
            cluster.registry,
            "--schema-cache",
            str(folder / "own-schemas"),
        ),
    ]
    settings = folder / "postgres.toml"
    settings.write_text(f"[postgres]\npassword_file = '{postgres.password_file}'\n")
    answers: list[list[tuple[Any, ...]]] = []

    def there() -> bool:
        done = ended([*words, "--config", str(settings)], RETAIL, os.environ)
        assert done.returncode == 0, done.stderr
        with psycopg.connect(postgres.conninfo) as connection:
            answers[:] = [connection.execute(query.encode()).fetchall() for _, query in report(RETAIL / "report.sql")]
        return any(row[0] == stores[0] for row in answers[2])

    until(there, "the conflict is in the report", 90, lambda: str(answers))
    return answers
