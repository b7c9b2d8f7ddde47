"""The wheel says where the project lives, and its extras bring what the programs ask for."""

from __future__ import annotations

import configparser
import email
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest

import driftlog
from driftlog.cli.extras import MODULES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as content:
        yield content


@pytest.fixture(scope="module")
def described(wheel: zipfile.ZipFile) -> Message:
    """Its metadata."""
    return email.message_from_bytes(about(wheel, "METADATA"))


def about(wheel: zipfile.ZipFile, name: str) -> bytes:
    (found,) = [entry for entry in wheel.namelist() if entry.endswith(f".dist-info/{name}")]
    return wheel.read(found)


def test_the_wheel_names_its_version_and_its_places(described: Message) -> None:
    assert described["Version"] == driftlog.__version__
    urls = dict(line.split(", ") for line in described.get_all("Project-URL", []))
    assert {"Source", "Documentation", "Issues"} <= urls.keys()
    assert all(url.startswith("https://") for url in urls.values())


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_brings_what_its_program_asks_for(extra: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    wanted = {line.split("[")[0].split(">")[0].split("=")[0] for line in declared}
    homes = {
        module: {name.replace("_", "-").lower() for name in names}
        for module, names in metadata.packages_distributions().items()
    }
    assert all(wanted & homes[module] for module in MODULES[extra])
    assert len(wanted) == len(MODULES[extra])


def test_the_wheel_brings_the_pytest_plugin(wheel: zipfile.ZipFile) -> None:
    told = configparser.ConfigParser()
    told.read_string(about(wheel, "entry_points.txt").decode())
    assert dict(told["pytest11"]) == {"driftlog": "driftlog_pytest"}
    assert {"driftlog_pytest/__init__.py", "driftlog/testing/cluster.py"} <= set(wheel.namelist())
