"""What an op on a text or list carries: a Yjs update of one edit, as base64 text."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from driftlog_crdt.plain import Plain
from driftlog_crdt.yjs_edit import Edit, read_edit


def carried(update: bytes) -> str:
    """The update as an op carries it."""
    return base64.b64encode(update).decode()


def edit_in(value: Plain) -> tuple[bytes, Edit]:
    """The Yjs update that an op carries, and what it says. Raises ValueError for what is neither."""
    if type(value) is not str:
        raise ValueError("not a text")
    return _read(value)


@lru_cache(maxsize=256)
def _read(value: str) -> tuple[bytes, Edit]:
    """Remembered for a while, because an op is checked and soon applied, here and in other views."""
    try:
        update = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    return update, read_edit(update)
