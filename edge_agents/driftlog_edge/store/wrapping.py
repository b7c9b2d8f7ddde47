"""The keys that wrap a folder's data keys: from a file, the environment, or a command that asks a TPM or a KMS.

A source gives one key as 32 raw bytes, or keys as text, one a line, 64 hexadecimal digits or base64 of 32 bytes. The first wraps; those
below only unwrap, so that a key is replaced by writing the new one above it. A key is named by its fingerprint, which tells nothing about
32 random bytes.

A command is run without a shell, prints to standard output, and has a deadline.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import stat
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import KeyUnusable
from driftlog_edge.programs import ProgramFailed, printed
from driftlog_edge.store.cipher import KEY_BYTES, DataKey

MOST_BYTES = 4096
"""A source that gives more is no source of keys."""
_NONCE_BYTES = 12
_MAKE = "make one: driftlog edge key new --out FILE"


class WrappingKey(NamedTuple):
    """Keeps data keys from whoever has only the folder."""

    secret: bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"driftlog wrapping key" + self.secret).hexdigest()[:16]

    def wrap(self, key: DataKey) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, key.secret, _associated(key.id))

    def unwrap(self, id: bytes, wrapped: bytes) -> DataKey | None:
        """None if it is damaged, or another key's."""
        try:
            secret = AESGCM(self.secret).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _associated(id))
        except (InvalidTag, ValueError):
            return None
        return DataKey(id, secret)


def _associated(id: bytes) -> bytes:
    return b"driftlog data key" + id


async def wrapping_keys(config: EdgeConfig) -> tuple[WrappingKey, ...]:
    """The key that wraps, then those that only unwrap; none where no source is set. Raises `KeyUnusable`."""
    if config.encryption_key is not None:
        return _read(config.encryption_key.get_secret_value().encode(), "encryption_key")
    if config.encryption_key_file is not None:
        return _read(await asyncio.to_thread(_in_file, config), "encryption_key_file")
    if config.encryption_key_command is not None:
        return _read(await _printed(config), "encryption_key_command")
    return ()


def _read(given: bytes, setting: str) -> tuple[WrappingKey, ...]:
    if len(given) == KEY_BYTES:
        return (WrappingKey(given),)
    found: list[WrappingKey] = []
    for line in given.split():
        try:
            secret = (
                bytes.fromhex(line.decode()) if len(line) == 2 * KEY_BYTES else base64.b64decode(line, validate=True)
            )
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            number = len(found) + 1
            raise KeyUnusable(
                f"setting {setting}: key {number} is not {KEY_BYTES} bytes, in hexadecimal digits or base64", _MAKE
            )
        found.append(WrappingKey(secret))
    if not found:
        raise KeyUnusable(f"setting {setting}: there is no key in it", _MAKE)
    return tuple(found)


def _in_file(config: EdgeConfig) -> bytes:
    path = config.encryption_key_file
    assert path is not None, "the source that is set"
    try:
        with path.open("rb") as file:
            loose = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            given = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyUnusable(f"setting encryption_key_file: there is no file {path}", _MAKE) from error
    except OSError as error:
        raise KeyUnusable(
            f"setting encryption_key_file: {path} cannot be read: {error.strerror}", "run as its owner, or name another"
        ) from error
    if loose:
        raise KeyUnusable(f"setting encryption_key_file: {path} can be read by every user", f"chmod 600 {path}")
    return _bounded(given, "encryption_key_file")


async def _printed(config: EdgeConfig) -> bytes:
    assert config.encryption_key_command is not None, "the source that is set"
    try:
        return await printed(config.encryption_key_command, config.encryption_key_seconds, MOST_BYTES)
    except ProgramFailed as error:
        raise KeyUnusable(
            f"setting encryption_key_command: {error}", f"{error.remedy} (encryption_key_seconds says how long)"
        ) from error


def _bounded(given: bytes, setting: str) -> bytes:
    if len(given) > MOST_BYTES:
        raise KeyUnusable(f"setting {setting}: it gives more than {MOST_BYTES} bytes", _MAKE)
    return given
