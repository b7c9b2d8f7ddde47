"""Libraries in C that a process under test loads before all others, to be lied to or listened to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.load.edges import EdgeProcess

COMPILER = "cc"


def preload(edge: EdgeProcess, source: Path, environment: Mapping[str, str]) -> None:
    """Compile it into the folder of an agent that has not been started yet. Skips the test where nothing compiles C."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{source.name} is to be loaded into the agent, and there is no compiler here")
    library = edge.replica.parent / source.with_suffix(".so").name
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    edge.environment |= {"LD_PRELOAD": str(library), **environment}
