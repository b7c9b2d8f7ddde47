"""The README's app, agent and curl lines, run as they are printed (but for the port, which may be taken here)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog_infra.ports import free_port
from driftlog_schemas.signing import Identity
from tests.load.waiting import until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PORT = "7420"
SHOWN = re.search(r"^    (?:TOKEN=.*\n)(?:    curl .*\n)+", README, re.MULTILINE)
INIT = re.search(r"^    (driftlog edge init .*?)(?:  +#.*)?$", README, re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """An agent of the README's app, made by the README's commands; nothing else is there."""
    app = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert app is not None and INIT is not None
    (tmp_path / "shop.py").write_text(app[1])
    Identity.create("store-1").save(tmp_path / "store-1.json")
    port = str(free_port())
    driftlog = f"{sys.executable} -m driftlog"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    subprocess.run(
        INIT[1].replace("driftlog", driftlog, 1) + f" --http-port {port}",
        shell=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    command = f"exec {driftlog} edge run --app shop:app --config edge.toml"
    process = subprocess.Popen(command, shell=True, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, "the agent answers", 30)
        yield port
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_curl_lines_work_as_printed(port: str, tmp_path: Path) -> None:
    assert SHOWN is not None
    script = "\n".join(line.strip() + ("; echo" if "curl" in line else "") for line in SHOWN[0].splitlines())
    found = subprocess.run(
        ["sh", "-c", script.replace(PORT, port)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    answers = [json.loads(line) for line in found.stdout.splitlines() if line.strip()]
    assert [a.get("status", "read") for a in answers] == ["pending", "pending", "read"], answers
    assert answers[-1]["value"]["on_hand"] == answers[-2]["result"]


def test_the_client_works_as_printed(port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = next(
        block for block in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "Client" in block
    )
    monkeypatch.setenv("DRIFTLOG_EDGE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: dict[str, Any] = {}
    exec(shown, names)
    assert [names["receive"]("coffee", qty) for qty in (3, 4)] == [3, 7]
