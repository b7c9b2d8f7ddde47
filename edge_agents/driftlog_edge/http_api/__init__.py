"""The agent over HTTP: JSON, server-sent events, problem+json."""

from driftlog_edge.http_api.app import build

__all__ = ["build"]
