"""The secrets of embedded servers: made once, kept by their owner, good for the clients that are told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from driftlog_infra import local
from driftlog_infra.security import Security
from driftlog_schemas.settings import ConnectionSettings


@pytest.fixture
def security(tmp_path: Path) -> Security:
    made = Security(tmp_path / "security")
    made.ensure()
    return made


def test_the_settings_file_says_how_to_get_in(security: Security) -> None:
    found = ConnectionSettings.load(security.write_settings("127.0.0.1:1", "https://127.0.0.1:2/api"))
    assert found.kafka == security.kafka("127.0.0.1:1")
    assert found.registry == security.registry("https://127.0.0.1:2/api")
    assert found.kafka.password() == security.password_file.read_text()
    assert found.kafka.password() not in security.settings_file.read_text()


def test_the_servers_certificate_is_the_authoritys_and_for_loopback(security: Security) -> None:
    authority = x509.load_pem_x509_certificate(security.authority.read_bytes())
    issued = x509.load_pem_x509_certificate(security.certificate.read_bytes())
    issued.verify_directly_issued_by(authority)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_another_start_keeps_what_clients_trust_and_issues_anew(security: Security) -> None:
    before = {path.name: path.read_bytes() for path in security.folder.iterdir()}
    Security(security.folder).ensure()
    after = {path.name: path.read_bytes() for path in security.folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"server.crt", "server.key", "server.pem"}


def test_a_folder_that_was_secured_stays_so(tmp_path: Path) -> None:
    assert [server.security for server in local.servers(tmp_path, 0, 0, detached=True)] == [None, None]
    local.security_of(tmp_path).ensure()
    for server in local.servers(tmp_path, 0, 0, detached=True):
        assert server.security is not None
        assert server.security.exists
