"""What tables and columns are called, whatever a declaration calls them; and what a change of it comes to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from psycopg import sql

from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.postgres.layout import Stored, as_json, changes, wanted_columns
from driftlog_streams.projections.postgres.names import MAX_BYTES, column_name, require_distinct, shortened, table_name
from driftlog_streams.projections.postgres.settings import PostgresSettings
from driftlog_streams.projections.tables import Kind, Table, TableColumn


def column(name: str, kind: Kind = Kind.INTEGER, *, optional: bool = False) -> TableColumn:
    return TableColumn(name, kind, optional, lambda value: value, None if optional else 0)


def table(*columns: TableColumn, collection: str = "Stock", declared: str = "1") -> Table:
    return Table(collection, "store", "sku", columns, declared)


@pytest.mark.parametrize(
    ("collection", "name"),
    [("Stock", "stock"), ("StockItem", "stock_item"), ("HTTPLog", "http_log"), ("stock", "stock"), ('x"y', 'x"y')],
)
def test_a_table_is_called_as_its_collection(collection: str, name: str) -> None:
    assert table_name(collection) == name


def test_long_names_are_cut_and_stay_distinct() -> None:
    one, other = shortened("é" * 60 + "a"), shortened("é" * 60 + "b")
    assert one != other
    assert len(one.encode()) <= MAX_BYTES and one == shortened("é" * 60 + "a")
    assert shortened("a" * MAX_BYTES) == "a" * MAX_BYTES


def test_names_of_the_systems_columns_give_way() -> None:
    assert column_name("xmin") == "xmin_"
    with pytest.raises(
        SetupProblem, match=r"field Stock\.xmin_ would be called 'xmin_' in PostgreSQL, as field Stock\.xmin is"
    ):
        require_distinct([table(column("xmin"), column("xmin_"))])


@pytest.mark.parametrize("name", ["_offset", "_updated_at"])
def test_a_field_that_would_hide_another_column_is_refused(name: str) -> None:
    with pytest.raises(SetupProblem, match=f"field Stock.{name} would be called") as refused:
        require_distinct([table(column(name))])
    assert refused.value.remedy == "rename one of both"


def said(stored: Mapping[str, Stored], *tables: Table) -> tuple[list[str], bool]:
    found = changes("s", tables, stored)
    return [
        statement.as_string() for statement in found.statements if isinstance(statement, sql.Composed)
    ], found.read_again


def test_the_same_declaration_changes_nothing() -> None:
    one = table(column("n"))
    assert said({"Stock": Stored(wanted_columns(one), "1")}, one) == ([], False)


def test_changes_of_a_declaration() -> None:
    before = {"Stock": Stored(wanted_columns(table(column("n"), column("m"))), "1")}
    statements, again = said(before, table(column("n"), column('k"; DROP', optional=True), declared="2"))
    assert again
    assert statements == [
        'ALTER TABLE "s"."stock" ADD COLUMN "k""; DROP" bigint DEFAULT NULL',
        'ALTER TABLE "s"."stock" ALTER COLUMN "m" DROP NOT NULL',
        'ALTER TABLE "s"."stock" ALTER COLUMN "n" SET DEFAULT 0',
    ]
    assert said(before) == ([], False), "a collection that is gone stays as it was"


@pytest.mark.parametrize(
    "other", [table(column("n", Kind.TEXT), declared="2"), Table("Stock", "shop", "sku", (column("n"),), "2")]
)
def test_what_only_a_rebuild_can_do_is_refused(other: Table) -> None:
    before = {"Stock": Stored(wanted_columns(table(column("n"))), "1")}
    with pytest.raises(SetupProblem) as refused:
        changes("s", [other], before)
    assert "--rebuild" in refused.value.remedy


def test_json_keeps_all_but_nul() -> None:
    assert as_json({"a\0": ["\\u0000", "é\0", 1.5, None]}) == '{"a�":["\\\\u0000","é�",1.5,null]}'


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"url": "postgresql://shop:secret@db/shop"}, "a password stands in it"),
        ({"url": "not an address"}, "it is no address of a PostgreSQL"),
        ({"url": "postgresql://db/shop", "tls": "require", "ca_file": __file__}, "believes any certificate"),
        ({"url": "postgresql://db/shop", "certificate_file": __file__}, "it is missing, and certificate_file is given"),
    ],
)
def test_settings_that_protect_nothing_are_refused(given: dict[str, str], fact: str) -> None:
    with pytest.raises(ValueError, match=fact) as refused:
        PostgresSettings.model_validate(given)
    assert "secret" not in str(refused.value)


def test_a_given_authority_is_believed_and_nobody_else() -> None:
    found = PostgresSettings.model_validate({"url": "postgresql://db/shop", "ca_file": __file__}).client()
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", __file__)
