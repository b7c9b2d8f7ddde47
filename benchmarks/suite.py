"""Finds the benchmarks of this folder, and runs those that were asked for, one after another.

Only the modules that are asked for are opened: their `shared` before their first case, and closed after their last. A case that
raises is an outcome with its error, and the others go on: a long run should not lose what it has measured.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.case import Case, Ground, Skipped
from benchmarks.rounds import measure
from benchmarks.row import Row

FOLDER = Path(__file__).parent
PREFIX = "bench_"


@dataclass(frozen=True, slots=True)
class Module:
    """One `bench_*.py`."""

    name: str
    about: str
    cases: tuple[Case, ...]
    shared: Callable[[Ground], Any] | None

    def full_name(self, case: Case) -> str:
        return f"{self.name}/{case.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: a row, or why there is none."""

    name: str
    case: Case
    row: Row | None = None
    skipped: str = ""
    error: BaseException | None = None

    @property
    def met(self) -> bool | None:
        """None where there is no aim or no row."""
        return None if self.row is None or self.case.aim is None else self.case.aim.met(self.row)

    def as_json(self) -> dict[str, Any]:
        """The outcome as `driftlog bench --json` prints it."""
        if self.row is None:
            return {"case": self.name, "skipped": self.skipped or None, "error": self.error and repr(self.error)}
        return {**self.row.as_json(), "aim": self.case.aim and self.case.aim.text, "met": self.met}


def discover(folder: Path = FOLDER) -> list[Module]:
    """All modules, by name. Imports them."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        cases: tuple[Case, ...] = tuple(module.CASES)
        names = [case.name for case in cases]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{path.name} has cases with one name: {', '.join(doubled)}")
        about = (module.__doc__ or "").strip().partition("\n")[0]
        found.append(Module(path.stem.removeprefix(PREFIX), about, cases, getattr(module, "shared", None)))
    return found


def select(modules: Sequence[Module], names: Sequence[str]) -> list[Module]:
    """The modules with the cases that a name or pattern stands for; all, without names. Raises KeyError for one that fits none."""
    if not names:
        return list(modules)
    full = [module.full_name(case) for module in modules for case in module.cases]
    for name in names:
        if not any(_fits(one, name) for one in full):
            raise KeyError(name)
    chosen = [
        Module(
            module.name,
            module.about,
            tuple(case for case in module.cases if any(_fits(module.full_name(case), name) for name in names)),
            module.shared,
        )
        for module in modules
    ]
    return [module for module in chosen if module.cases]


def run(
    modules: Sequence[Module], *, quick: bool, say: Callable[[str], None], large: bool = False
) -> Iterator[Outcome]:
    """The outcome of each case, as it becomes known."""
    for module in modules:
        with ExitStack() as stack:
            shared: Any = None
            if module.shared is not None:
                say(f"{module.name}: preparing")
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="driftlog-bench-")))
                try:
                    shared = stack.enter_context(module.shared(Ground(quick, folder, say, large=large)))
                except Exception as error:  # noqa: BLE001  # an outcome, shown to the caller
                    yield from (_failed(module.full_name(case), case, error) for case in module.cases)
                    continue
            for case in module.cases:
                name = module.full_name(case)
                try:
                    row = measure(name, case, quick=quick, large=large, say=say, shared=shared)
                except Exception as error:  # noqa: BLE001  # an outcome, shown to the caller
                    yield _failed(name, case, error)
                else:
                    yield Outcome(name, case, row)


def _failed(name: str, case: Case, error: Exception) -> Outcome:
    if isinstance(error, Skipped):
        return Outcome(name, case, skipped=str(error))
    return Outcome(name, case, error=error)


def _fits(full_name: str, name: str) -> bool:
    """A whole name, what stands before a slash of it, or a pattern for the whole."""
    return full_name == name or full_name.startswith(name.rstrip("/") + "/") or fnmatch.fnmatchcase(full_name, name)
