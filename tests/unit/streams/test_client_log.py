"""What Kafka's client says by itself stands in the log as everything else does, and not without end."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from driftlog_streams.telling import client_log
from driftlog_streams.telling.client_log import ERRORS_TOLD, MOST, ClientLog


def said(client: int, text: str, took_ms: int = 0) -> logging.LogRecord:
    text = f"FAIL [rdkafka#consumer-{client}] [thrd:broker]: {text} (after {took_ms}ms in state CONNECT)"
    return logging.LogRecord("librdkafka", logging.ERROR, "", 0, text, (), None)


def test_a_client_without_a_broker_says_so_in_our_log_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    fresh = client_log._client_log()  # it has said nothing yet
    client = Producer({"bootstrap.servers": "127.0.0.1:1", **ERRORS_TOLD, "logger": fresh})
    end = time.monotonic() + 60
    with capture_logs() as lines:
        while not lines and time.monotonic() < end:
            client.poll(0.05)
    assert lines[0]["event"] == "the Kafka client says" and "127.0.0.1:1" in lines[0]["said"]
    assert "FAIL" not in capfd.readouterr().err


def test_each_thing_is_said_once_in_a_while_whichever_client_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    told, now = ClientLog(), 100.0
    monkeypatch.setattr(client_log, "time", SimpleNamespace(monotonic=lambda: now))
    with capture_logs() as lines:
        for client in range(3):
            told.emit(said(client, "connection refused", took_ms=client))
        told.emit(said(0, "certificate verify failed"))
        assert [line["said"].count("refused") for line in lines] == [1, 0]
        now += client_log.AGAIN_SECONDS
        told.emit(said(0, "connection refused"))
    assert len(lines) == 3


def test_what_is_remembered_of_it_is_bounded() -> None:
    told = ClientLog()
    for number in range(3 * MOST):
        told.emit(said(0, f"failure {number}"))
    assert len(told._said) <= MOST
