"""The edge agent: a full local replica that takes every write offline and keeps itself in step with the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftlog_edge.agent import EdgeAgent
    from driftlog_edge.asking.answers import Answer, Call, Reading
    from driftlog_edge.config import EdgeConfig

__all__ = ["Answer", "Call", "EdgeAgent", "EdgeConfig", "Reading"]


def __getattr__(name: str) -> Any:
    # A client knows the answers and the errors of an agent, and has none of what it takes to be one.
    match name:
        case "EdgeAgent":
            from driftlog_edge.agent import EdgeAgent

            return EdgeAgent
        case "EdgeConfig":
            from driftlog_edge.config import EdgeConfig

            return EdgeConfig
        case "Answer" | "Call" | "Reading":
            from driftlog_edge.asking import answers

            return getattr(answers, name)
    raise AttributeError(f"module 'driftlog_edge' has no attribute {name!r}")
