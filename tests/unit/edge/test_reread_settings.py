"""SIGHUP: the settings file is read again, as a whole or not at all, and what cannot change while the agent runs is named."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog.client.place import TokenAuth
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_infra.ports import free_port
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.settings import KafkaSettings
from driftlog_schemas.signing import Identity
from tests.copies import driftlog_copied
from tests.load.waiting import until
from tests.unit.edge.test_settings_change import logs

__all__ = ["logs"]
ROOT = Path(__file__).parents[3]


class Process:
    """An agent with a settings file."""

    def __init__(self, folder: Path, *, file: bool = True) -> None:
        Identity.create("store-1").save(folder / "id.json")
        self.folder, self.port, self.file = folder, free_port(), folder / "edge.toml"
        self.write()
        self.log = folder / "log"
        given = ["--config", str(self.file)]
        if not file:
            given = ["--data-dir", "replica", "--identity", "id.json", "--scope", "s1", "--http-port", str(self.port)]
            given += ["--bootstrap", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"]
        words = ["edge", "run", "--app", "shop:app", *given]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "examples/retail"), *sys.path])}
        with self.log.open("wb") as log:
            self.process = driftlog_copied(words, folder, environment, stdout=log.fileno(), stderr=log.fileno())
        auth = TokenAuth(folder / "replica/token")
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", auth=auth, trust_env=False, timeout=60)
        try:
            until(self._answers, "the agent answers", 120, self.log.read_text)
        except BaseException:
            self.process.kill()
            self.process.wait(60)
            raise

    def write(self, more: str = "", port: int | None = None) -> None:
        """The file, with these tables at its end."""
        self.file.write_text(
            'data_dir = "replica"\nidentity = "id.json"\nscopes = ["s1"]\nbootstrap = "127.0.0.1:1"\n'
            f'registry = "http://127.0.0.1:1"\nhttp_port = {port or self.port}\n{more}'
        )

    def hang_up(self, event: str) -> dict[str, Any]:
        """Send the signal; the line of the log that answers it."""
        before = len(self.told(event))
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.told(event)) > before, event, 60)
        return self.told(event)[-1]

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [line for text in lines if text.endswith("}") and (line := json.loads(text))["event"] == event]

    def settings(self) -> dict[str, Any]:
        return dict(self.api.get("/v1/settings").raise_for_status().json())

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the agent has ended: {self.log.read_text()}"
        try:
            return self.api.get("/healthz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    started = Process(tmp_path)
    yield started
    started.process.kill()
    started.process.wait(60)


def test_what_may_change_changes_and_what_may_not_is_named(process: Process) -> None:
    before = process.settings()
    process.api.put("/v1/settings", json={"link": {"bytes_per_second": 7}}).raise_for_status()
    process.write(
        'log_level = "debug"\ndisk_budget = "1 GiB"\n[sync]\nStock = "5m"\n[power]\nlow_battery_percent = 50\n'
    )
    changed = process.hang_up("settings read again")["changed"]
    assert set(changed) == {
        *("log_level", "sync", "disk_budget"),
        *("power.low_battery_percent", "link.bytes_per_second"),
    }
    after = process.settings()
    assert (after["sync"]["Stock"], after["log_level"], after["power"]["low_battery_percent"]) == ("5m", "debug", 50)
    assert (before["disk_budget"], after["disk_budget"]) == (0, 1 << 30)
    assert after["link"] == before["link"], "what a call had said, the file does not say"

    process.write("outbox_limit = 5\n", port=1)
    fixed = process.hang_up("settings that do not change while the agent runs")
    assert set(fixed["settings"]) == {"http_port", "outbox_limit"} and fixed["level"] == "warning"
    until(lambda: process.settings() == before, "the rest of that file counts", 60)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ("[power]\nlow_battery_percent = 500\n", "power.low_battery_percent"),
        ('[sync]\nStok = "5m"\n', "sync.Stok"),
        ("colour = 1\n", "colour"),
        ("[link\n", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing_and_says_what(process: Process, wrong: str, names: str) -> None:
    before = process.settings()
    process.write('log_level = "error"\n' + wrong)
    line = process.hang_up("the settings stay as they were")
    assert names in line["reason"] and line["level"] == "error"
    process.file.unlink()
    assert "edge.toml" in process.hang_up("the settings stay as they were")["reason"]
    assert process.settings() == before


def test_without_a_file_it_is_the_end_and_a_good_one(tmp_path: Path) -> None:
    started = Process(tmp_path, file=False)
    started.process.send_signal(signal.SIGHUP)
    assert started.process.wait(60) == 0
    assert started.told("agent ends")


async def test_a_rhythm_of_what_is_no_collection_changes_nothing_and_no_secret_is_told(
    agent: EdgeAgent, config: EdgeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = agent.settings()
    with pytest.raises(InvalidInput, match="Stok"):
        agent.reread_settings(config.model_copy(update={"sync": {"Stok": "5m"}, "log_level": "debug"}))
    assert agent.settings() == before
    kafka = KafkaSettings(
        bootstrap="elsewhere:9092",
        security_protocol="sasl_plaintext",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password="hush",
    )  # type: ignore[arg-type]
    agent.reread_settings(config.model_copy(update={"kafka": kafka}))
    told = capsys.readouterr().out
    assert "kafka.sasl_password" in told and "hush" not in told and "elsewhere" not in told
    assert agent.config.kafka == config.kafka
