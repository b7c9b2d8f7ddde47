from __future__ import annotations

import pytest

from driftlog_edge.link import kafka_asker, kafka_rim
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Admin, Consumer, Producer


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker in memory, with the rim's clients on it."""
    made = Broker()
    monkeypatch.setattr(kafka_rim, "Producer", lambda config: Producer(made, config))
    monkeypatch.setattr(kafka_rim, "Consumer", lambda config: Consumer(made, config))
    monkeypatch.setattr(kafka_asker, "AdminClient", lambda config: Admin(made, config))
    return made
