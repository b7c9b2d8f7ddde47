"""One settings model: where it takes from, what it refuses, and that it tells no secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from driftlog_schemas.connection import (
    RECONNECT_MS,
    REVEAL,
    KafkaSettings,
    RegistrySettings,
    kafka_at,
    registry_at,
)
from driftlog_schemas.errors import BadSetting
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics_admin import TopicsAdmin

SECRET = "s3cr3t-and-long"
SASL: dict[str, Any] = {
    "security_protocol": "sasl_plaintext", "sasl_mechanism": "PLAIN", "sasl_username": "ann", "sasl_password": SECRET,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DRIFTLOG_"):
            monkeypatch.delenv(name)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a password and something like certificates."""
    (tmp_path / "password").write_text(f"{SECRET}\n")
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate at all")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "driftlog.toml"
    path.write_text(text)
    return path


def test_tables_come_from_the_file_the_environment_and_options(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(
        here,
        f'[kafka]\nbootstrap = "file:1"\nsecurity_protocol = "sasl_ssl"\nsasl_mechanism = "SCRAM-SHA-512"\n'
        f'sasl_username = "ann"\nsasl_password_file = "{here}/password"\n[registry]\nurl = "http://file/api"\n'
        '[trust]\nroot = "abc"\n',
    )
    found = ConnectionSettings.load(path)
    assert (found.kafka.bootstrap, found.kafka.password(), found.registry.url) == ("file:1", SECRET, "http://file/api")
    assert found.trust.root == "abc"
    monkeypatch.setenv("DRIFTLOG_KAFKA__SASL_USERNAME", "bob")
    monkeypatch.setenv("DRIFTLOG_REGISTRY__URL", "http://environment")
    monkeypatch.setenv("DRIFTLOG_BOOTSTRAP", "environment:1")
    found = ConnectionSettings.load(path)
    assert (found.kafka.bootstrap, found.kafka.sasl_username) == ("environment:1", "bob")
    assert found.kafka.sasl_mechanism == "SCRAM-SHA-512"
    assert found.registry.url == "http://environment"
    found = ConnectionSettings.load(path, bootstrap="option:1", registry="http://option")
    assert (found.kafka.bootstrap, found.registry.url) == ("option:1", "http://option")


def test_the_short_forms_mean_the_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'bootstrap = "file:1"\nregistry = "http://file"\n')
    assert ConnectionSettings.load(path).kafka == KafkaSettings(bootstrap="file:1")
    assert ConnectionSettings.load(path).registry == RegistrySettings(url="http://file")
    monkeypatch.setenv("DRIFTLOG_REGISTRY", "http://environment")
    assert ConnectionSettings.load(path).registry.url == "http://environment"
    assert kafka_at("a:1").client()["bootstrap.servers"] == "a:1"
    assert registry_at("http://a").user() is None


@pytest.mark.parametrize(
    ("table", "given", "field", "remedy"),
    [
        ("kafka", {"security_protocol": "tls"}, "kafka.security_protocol", ""),
        ("kafka", {"ca_file": "ca.pem"}, "kafka.ca_file", "ssl or sasl_ssl"),
        ("kafka", {"sasl_username": "ann"}, "kafka.sasl_username", "sasl_ssl"),
        ("kafka", {"sasl_password": SECRET}, "kafka.sasl_password", "sasl_ssl"),
        ("kafka", {**SASL, "sasl_mechanism": None}, "kafka.sasl_mechanism", "give it"),
        ("kafka", {**SASL, "sasl_mechanism": "GSSAPI"}, "kafka.sasl_mechanism", ""),
        ("kafka", {**SASL, "sasl_username": None}, "kafka.sasl_username", "give it"),
        ("kafka", {**SASL, "sasl_password": None}, "kafka.sasl_password_file", "write it to a file"),
        ("kafka", {**SASL, "sasl_password_file": "password"}, "kafka.sasl_password_file", "one place"),
        ("kafka", {"security_protocol": "ssl", "certificate_file": "cert.pem"}, "kafka.key_file", "give both"),
        ("kafka", {"security_protocol": "ssl", "key_file": "key.pem"}, "kafka.certificate_file", "give both"),
        ("kafka", {"security_protocol": "ssl", "ca_file": "nowhere.pem"}, "kafka.ca_file", "name one"),
        ("kafka", {"bootstrap": ""}, "kafka.bootstrap", ""),
        ("kafka", {"sasl_pasword": SECRET}, "kafka.sasl_pasword", ""),
        ("registry", {"url": "http://a", "ca_file": "ca.pem"}, "registry.ca_file", "https:"),
        ("registry", {"username": "ann"}, "registry.password_file", "write it to a file"),
        ("registry", {"password": SECRET}, "registry.username", "give both"),
        ("registry", {"url": f"http://ann:{SECRET}@a", "username": "bob"}, "registry.username", "one place"),
    ],
)
def test_what_does_not_fit_is_named_with_the_way_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, table: str, given: dict[str, str | None], field: str, remedy: str
) -> None:
    monkeypatch.chdir(here)
    lines = "".join(f'{name} = "{value}"\n' for name, value in given.items() if value is not None)
    with pytest.raises(BadSetting) as caught:
        ConnectionSettings.load(written(here, f"[{table}]\n{lines}"))
    assert str(caught.value).startswith(f"setting {field}:")
    assert remedy in caught.value.remedy
    assert caught.value.remedy
    assert SECRET not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize("field", ["ca_file", "certificate_file"])
def test_what_is_no_certificate_is_named(here: Path, field: str) -> None:
    files = {"ca_file": here / "ca.pem"} if field == "ca_file" else {}
    pair = {"certificate_file": here / "cert.pem", "key_file": here / "key.pem"} if not files else {}
    settings = KafkaSettings(security_protocol="ssl", **files, **pair)
    with pytest.raises(BadSetting, match=f"kafka.{field}"):
        settings.tls()


@pytest.mark.parametrize("url", ["https://registry", "HTTPS://registry", "http://registry"])
def test_a_registry_is_verified_wherever_it_has_tls(url: str) -> None:
    assert RegistrySettings(url=url).tls() is (url != "http://registry")


def test_no_secret_is_shown_anywhere(here: Path) -> None:
    kafka = KafkaSettings(**SASL)
    registry = RegistrySettings(url=f"http://ann:{SECRET}@registry:1/api")
    settings = ConnectionSettings(kafka=kafka, registry=registry)
    texts = [str(settings), repr(settings), settings.model_dump_json(), str(settings.model_dump())]
    registry_cache = CachedRegistry(registry.model_copy(update={"url": "http://127.0.0.1:1"}), here / "cache")
    for failing in (
        lambda: registry_cache.id_of('{"type": "record", "namespace": "a", "name": "B", "fields": []}'),
        lambda: TopicsAdmin(kafka.model_copy(update={"bootstrap": "127.0.0.1:1"}), timeout=0.3).partition_counts(),
    ):
        with pytest.raises(Exception) as caught:  # whichever it is: what does it say?
            failing()
        error: BaseException | None = caught.value
        while error is not None:
            texts += [str(error), repr(error), str(getattr(error, "remedy", ""))]
            error = error.__cause__
    assert not [text for text in texts if SECRET in text]


def test_a_child_process_is_told_the_secrets(here: Path) -> None:
    settings = ConnectionSettings(kafka=KafkaSettings(**SASL))
    told = ConnectionSettings.model_validate_json(settings.model_dump_json(context=REVEAL))
    assert told == settings
    assert told.kafka.password() == SECRET


def test_the_user_in_a_url_is_taken_out_of_it() -> None:
    found = RegistrySettings(url="https://ann:pass%20word@registry:1/api")
    assert (found.url, found.user()) == ("https://registry:1/api", ("ann", "pass word"))


def test_a_password_file_that_went_away_is_named(here: Path) -> None:
    settings = KafkaSettings(**{**SASL, "sasl_password": None, "sasl_password_file": here / "password"})
    (here / "password").unlink()
    with pytest.raises(BadSetting, match=r"kafka\.sasl_password_file: .* cannot be read"):
        settings.client()


def test_librdkafka_is_told_everything(here: Path) -> None:
    settings = KafkaSettings(
        **{**SASL, "security_protocol": "sasl_ssl"},
        bootstrap="a:1,b:2",
        ca_file=here / "ca.pem",
        certificate_file=here / "cert.pem",
        key_file=here / "key.pem",
    )
    assert settings.client() == {
        "bootstrap.servers": "a:1,b:2",
        "reconnect.backoff.ms": RECONNECT_MS,
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ann",
        "sasl.password": SECRET,
        "ssl.ca.location": str(here / "ca.pem"),
        "ssl.certificate.location": str(here / "cert.pem"),
        "ssl.key.location": str(here / "key.pem"),
    }
