"""The wheel says where the project lives, and its extras bring what the programs ask for."""

from __future__ import annotations

import email
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest

import driftlog
from driftlog.cli.extras import MODULES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """The metadata of a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        (name,) = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(content.read(name))


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
        module: {name.replace("_", "-") for name in names}
        for module, names in metadata.packages_distributions().items()
    }
    assert all(wanted & homes[module] for module in MODULES[extra])
    assert len(wanted) == len(MODULES[extra])
