"""The edge agent: a full local replica that takes every write offline and keeps itself in step with the cloud."""

from driftlog_edge.agent import Answer, Call, EdgeAgent, Reading
from driftlog_edge.config import EdgeConfig

__all__ = ["Answer", "Call", "EdgeAgent", "EdgeConfig", "Reading"]
