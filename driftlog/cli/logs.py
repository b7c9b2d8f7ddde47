"""How every program of the command line logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from driftlog.cli.texts import MOST_ON_A_PAGE, printable
from driftlog_schemas.left_out import without

# structlog imports rich to draw tracebacks with, which are texts here: 5 MB of each agent and worker. So this comes before whoever imports structlog.
with without("rich"):
    import structlog


def configure_logs() -> None:
    """Log lines go to standard error, for standard output is for results: coloured for who looks, JSON for who collects."""
    looking = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _for_a_terminal,
            structlog.dev.ConsoleRenderer() if looking else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _for_a_terminal(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of the log, in which anybody's words may stand."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = printable(value, MOST_ON_A_PAGE)
    return line
