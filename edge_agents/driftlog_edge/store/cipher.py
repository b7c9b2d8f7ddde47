"""Values as they lie on the disk: AES-256-GCM, each bound to its place.

    version (1) | id of the data key (4) | nonce (12) | ciphertext, as long as the value | tag (16)

The family and the key are authenticated with a value, so it opens only where it was written: neither a changed byte nor a value from another
place or another folder passes for what was there.

With one key a nonce may serve once. Each `Cipher` draws where it begins, of 2^96 places, and counts on from there; nothing is kept, for
what a folder keeps is repeated by its copies. Two runs of n values each meet with a chance of about 2n / 2^96. A key that is opened every second
for a year (2^25 times) and seals 10,000 values a second (2^38) stays below 2^25 * 2^38 / 2^96 = 2^-33, which is less than the 2^-32 that
NIST SP 800-38D asks for; and it is replaced after a year (`rotation`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from driftlog_edge.errors import Damaged
from driftlog_edge.ports import Family

KEY_BYTES = 32
ID_BYTES = 4
_VERSION = b"\x01"
_HEAD_BYTES = len(_VERSION) + ID_BYTES
_NONCE_BYTES = 12
_BODY = _HEAD_BYTES + _NONCE_BYTES
_NONCES = (1 << 8 * _NONCE_BYTES) - 1
_PLACES = {family: family.value.encode() + b"\x00" for family in Family}


class DataKey(NamedTuple):
    """What values are sealed with."""

    id: bytes
    """Drawn, not counted: two copies of a folder that go on apart give no two keys one name."""
    secret: bytes

    @classmethod
    def draw(cls) -> DataKey:
        return cls(os.urandom(ID_BYTES), os.urandom(KEY_BYTES))


class Cipher:
    """Seals with the first of its keys, opens with any."""

    def __init__(self, keys: Sequence[DataKey]) -> None:
        self._keys = {_VERSION + key.id: AESGCM(key.secret) for key in keys}
        self._head = _VERSION + keys[0].id
        self._newest = self._keys[self._head]
        self._nonces = count(int.from_bytes(os.urandom(_NONCE_BYTES)))

    def seal(self, family: Family, key: bytes, value: bytes) -> bytes:
        nonce = (next(self._nonces) & _NONCES).to_bytes(_NONCE_BYTES)
        return self._head + nonce + self._newest.encrypt(nonce, value, _PLACES[family] + key)

    def open(self, family: Family, key: bytes, sealed: bytes) -> bytes:
        """Raises `Damaged`."""
        head = sealed[:_HEAD_BYTES]
        try:
            return self._keys[head].decrypt(sealed[_HEAD_BYTES:_BODY], sealed[_BODY:], _PLACES[family] + key)
        except KeyError:
            why = f"it is under data key {head[1:].hex()}, which this folder does not have"
        except (InvalidTag, ValueError):  # a changed byte, another place; too short to be one
            why = "it does not authenticate"
        raise Damaged(
            f"the value under {key!r} in {family.value} is not what was written there: {why}",
            "put the whole folder back from a copy, or give an empty data_dir: the cloud has what it confirmed",
        )

    def current(self, sealed: bytes) -> bool:
        """Is it under the key that seals now?"""
        return sealed.startswith(self._head)
