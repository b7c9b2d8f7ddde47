"""What a worker says, on standard error: for a person at a terminal as readable lines, for a machine as JSON, one object a line.

Faust, mode and aiokafka log through `logging`; what they say goes the same way, so that every line of a log is of one kind.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import structlog


def configure_logs(level: str, **facts: str) -> None:
    """One line per event, each with these facts."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    for_people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            lambda logger, name, event: {**facts, "pid": os.getpid(), **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
            if for_people
            else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class JsonLines(logging.Formatter):
    """A record of the standard library's logging as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "pid": record.process,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "logger": record.name,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def library_logs() -> dict[str, Any]:
    """For `logging.config`: warnings and worse of the libraries, on standard error."""
    lines = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": lines if sys.stderr.isatty() else {"()": JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }
