"""Who may say who may write: the root key, the operator's key that it certifies, and the files they are kept in.

The registry's topic can be written by anybody who reaches the broker; what is believed of it is signed. Two keys, because they are
used differently: the root signs a certificate once in a year or two and can lie in a safe, the operator's key signs each line. Its
public half, the root's, is what workers and devices are told (*pinned*).

A certificate counts for a time, and has a *generation*. Rotating makes the next generation, and its certificate says which
generation is the *oldest* that still counts: so a stolen operator's key is worth nothing from the moment a reader has met the
next one's word, without any list to be fetched.

Source: RFC 8032 (Ed25519).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.signing import verify

DAY_MS = 24 * 60 * 60 * 1000
VALID_MS = 2 * 365 * DAY_MS
"""How long an operator's key counts."""
WARN_MS = 60 * DAY_MS
"""How long before its end `driftlog doctor` speaks of it."""
CLOCK_SLACK_MS = 60 * 60 * 1000
"""A certificate counts from a little before it was made, for clocks that are behind."""
_FACTS = struct.Struct(">32s32sqqqq")
_CERTIFIES = b"driftlog operator certificate 1\n"
_SIGNS = b"driftlog device line 1\n"
"""What a signature is for stands before what is signed, so that none can be passed off as another."""


class Certificate(NamedTuple):
    """The root's word for an operator's key."""

    root: bytes
    public: bytes
    generation: int
    oldest: int
    """The oldest generation that still counts."""
    from_ms: int
    until_ms: int
    signature: bytes = b""

    def facts(self) -> bytes:
        """What the root signs."""
        return _CERTIFIES + _FACTS.pack(*self[:6])

    def genuine(self) -> bool:
        """Is it signed by the root that it names?"""
        return verify(self.root, self.signature, self.facts())

    def counts_at(self, moment_ms: int) -> bool:
        return self.from_ms <= moment_ms < self.until_ms


class SignedLine(NamedTuple):
    """A record of the device registry: the bytes of a line as they were signed, by whom, and the root's word for that."""

    body: bytes
    certificate: Certificate
    signature: bytes

    def genuine(self) -> bool:
        """Is the body signed by the key that the certificate names? The certificate is the caller's to judge."""
        return verify(self.certificate.public, self.signature, _SIGNS + self.body)


@dataclass(frozen=True)
class RootKey:
    """Certifies operators."""

    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls) -> RootKey:
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def certify(self, public: bytes, generation: int, now_ms: int, *, oldest: int | None = None) -> Certificate:
        """The word for an operator's key; generations before `oldest` (its own, unless said) count no more."""
        begin = now_ms - CLOCK_SLACK_MS
        plain = Certificate(
            self.public, public, generation, generation if oldest is None else oldest, begin, now_ms + VALID_MS
        )
        return plain._replace(signature=self.key.sign(plain.facts()))


@dataclass(frozen=True)
class OperatorKey:
    """Signs lines of the registry."""

    key: Ed25519PrivateKey = field(repr=False)
    certificate: Certificate

    @classmethod
    def create(cls, root: RootKey, now_ms: int, generation: int = 1, *, oldest: int | None = None) -> OperatorKey:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        return cls(key, root.certify(public, generation, now_ms, oldest=oldest))

    def sign(self, body: bytes) -> SignedLine:
        return SignedLine(body, self.certificate, self.key.sign(_SIGNS + body))
