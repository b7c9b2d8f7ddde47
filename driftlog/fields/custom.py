"""The app's own merge function, made safe to run in the cloud.

It is somebody's code, and it runs on values that nobody has foreseen. If it fails, or gives what is not of the declared type, the
later of the two values stands instead, on every replica alike, and the failure is logged: a document whose merge
fails must not stop the merging of all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from driftlog.values import ValueType
from driftlog_crdt import Plain

log = structlog.get_logger()


def guarded_merge(
    merge: Callable[[Any, Any, Any], Any], value: ValueType[Any], place: str
) -> Callable[[Plain, Plain, Plain], Plain]:
    """`merge`, on plain values. `right` is the later one."""

    def merged(base: Plain, left: Plain, right: Plain) -> Plain:
        try:
            return value.to_plain(merge(*map(value.from_plain, (base, left, right))), place)
        except Exception as error:  # noqa: BLE001  # the app's function may raise anything
            log.error("custom.merge.failed", field=place, error=repr(error), base=base, left=left, right=right)
            return right

    return merged
