"""One trial: the laws over an algebra in which one module is replaced, in a process of its own.

The parent has imported what is slow and nothing of the algebra. Each child is a fork of it: it puts the mutant on the import path,
imports the algebra and the tests, and asks the tests that concern the mutated module, then the plain examples of all
modules, and stops at the first that fails. Nothing is shrunk: that a law fails is enough. A mutant that makes the tests
run beyond the time limit is caught by that.
"""

from __future__ import annotations

import doctest
import importlib.abc
import importlib.util
import itertools
import os
import re
import signal
import sys
import traceback
import unittest
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.mutation.operators import Mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "crdt" / "driftlog_crdt"
TIMEOUT_S = 60

IMPORT = "import"
"""Answered for a mutant that cannot even be imported: no law was asked."""

Check = tuple[str, Callable[[], object]]


def caught_by(mutant: Mutant, concern: str, examples: int) -> str:
    """The name of the law that noticed; "" if none did."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.write(write, _ask(mutant, concern, examples).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        law = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "time limit" if os.WTERMSIG(status) == signal.SIGALRM else "crash"
    return law


def _ask(mutant: Mutant, concern: str, examples: int) -> str:
    signal.alarm(TIMEOUT_S)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.meta_path.insert(0, _Replaced(mutant))
    try:
        for name, check in _checks(concern, examples):
            try:
                check()
            except BaseException as failure:  # noqa: BLE001  # whatever it is, the mutant has caused it
                return name if name.startswith("Test") else _law(failure) or name
    except BaseException:  # noqa: BLE001
        return IMPORT
    return ""


class _Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != f"driftlog_crdt.{self.mutant.module}":
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.source, f"{self.mutant.module}.py", "exec"), module.__dict__)


def _checks(concern: str, examples: int) -> Iterator[Check]:
    """The laws that concern the module, then everything that is quick."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "trial",
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    settings.load_profile("trial")
    wanted = re.compile(concern)
    quick: list[Check] = []
    for name, check in itertools.chain.from_iterable(map(_tests, _test_modules())):
        if not _is_law(check):
            quick.append((name, check))
        elif wanted.search(name):
            yield name, check
    yield from quick
    for path in sorted(PACKAGE.glob("*.py")):
        module = importlib.import_module(f"driftlog_crdt.{path.stem}")
        yield "the module's example", lambda module=module: _run_examples(module)


def _test_modules() -> Iterator[ModuleType]:
    """Those of convergence first: they say most. What asks the worker is left out: importing it costs more than all the rest."""
    names = {path.stem for path in (ROOT / "tests" / "properties").glob("test_*.py")} - {"test_conflict_truth"}
    for name in sorted(names, key=lambda name: (name not in ("test_convergence", "test_reference"), name)):
        yield importlib.import_module(f"tests.properties.{name}")
    yield importlib.import_module("tests.unit.algebra.test_strict_decoding")


def _tests(module: ModuleType) -> Iterator[Check]:
    """Every test of a module, as pytest would collect it; those that need fixtures are left out."""
    for name, test in vars(module).items():
        if isinstance(test, type) and issubclass(test, unittest.TestCase):
            yield name, test("runTest").runTest  # type: ignore[attr-defined]
        elif name.startswith("test_") and callable(test):
            yield from _parametrized(name, test)


def _parametrized(name: str, test: Callable[..., object]) -> Iterator[Check]:
    choices = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args
            names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
            ids = [str(i) for i in mark.kwargs.get("ids") or [""] * len(list(values))]
            rows = [dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in values]
            choices.append(list(zip(ids, rows, strict=True)))
    for chosen in itertools.product(*choices):
        arguments = {key: value for _, row in chosen for key, value in row.items()}
        label = ",".join(name for name, _ in chosen) or ",".join(map(str, arguments.values()))
        yield f"{name}[{label}]", lambda arguments=arguments: test(**arguments)


def _is_law(check: Callable[[], object]) -> bool:
    inner = check.__closure__[0].cell_contents if getattr(check, "__closure__", None) else check
    return hasattr(inner, "hypothesis") or isinstance(getattr(check, "__self__", None), unittest.TestCase)


def _run_examples(module: ModuleType) -> None:
    if doctest.testmod(module).failed:
        raise AssertionError(f"an example of {module.__name__} fails")


def _law(failure: BaseException) -> str:
    """The law that the failing test was asking, or the test itself where it asks one thing."""
    found = ""
    for frame in traceback.extract_tb(failure.__traceback__):
        if frame.name == "histories":
            return "a history can be written"
        if frame.filename.startswith(str(ROOT / "tests" / "properties" / "test_")):
            found = frame.name if not found or found.startswith("test_") else found
    return found
