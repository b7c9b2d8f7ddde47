"""TLS and a user for the embedded servers: a certificate authority of the data folder's own, and the settings file that goes with it.

The authority is made once and kept, so that clients go on trusting it; the servers' certificate is issued anew whenever they start,
so that it never ends while somebody looks. One user, `driftlog`, is let in by SASL/PLAIN, which is safe inside TLS only: there is no
listener without it. All secrets lie in files that only their owner reads. `driftlog.toml` is what every other command is given:

    driftlog broker up --secure
    DRIFTLOG_CONFIG=.../security/driftlog.toml driftlog topics apply --app shop:app

Good for development and tests; the registry knows TLS but no users.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from driftlog_infra.ports import LOOPBACK
from driftlog_schemas.connection import KafkaSettings, RegistrySettings

USER = "driftlog"
_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397
_CLOCK_SLACK = timedelta(hours=1)
"""A certificate counts from a little before now, for clocks that are behind."""


class Security:
    """The secrets and certificates in one folder; made by `ensure`, which any thread may call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._issued = False

    @property
    def exists(self) -> bool:
        """Has this folder been secured?"""
        return self.authority.is_file() and self.password_file.is_file()

    @property
    def authority(self) -> Path:
        """The authority's certificate: what clients trust."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def keystore(self) -> Path:
        """Key and certificate in one file, as Kafka wants them."""
        return self.folder / "server.pem"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def settings_file(self) -> Path:
        return self.folder / "driftlog.toml"

    def ensure(self) -> None:
        """Make what is missing, and once per process the servers' certificate."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.exists:
                write_private(self.password_file, secrets.token_urlsafe(24).encode())
                self._make_authority()
            if not self._issued:
                self._issue()
                self._issued = True

    def kafka(self, bootstrap: str) -> KafkaSettings:
        """How a client is let in by the broker there."""
        return KafkaSettings(
            bootstrap=bootstrap,
            security_protocol="sasl_ssl",
            sasl_mechanism="PLAIN",
            sasl_username=USER,
            sasl_password_file=self.password_file,
            ca_file=self.authority,
        )

    def registry(self, url: str) -> RegistrySettings:
        """How a client reaches the registry there."""
        return RegistrySettings(url=url, ca_file=self.authority)

    def write_settings(
        self, bootstrap: str, registry_url: str | None, postgres: Mapping[str, str] = MappingProxyType({})
    ) -> Path:
        """The settings file for everything that talks to these servers; `postgres` is the table of that name."""
        tables: dict[str, Mapping[str, Any]] = {
            "kafka": self.kafka(bootstrap).model_dump(mode="json", exclude_none=True)
        }
        if registry_url is not None:
            tables["registry"] = self.registry(registry_url).model_dump(mode="json", exclude_none=True)
        if postgres:
            tables["postgres"] = {**postgres, "ca_file": str(self.authority)}
        lines = []
        for table, values in tables.items():
            lines += [
                f"[{table}]",
                *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()),
                "",
            ]
        write_private(self.settings_file, "\n".join(lines).encode())
        return self.settings_file

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named(f"Driftlog embedded servers {secrets.token_hex(4)}")
        signs = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            _certificate(name, name, key.public_key(), _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(signs, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.folder / "ca.key", _private(key))
        write_private(self.authority, made.public_bytes(serialization.Encoding.PEM))

    def _issue(self) -> None:
        authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey), "made by `_make_authority`"
        key = ec.generate_private_key(ec.SECP256R1())
        places = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(LOOPBACK))])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        made = (
            _certificate(_named("localhost"), authority.subject, key.public_key(), _SERVER_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(places, critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        certificate = made.public_bytes(serialization.Encoding.PEM)
        write_private(self.key, _private(key))
        write_private(self.certificate, certificate)
        write_private(self.keystore, _private(key) + certificate)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    begin = datetime.now(UTC) - _CLOCK_SLACK
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes) -> None:
    """Only the owner reads it, from its first byte on."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    draft.replace(path)
