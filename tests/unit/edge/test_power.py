"""How a device says how it is fed: files, programs, callers, the kernel's folders; and what follows from a source that fails."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import httpx
import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.config import PowerSettings
from driftlog_edge.power.hook import Hook
from driftlog_edge.power.reading import UNKNOWN, HookFailed, Power
from driftlog_edge.power.sources import Source
from driftlog_edge.power.supplies import read_supplies
from driftlog_schemas.errors import BadSetting
from tests.unit.edge.replica import HandClock
from tests.unit.edge.waiting import until

LOW = Power(mains=False, battery_percent=10)


@pytest.mark.parametrize(
    ("power", "low"),
    [
        (LOW, True),
        (Power(mains=False, battery_percent=10, metered=True), True),
        (Power(mains=False, battery_percent=10, metered=False), False),
        (Power(mains=False, battery_percent=30), False),
        (Power(mains=True, battery_percent=10), False),
        (Power(battery_percent=10), False),
        (Power(mains=False), False),
        (UNKNOWN, False),
    ],
)
def test_only_a_battery_that_is_known_to_be_low_keeps_anything_back(power: Power, low: bool) -> None:
    assert power.is_low(30) is low


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"yes",
        b"[]",
        b'{"mains": 1}',
        b'{"battery_percent": 101}',
        b'{"battery_percent": "50"}',
        b'{"battery_percent": NaN}',
        b'{"batery_percent": 50}',
        b"\xff\xfe",
        b'{"mains": true}' + b" " * 5000,
    ],
)
def test_nonsense_is_refused_and_its_source_named(text: bytes) -> None:
    with pytest.raises(HookFailed, match="hook") as refused:
        Power.read(text, "the hook")
    assert "battery_percent" in refused.value.remedy


# -- the kernel's folders


def supply(folder: Path, name: str, **facts: str) -> None:
    (folder / name).mkdir(parents=True)
    for fact, text in facts.items():
        (folder / name / fact).write_text(text + "\n")


def test_the_kernel_tells_of_mains_and_battery(tmp_path: Path) -> None:
    assert read_supplies(tmp_path) == UNKNOWN
    supply(tmp_path, "AC", type="Mains", online="0")
    supply(tmp_path, "BAT0", type="Battery", capacity="40", status="Discharging")
    supply(tmp_path, "BAT1", type="Battery", capacity="60", status="Discharging")
    supply(tmp_path, "mouse", type="Battery", capacity="3", scope="Device")
    assert read_supplies(tmp_path) == Power(mains=False, battery_percent=50)
    (tmp_path / "AC" / "online").write_text("1\n")
    assert read_supplies(tmp_path) == Power(mains=True, battery_percent=50)


@pytest.mark.parametrize(
    ("status", "mains"), [("Discharging", False), ("Charging", True), ("Full", True), ("Unknown", None)]
)
def test_a_battery_alone_says_whether_something_charges_it(tmp_path: Path, status: str, mains: bool | None) -> None:
    supply(tmp_path, "battery", type="Battery", capacity="7", status=status)
    assert read_supplies(tmp_path) == Power(mains=mains, battery_percent=7)


@pytest.mark.parametrize("capacity", ["", "full", "-1", "250", "1e1"])
def test_a_capacity_that_is_none_is_nonsense(tmp_path: Path, capacity: str) -> None:
    supply(tmp_path, "BAT0", type="Battery", capacity=capacity)
    with pytest.raises(HookFailed, match="BAT0"):
        read_supplies(tmp_path)


# -- sources


def source(clock: HandClock | None = None, **settings: object) -> Source:
    return Source(PowerSettings.model_validate(settings), (clock or HandClock()).monotonic)


async def test_a_file_says_it_until_nobody_writes_it_any_more(tmp_path: Path) -> None:
    path, clock = tmp_path / "power.json", HandClock()
    asked = source(clock, source="file", path=path, valid_seconds=60)
    with pytest.raises(HookFailed, match="cannot be read"):
        await asked.ask()
    path.write_text('{"mains": false, "battery_percent": 10}')
    assert await asked.ask() == LOW
    clock.pass_seconds(61)
    with pytest.raises(HookFailed, match="not written for 61 s"):
        await asked.ask()
    path.unlink()
    path.write_text('{"mains": true}')
    assert await asked.ask() == Power(mains=True)


async def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HookFailed, match="no plain file"):
        await source(source="file", path=tmp_path / "pipe").ask()
    with pytest.raises(HookFailed, match=r"no plain file|cannot be read"):
        await source(source="file", path=tmp_path).ask()


async def test_a_read_that_hangs_is_given_up_and_not_begun_again_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []

    def hangs(folder: Path) -> Power:
        begun.append(folder)
        go_on.wait(60)
        return LOW

    monkeypatch.setattr("driftlog_edge.power.sources.read_supplies", hangs)
    asked = source(source="sys", path=tmp_path, answer_seconds=0.05)
    with pytest.raises(HookFailed, match="not read within"):
        await asked.ask()
    with pytest.raises(HookFailed, match="still hangs"):
        await asked.ask()
    assert len(begun) == 1
    go_on.set()
    await until(asked._read.is_set)
    monkeypatch.setattr("driftlog_edge.power.sources.read_supplies", lambda folder: LOW)
    assert await asked.ask() == LOW


async def test_a_command_is_asked_within_its_time(tmp_path: Path) -> None:
    program = tmp_path / "power.sh"
    program.write_text("""#!/bin/sh\necho '{"mains": false, "battery_percent": 10}'\n""")
    program.chmod(0o755)
    assert await source(source="command", command=str(program)).ask() == LOW
    for command, why in (
        ("sleep 60", "no answer within"),
        ("false", "exit code 1"),
        ("yes", "more than"),
        ("echo low", "power.command"),
        (f"{tmp_path}/nothing", "cannot be run"),
    ):
        with pytest.raises(HookFailed, match=why):
            await source(source="command", command=command, answer_seconds=0.5).ask()


async def test_a_command_is_not_waited_for_because_something_it_left_behind_holds_its_output(tmp_path: Path) -> None:
    program, left = tmp_path / "power.sh", tmp_path / "left"
    program.write_text(
        f"#!/bin/sh\nsetsid sh -c 'echo $$ > {left}.new; mv {left}.new {left}; exec sleep 600' &\nsleep 600\n"
    )
    program.chmod(0o755)
    asked = asyncio.create_task(source(source="command", command=str(program), answer_seconds=5).ask())
    await until(left.exists)
    child = int(left.read_text())
    try:
        with pytest.raises(HookFailed, match="no answer within"):
            await asyncio.wait_for(asked, 60)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"source": "file"}, "path"),
        ({"source": "command"}, "command"),
        ({"command": "true"}, "command"),
        ({"path": "/tmp/power"}, "path"),
        ({"source": "command", "command": "'"}, "command"),
        ({"low_battery_percent": 101}, "low_battery_percent"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(BadSetting, match=rf"power\.{field}"):
        EdgeConfig.load(data_dir="d", identity="i", scopes=["s1"], power=given)


# -- the hook


@pytest.fixture
async def hook(tmp_path: Path, clock: HandClock) -> Hook:
    path = tmp_path / "power.json"
    path.write_text('{"mains": false, "battery_percent": 10}')
    return Hook(PowerSettings(source="file", path=path, every_seconds=0.01), clock)


async def test_a_source_that_fails_is_counted_and_named_and_keeps_nothing_back(hook: Hook, tmp_path: Path) -> None:
    hook.start()
    await until(lambda: hook.saving)
    (tmp_path / "power.json").write_text("low")
    await until(lambda: hook.failures > 1)
    assert (hook.saving, hook.now) == (False, UNKNOWN)
    assert "power.json" in hook.facts()["problem"]
    (tmp_path / "power.json").write_text('{"mains": false, "battery_percent": 10}')
    await until(lambda: hook.saving)
    assert hook.problem == ""
    await hook.stop()


async def test_a_program_that_nobody_here_may_end_keeps_nothing_back(
    clock: HandClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs as another user, by sudo for instance, and hangs."""
    program = tmp_path / "power.sh"
    program.write_text("""#!/bin/sh\necho '{"mains": false, "battery_percent": 10}'\n""")
    program.chmod(0o755)
    settings = PowerSettings(source="command", command=str(program), every_seconds=0.01, answer_seconds=5)
    hook = Hook(settings, clock)
    hook.start()
    await until(lambda: hook.saving)

    def refused(group: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refused)
    program.write_text("#!/bin/sh\nexit 3\n")
    await until(lambda: hook.failures > 1)
    assert (hook.saving, hook.now) == (False, UNKNOWN)
    await hook.stop()


async def test_a_callers_word_stands_above_the_source_fact_by_fact_and_for_a_while(
    hook: Hook, clock: HandClock
) -> None:
    hook.start()
    await until(lambda: hook.saving)
    hook.tell(Power(metered=False))
    assert (hook.saving, hook.now) == (False, Power(mains=False, battery_percent=10, metered=False))
    hook.tell(Power(mains=True))
    assert hook.now == Power(mains=True, battery_percent=10)
    await hook.stop()
    clock.pass_seconds(3601)
    assert hook.now == LOW


async def test_another_threshold_counts_at_once(hook: Hook, tmp_path: Path) -> None:
    hook.start()
    await until(lambda: hook.saving)
    hook.set(PowerSettings(source="file", path=tmp_path / "power.json", every_seconds=0.01, low_battery_percent=5))
    assert (hook.saving, hook.now) == (False, LOW)
    await hook.stop()


# -- the agent


async def test_on_a_low_battery_the_agent_ships_what_is_urgent_and_says_what_the_rest_waits_for(
    agent: EdgeAgent, http: httpx.AsyncClient
) -> None:
    told = await http.put("/v1/power", json={"mains": False, "battery_percent": 12})
    assert told.json()["saving"] is True
    await until(lambda: agent._sync._shipper._outbox.queue.moments.saving)

    late = await http.post(
        "/v1/commands/receive?wait=merged&timeout=200ms", json={"store": "s1", "sku": "tea", "qty": 1}
    )
    assert (late.status_code, late.json()["code"]) == (504, "timeout")
    assert "waits for power" in late.json()["detail"]
    waits = (await http.get(f"/v1/commands/{late.json()['command_id']}")).json()
    assert (waits["status"], waits["waiting_for"], waits["waiting_until"]) == ("pending", "power", None)
    log = (await http.get("/v1/log?pending=true")).json()["commands"]
    assert [line["waiting_for"] for line in log] == ["power"]
    status = (await http.get("/v1/status")).json()
    assert status["waiting"] == [{"for": "power", "until": None, "commands": 1}]
    assert status["power"]["saving"] is True
    assert 'driftlog_edge_waiting{for="power"} 1.0' in (await http.get("/metrics")).text

    urgent = await http.post(
        "/v1/commands/reprice?wait=merged&timeout=20s", json={"store": "s1", "sku": "coffee", "price": 3}
    )
    assert urgent.json()["status"] == "merged"
    await http.put("/v1/power", json={"mains": True})
    await until(lambda: agent.command(waits["command_id"]).status == "merged")
    assert agent.status()["waiting"] == []


@pytest.mark.parametrize("body", [{"mains": "no"}, {"battery": 5}, {"battery_percent": 500}, []])
async def test_a_callers_nonsense_is_refused_and_changes_nothing(http: httpx.AsyncClient, body: object) -> None:
    await http.put("/v1/power", json={"mains": True})
    answer = await http.put("/v1/power", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert (await http.get("/v1/power")).json()["told"]["mains"] is True
