"""`driftlog fleet` on a real broker: a real agent's heartbeat, silence, and what strangers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from driftlog.testing.servers import RunningBroker
from driftlog_schemas import topics
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"


def test_the_fleet_as_its_agents_say_it_is(
    shell: Shell, app: str, broker: RunningBroker, on_broker: Callable[..., LoadRun], fresh_name: Callable[[str], str]
) -> None:
    run, silent = on_broker(), fresh_name("silent")
    shell.run("devices", "enrol", silent).assert_done()

    def listed(*words: str) -> dict[str, dict[str, Any]]:
        return {line["device_id"]: line for line in shell.run("fleet", "list", "--json", *words).data}

    with run.worker("only"), run.edge(0, PLACE) as edge:
        name = edge.device.device_id
        edge.do("hit", place=PLACE, item="tea", wait="merged")
        until(lambda: listed()[name]["heard"], "the agent is heard of", 90, edge.tail)
        found = listed()
        line = found[name]
        assert (line["status"], line["connection"], line["replica"]) == ("active", "ONLINE", edge.status()["replica"])
        assert line["heard_seconds_ago"] < 600
        assert line["needs"] == []
        assert found[silent]["needs"] == ["was never heard of"] and found[silent]["heard"] is None
        names = list(found)
        assert names.index(silent) < names.index(name), "those first that need a person"

        writer = Producer({"bootstrap.servers": broker.bootstrap})
        for key, value in ((name, b"?"), (name, None), ("nobody", b"\x00" * 300)):
            writer.produce(topics.HEARTBEATS, value, key.encode())
        assert writer.flush(30) == 0
        assert "nobody" not in listed()

        versions = shell.run("fleet", "versions", "--app", app, "--json").data
        agents = [v for v in versions if v["component"] == "agent" and name in v["devices"]]
        ours = [v for v in versions if v["component"] == f"space {run.space.name}"]
        assert len(agents) == 1 and [v["version"] for v in ours] == [run.space.release]
        assert {v["of_this_app"] for v in ours} == {None}, "another app's space"
    assert "was not heard of" in listed("--silent", "1ms")[name]["needs"][-1]
    for ended in (shell.run("fleet", "list"), shell.run("fleet", "versions")):
        assert ended.code == 0 and name in ended.out, ended
    for nothing in ("soon", "", "0d", "999999999999d"):
        shell.run("fleet", "list", "--silent", nothing).assert_one_line(2, "'--silent'", "for example")
