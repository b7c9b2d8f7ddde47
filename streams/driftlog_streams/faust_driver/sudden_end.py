"""How a worker ends when going on would break a law: at once.

Nothing that a worker holds needs saving: what is not acknowledged is read again, what is stored was published. So there is no
orderly crash, which would have to wait for acknowledgements that never come; the supervisor starts the next life.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError

from driftlog_schemas.errors import ContractError
from driftlog_streams.errors import Exit, WorkerError, exit_of

log = structlog.get_logger()


def die(error: BaseException) -> NoReturn:
    """Say why and end the process, now."""
    code = Exit.OUTAGE if _nobody_answers(error) else exit_of(error)
    foreseen = isinstance(error, (ContractError, WorkerError))
    say = log.info if code is Exit.GENERATION else log.critical  # an operator's own doing wakes nobody at night
    say(
        "worker ends",
        reason=f"{type(error).__name__}: {error}",
        remedy=getattr(error, "remedy", ""),
        exit_code=int(code),
        exc_info=None if foreseen else error,
    )
    _exit(code)


def _nobody_answers(error: BaseException) -> bool:
    """Does Faust's client say so? What is of the group's membership is not of that kind."""
    return isinstance(error, KafkaTimeoutError) or (isinstance(error, KafkaError) and error.retriable)


def leave() -> NoReturn:
    """End the process, now, as it was asked to."""
    log.info("worker stops", reason="it was told to, and owns no partition")
    _exit(Exit.STOPPED)


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
