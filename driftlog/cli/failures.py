"""What of a failure a person is told: the fact and the next step, on one line, and an exit code. Whatever has none of these is a defect."""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka import KafkaException

from driftlog.errors import DeclarationError
from driftlog_crdt import AlgebraError
from driftlog_schemas.contract import InvalidInput, Refused
from driftlog_schemas.errors import ContractError


class Failure(NamedTuple):
    """How a command ends that could not do what it was asked."""

    fact: str
    remedy: str = ""
    code: int = 1

    @property
    def line(self) -> str:
        """As it is told."""
        return f"error: {' '.join(self.fact.split())}" + (f"; {self.remedy}" if self.remedy else "")


def failure_of(error: Exception) -> Failure | None:
    """What the project's own errors say, which carry fact and remedy; None of a defect, which stays loud."""
    match error:
        case ContractError() | DeclarationError() | InvalidInput() | Refused() | AlgebraError():
            return Failure(str(error), getattr(error, "remedy", ""))
        case KafkaException():
            return Failure(f"the Kafka broker refuses: {error.args[0]}", "see the broker's log")
        case RuntimeError() if (remedy := getattr(error, "remedy", None)) is not None:
            return Failure(str(error), remedy, getattr(error, "exit_code", 1))
    return None


def misuse(error: Any) -> str:
    """What the parser says of a wrong call, as one line. There are two parsers, and their errors are alike."""
    line = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx
    return f"error: {line}; see `{'driftlog' if context is None else context.command_path} --help`"
