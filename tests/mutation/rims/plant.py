"""A pytest plugin that gives one module with one mistake in it: `DRIFTLOG_MISTAKE="its name" pytest -p tests.mutation.rims.plant ...`.

The file on disk stays as it is: the changed source is compiled where the module is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tests.mutation.rims.catalogue import ALL
from tests.mutation.rims.mistake import Mistake

VARIABLE = "DRIFTLOG_MISTAKE"


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mistaken module where the right one is asked for."""

    def __init__(self, mistake: Mistake) -> None:
        self._mistake = mistake

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self._mistake.module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self._mistake.path))

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._mistake.path)
        exec(compile(self._mistake.source(), str(self._mistake.path), "exec"), module.__dict__)


if name := os.environ.get(VARIABLE, ""):
    (chosen,) = [mistake for mistake in ALL if mistake.name == name]
    assert chosen.module not in sys.modules, "the mistake comes before whoever imports its module"
    sys.meta_path.insert(0, Planted(chosen))
