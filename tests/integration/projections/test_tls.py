"""PostgreSQL behind TLS: the projector believes the authority that it is given, and says of everything else what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftlog_infra import EmbeddedPostgres
from driftlog_infra.security import Security
from driftlog_streams.errors import SetupProblem
from driftlog_streams.projections.postgres.database import connect
from driftlog_streams.projections.postgres.settings import PostgresSettings
from tests.integration.projections.shop import Projector, Shop, deliver, shown_rows, stock, stock_rows

Given = dict[str, Any]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One that lets nobody in without TLS, with a certificate of an authority that is made here."""
    with EmbeddedPostgres(security=Security(tmp_path_factory.mktemp("security"))) as server:
        yield server


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Security:
    """Another authority."""
    made = Security(tmp_path_factory.mktemp("stranger"))
    made.ensure()
    return made


def authority(server: EmbeddedPostgres) -> Path:
    assert server.security is not None
    return server.security.authority


def settings(server: EmbeddedPostgres, **given: Any) -> PostgresSettings:
    return PostgresSettings(**{"url": server.url, "password_file": server.password_file, **given})


def test_it_is_let_in_by_the_authority_alone_or_by_encryption_alone(secured: EmbeddedPostgres) -> None:
    for given in ({"ca_file": authority(secured)}, {"tls": "require"}):
        with connect(settings(secured, **given)) as connection:
            found = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
            assert found == (True,)


@pytest.mark.parametrize(
    ("given", "fact", "remedy"),
    [
        ({"tls": "disable"}, "no encryption", "ca_file"),
        ({"tls": "verify-full"}, "does not exist", "postgres.ca_file"),
        ({"password_file": None}, "no password supplied", "check user, password"),
    ],
    ids=["plain", "nobody to believe", "no password"],
)
def test_who_is_not_let_in_is_told_what_to_do(secured: EmbeddedPostgres, given: Given, fact: str, remedy: str) -> None:
    whole = given if "tls" in given else {**given, "ca_file": authority(secured)}
    with pytest.raises(SetupProblem, match=fact) as refused:
        connect(settings(secured, **whole))
    assert remedy in refused.value.remedy


def test_another_authority_and_another_name_are_not_believed(secured: EmbeddedPostgres, stranger: Security) -> None:
    with pytest.raises(SetupProblem, match=r"certificate verify failed") as unknown:
        connect(settings(secured, ca_file=stranger.authority))
    assert "postgres.ca_file must hold the authority" in unknown.value.remedy
    elsewhere = f"host=db.example hostaddr=127.0.0.1 port={secured.port} user=driftlog dbname=postgres"
    with pytest.raises(SetupProblem, match=r"does not match host name") as another:
        connect(settings(secured, url=elsewhere, ca_file=authority(secured)))
    assert "verify-ca" in another.value.remedy
    with connect(settings(secured, url=elsewhere, ca_file=authority(secured), tls="verify-ca")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_without_tls_is_told_apart_from_one_that_is_away(
    postgres: EmbeddedPostgres, stranger: Security
) -> None:
    with pytest.raises(SetupProblem, match=r"does not support SSL") as plain:
        connect(settings(postgres, ca_file=stranger.authority))
    assert 'postgres.tls = "disable"' in plain.value.remedy


def test_a_space_is_projected_through_tls(
    make_shop: Callable[..., Shop], secured: EmbeddedPostgres, stranger: Security
) -> None:
    shop = make_shop()
    deliver(shop, {stock("tea"): 3})
    config = shop.folder / "postgres.toml"
    config.write_text(f"[postgres]\nca_file = '{stranger.authority}'\n")
    refused = Projector(shop, secured, "--once", "--config", str(config))
    assert refused.wait() == 1
    assert "certificate verify failed" in refused.log() and "postgres.ca_file" in refused.log()
    config.write_text(f"[postgres]\nca_file = '{authority(secured)}'\n")
    done = Projector(shop, secured, "--once", "--config", str(config))
    assert done.wait() == 0, done.log()
    assert stock_rows(secured, shop) == shown_rows(shop)
