"""A public key as text: how it is shown, pinned in settings, and written into files."""

from __future__ import annotations

import base64
import binascii

KEY_BYTES = 32


def key_text(public: bytes) -> str:
    """Base64 of a raw Ed25519 public key."""
    return base64.b64encode(public).decode()


def parse_key(text: str) -> bytes:
    """Inverse of `key_text`. Raises ValueError."""
    try:
        found = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"no base64: {error}") from error
    if len(found) != KEY_BYTES:
        raise ValueError(f"{len(found)} bytes, a public key has {KEY_BYTES}")
    return found
