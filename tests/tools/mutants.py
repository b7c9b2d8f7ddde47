"""Mutation testing of the algebra: break it in one place, and see whether a law notices.

    python -m tests.tools.mutants --sample 300 --seed 1          a random sample over all modules
    python -m tests.tools.mutants --module deletion              every mutant of one module

Each mutant is one change of one module's syntax tree (a comparison turned, a constant moved, a statement left out, ...), written
beside a copy of the package that stands first on the path. A child process, forked after the slow imports, runs the laws
that concern the module, in the `mutants` profile; whoever survives meets all laws in the `dev` profile. Docstrings, error
texts and type annotations are left alone. The score is killed / all.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "crdt" / "driftlog_crdt"
SKIPPED = {"__init__", "errors", "registry", "ops"}
TIMEOUT_S = 240

CONCERNS = {
    "add_wins_set": "add_wins_set or grow_set or foreign or outside",
    "bounded_counter": "bounded or foreign or outside",
    "causal": "causal or any_order or agrees",
    "conflicts": "conflicts",
    "counter": "counter or foreign or outside or refused",
    "custom": "custom or foreign or outside",
    "deletion": "(counter or add_wins_set or register) and not map and not grow and not bounded",
    "document": "register or counter or mixed or guard or refused or record",
    "document_codec": "counter or register or bytes or foreign",
    "dotted": "register or foreign",
    "extremes": "max or min or foreign or outside",
    "field_type": "register or counter or bad_input",
    "flag": "flag or outside",
    "grow_counter": "grow_counter or outside",
    "grow_set": "grow_set or outside",
    "hlc": "hlc",
    "list_field": "list or outside or foreign",
    "map_field": "map or outside or foreign or refused",
    "multi_value": "multi_value or outside",
    "plain": "bad_input or register or add_wins",
    "ranked": "ranked or order or outside",
    "record": "record",
    "register": "register or outside",
    "remove_wins_set": "remove_wins or foreign or outside",
    "sequence": "text or list or sequences or foreign or outside or refused",
    "text": "text or sequences or outside or foreign",
    "writes_field": "register or multi_value",
    "yjs_edit": "text or list or sequences or foreign or outside or refused",
}

TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
RENAMED = {"max": "min", "min": "max", "all": "any", "any": "all"}


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Every mutant of a module, with a line that says what was done."""
    places = [node for node in ast.walk(tree) if not _untouched(node, tree)]
    for node in places:
        for what, change in _changes(node):
            undo = copy.copy(node.__dict__)
            change()
            yield f"line {getattr(node, 'lineno', 0)}: {what}", copy.deepcopy(tree)
            node.__dict__.clear()
            node.__dict__.update(undo)


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    def setting(name: str, value: object) -> object:
        return lambda: setattr(node, name, value)

    match node:
        case ast.Compare(ops=[op]) if type(op) in TURNED:
            yield f"{type(op).__name__} turned", setting("ops", [TURNED[type(op)]()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in TURNED:
            yield f"{type(op).__name__} turned", setting("op", TURNED[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield f"{type(op).__name__} turned", setting("op", TURNED[type(op)]())
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                if rest:
                    yield f"condition {index + 1} dropped", setting("values", rest if len(rest) > 1 else rest * 2)
        case ast.Constant(value=bool(value)):
            yield f"{value} turned", setting("value", not value)
        case ast.Constant(value=int(value)):
            yield f"{value} moved up", setting("value", value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in RENAMED:
            yield f"{name} turned", setting("func", ast.Name(RENAMED[name], ast.Load()))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "condition negated", setting("test", ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[_, *_]):
            yield "filter dropped", setting("ifs", [])
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "returns None", setting("value", ast.Constant(None))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not dropped", setting("operand", ast.UnaryOp(ast.Not(), operand))
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            for index, statement in enumerate(block):
                if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Delete) and not (
                    isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                ):
                    rest = [*block[:index], ast.Pass(), *block[index + 1 :]]
                    yield f"statement at line {statement.lineno} left out", setting(name, rest)


def _untouched(node: ast.AST, tree: ast.Module) -> bool:
    """Annotations, error texts, interfaces without a body and module constants that only name things."""
    marked: set[int] = getattr(tree, "untouched", set())
    if not marked:
        for parent in ast.walk(tree):
            hidden: list[ast.AST] = []
            match parent:
                case ast.FunctionDef(returns=returns, args=args):
                    hidden += [returns] if returns else []
                    hidden += [a.annotation for a in (*args.args, *args.kwonlyargs) if a.annotation]
                    if any(isinstance(d, ast.Name) and d.id == "abstractmethod" for d in parent.decorator_list):
                        hidden += [parent]
                case ast.AnnAssign(annotation=annotation):
                    hidden += [annotation]
                    if isinstance(annotation, ast.Name) and annotation.id == "TypeAlias":
                        hidden += [parent]
                case ast.Raise(exc=ast.expr() as exc):
                    hidden += [exc]
                case ast.JoinedStr():
                    hidden += [parent]
                case ast.Assert(msg=ast.expr() as msg):
                    hidden += [msg]
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    hidden += [parent]
            for part in hidden:
                marked |= {id(inner) for inner in ast.walk(part)}
        tree.untouched = marked  # type: ignore[attr-defined]
    return id(node) in marked


def survives(module: str, source: str, selection: str, profile: str) -> bool:
    """Do the selected laws pass over the package with `module` replaced?"""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "driftlog_crdt"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / f"{module}.py").write_text(source)
        child = os.fork()
        if child == 0:
            _run_laws(folder, selection, profile)
        started = time.monotonic()
        while time.monotonic() - started < TIMEOUT_S:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False  # a law that never ends has noticed


def _run_laws(folder: str, selection: str, profile: str) -> None:
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.path.insert(0, folder)
    arguments = [
        *("-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-p", "no:asyncio", "-x", "-q"),
        *("--import-mode=importlib", f"--hypothesis-profile={profile}", "-W", "ignore"),
        str(ROOT / "tests" / "properties"),
    ]
    if selection:
        arguments += ["-k", selection]
    os._exit(int(pytest.main(arguments)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--module", action="append", help="only this module (may be given again)")
    parser.add_argument("--sample", type=int, help="at most so many mutants, taken at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="do not show survivors to all laws")
    chosen = parser.parse_args()
    import hypothesis  # noqa: F401  # imported before the forks
    import pycrdt  # noqa: F401
    import pytest  # noqa: F401

    sys.path.insert(0, str(ROOT))
    found = []
    for path in sorted(PACKAGE.glob("*.py")):
        if path.stem in SKIPPED or (chosen.module and path.stem not in chosen.module):
            continue
        for what, tree in mutants(ast.parse(path.read_text())):
            found.append((path.stem, what, ast.unparse(ast.fix_missing_locations(tree))))
    total = len(found)
    if chosen.sample and chosen.sample < total:
        found = random.Random(chosen.seed).sample(found, chosen.sample)
    print(f"{len(found)} of {total} mutants", flush=True)  # noqa: T201
    alive: list[str] = []
    counts: Counter[str] = Counter()
    for module, what, source in found:
        lives = survives(module, source, CONCERNS.get(module, ""), "mutants")
        if lives and not chosen.quick:
            lives = survives(module, source, "", "dev")
        counts[module] += 1
        if lives:
            alive.append(f"{module}, {what}")
            print(f"SURVIVED {alive[-1]}", flush=True)  # noqa: T201
    killed = len(found) - len(alive)
    print(f"score {killed}/{len(found)} = {killed / max(1, len(found)):.1%}")  # noqa: T201
    for module, count in sorted(counts.items()):
        lost = sum(line.startswith(f"{module},") for line in alive)
        print(f"  {module:18} {count - lost}/{count}")  # noqa: T201


if __name__ == "__main__":
    main()
