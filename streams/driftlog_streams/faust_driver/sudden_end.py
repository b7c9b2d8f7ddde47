"""How a worker ends when going on would break a law: at once.

Nothing that a worker holds needs saving: what is not acknowledged is read again, what is stored was published. So there is no
orderly crash, which would have to wait for acknowledgements that never come; the supervisor starts the next life.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import structlog

from driftlog_streams.errors import OUTAGE_EXIT, outage

log = structlog.get_logger()

FATAL_EXIT = 70


def die(error: BaseException, code: int = FATAL_EXIT) -> NoReturn:
    """Say why and end the process, now."""
    code = OUTAGE_EXIT if outage(error) else code
    remedy = getattr(error, "remedy", "")
    log.critical("worker ends", reason=f"{type(error).__name__}: {error}", remedy=remedy, exit_code=code)
    _exit(code)


def leave() -> NoReturn:
    """End the process, now, as it was asked to."""
    log.info("worker stops", reason="it was told to, and owns no partition")
    _exit(0)


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
