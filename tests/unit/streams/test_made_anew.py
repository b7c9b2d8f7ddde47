"""A worker that has kept nothing of what the schema registry said does not start on one that cannot read what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog_schemas import avro_files
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.devices import DeviceKey, enrolled
from driftlog_schemas.errors import RegistryMadeAnew, RegistryUnreachable
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_streams.process import worker
from driftlog_streams.settings import WorkerSettings
from tests.unit.schemas.counting_registry import Counting
from tests.unit.schemas.odd_registry import OddRegistry
from tests.unit.streams.cloud import SPACE

NOW = 1_790_000_000_000


@pytest.fixture
def server() -> Iterator[OddRegistry]:
    with OddRegistry(Counting()) as running:
        yield running


@pytest.fixture
def settings(server: OddRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """Of a worker with an empty folder; the operator's line was written when the registry was another one."""
    root = RootKey.create()
    written = RecordCodecs(CachedRegistry(server.url, tmp_path / "operator", register=True))
    device = written.encode_device(enrolled("store-1", DeviceKey("k", bytes(32), NOW)))
    record = written.encode_signed_line(OperatorKey.create(root, NOW).sign(device))

    def devices_now(_: object, codecs: RecordCodecs, __: object) -> DeviceLines:
        lines = DeviceLines(codecs, root.public)
        lines.take(b"store-1", record, NOW)
        return lines

    monkeypatch.setattr(worker, "devices_now", devices_now)
    return WorkerSettings(app="shop:app", registry=server.url, data_dir=tmp_path / "worker", wait=0)


def test_it_starts_where_the_operators_lines_can_be_read(server: OddRegistry, settings: WorkerSettings) -> None:
    worker.check_schemas([SPACE], settings)
    assert isinstance(server.answer, Counting)
    assert avro_files.text("signed_batch") in server.answer.texts


def test_an_empty_registry_is_left_empty(server: OddRegistry, settings: WorkerSettings) -> None:
    server.answer = anew = Counting()
    with pytest.raises(
        RegistryUnreachable, match=r"was made anew, or is another one: of 1 lines of driftlog\.devices"
    ) as caught:
        worker.check_schemas([SPACE], settings)
    assert "docs/lost_topics.md" in caught.value.remedy
    assert anew.texts == []


def test_a_registry_that_was_filled_in_another_order_gets_nothing(
    server: OddRegistry, settings: WorkerSettings
) -> None:
    server.answer = anew = Counting()
    anew.texts += [avro_files.text("heartbeat"), avro_files.text("conflict"), avro_files.text("farewell")]
    with pytest.raises(RegistryMadeAnew):
        worker.require_readable(settings)
    assert len(anew.texts) == 3
