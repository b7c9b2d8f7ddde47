"""Break the algebra in every place, one at a time, and count who notices.

    python -m tests.mutation                               every mutant of every module
    python -m tests.mutation --module deletion --module dotted
    python -m tests.mutation --sample 600 --seed 1         a random sample, of each module its share
    python -m tests.mutation --json mutants.json           with the law that caught each one, for the table in tests/README

A mutant first meets the tests that concern its module with few examples; whoever survives meets them with many. What still
lives is printed: it is a hole in the laws, or a change that changes nothing. Exit 1 if the score is below `--aim`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.mutation.operators import Mutant, mutants
from tests.mutation.trial import IMPORT, PACKAGE, caught_by

SKIPPED = {"__init__", "declared", "errors", "registry", "ops"}
"""Modules of declarations alone."""

FEW, MANY = 50, 200
"""Examples of each law, first and for whoever survives."""

AT_LEAST = 6
"""Mutants of each module in a sample."""

CONCERNS = {
    "add_wins_set": "add_wins_set|grow_set",
    "bounded_counter": "bounded|Escrow",
    "causal": r"vector|joined|domination|\[counter\]|\[register\]|\[add_wins_set\]",
    "conflicts": r"\[register\]|\[map_of_registers\]|\[record\]|conflict",
    "counter": r"\[counter\]|map_of_counters",
    "custom": "custom|merge",
    "deletion": r"\[counter\]|\[add_wins_set\]|\[register\]|\[any_mix\]",
    "document": r"\[counter\]|\[register\]|\[record\]|\[any_mix\]|conflict|Escrow",
    "document_codec": r"\[counter\]|\[register\]|\[any_mix\]",
    "document_state": r"\[register\]|\[any_mix\]",
    "dotted": r"\[register\]|\[remove_wins_set\]|\[multi_value\]",
    "extremes": r"\[max\]|\[min\]|map_of_max",
    "field_type": r"\[counter\]|\[register\]|\[any_mix\]|conflict",
    "flag": "flag",
    "grow_counter": "grow_counter",
    "grow_set": "grow_set",
    "hlc": "stamp|clock",
    "list_field": r"list\]",
    "map_field": "map_of|conflict",
    "multi_value": "multi_value",
    "plain": r"\[register\]|\[add_wins_set\]|\[multi_value\]",
    "ranked": "ranked|conflict",
    "record": r"\[record\]|conflict",
    "register": r"\[register\]|conflict",
    "remove_wins_set": "remove_wins_set",
    "sequence": r"text\]|list\]",
    "text": r"text\]",
    "writes_field": r"\[register\]|\[multi_value\]|conflict",
    "yjs_edit": r"text\]|list\]",
}
"""module -> the laws that are asked about it, by their names and the documents in brackets"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--module", action="append", help="only this module (may be given again)")
    parser.add_argument("--sample", type=int, help="at most so many mutants, taken at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write module, line, change and law of every mutant here")
    parser.add_argument("--aim", type=float, default=0.9)
    chosen = parser.parse_args()
    import hypothesis.stateful
    import pycrdt
    import pytest

    assert hypothesis.stateful and pycrdt and pytest, "imported before the forks"
    for module in sorted(chosen.module or CONCERNS):
        unchanged = Mutant(module, 0, "unchanged", (PACKAGE / f"{module}.py").read_text())
        if law := caught_by(unchanged, CONCERNS[module], FEW):
            _say(f"{law} fails on the unchanged algebra; mend that first")
            return 1
    found = _all_mutants(chosen.module)
    total = len(found)
    if chosen.sample and chosen.sample < total:
        found = _stratified(found, chosen.sample, random.Random(chosen.seed))
    _say(f"{len(found)} of {total} mutants")
    with ProcessPoolExecutor(chosen.jobs, get_context("fork")) as pool:
        answers = zip(found, pool.map(_try, found), strict=True)
        asked = [(mutant, law) for mutant, law in answers if law != IMPORT]
    if chosen.json:
        rows = [{"module": m.module, "line": m.line, "what": m.what, "law": law} for m, law in asked]
        chosen.json.write_text(json.dumps(rows, indent=1))
    return _report(asked, chosen.aim)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # this is a command


def _all_mutants(modules: list[str] | None) -> list[Mutant]:
    return [
        mutant
        for path in sorted(PACKAGE.glob("*.py"))
        if path.stem not in SKIPPED and (not modules or path.stem in modules)
        for mutant in mutants(path.stem, path.read_text())
    ]


def _stratified(found: list[Mutant], size: int, order: random.Random) -> list[Mutant]:
    """About `size` mutants, of each module its share, and at least a few."""
    of_module: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in found:
        of_module[mutant.module].append(mutant)
    return [
        mutant
        for mutants_there in of_module.values()
        for mutant in order.sample(
            mutants_there, min(len(mutants_there), max(AT_LEAST, size * len(mutants_there) // len(found)))
        )
    ]


def _try(mutant: Mutant) -> str:
    concern = CONCERNS.get(mutant.module, "")
    law = caught_by(mutant, concern, FEW) or caught_by(mutant, concern, MANY)
    if not law:
        _say(f"SURVIVED {mutant.name}")
    return law


def _report(asked: list[tuple[Mutant, str]], aim: float) -> int:
    of_module: dict[str, Counter[bool]] = defaultdict(Counter)
    for mutant, law in asked:
        of_module[mutant.module][bool(law)] += 1
    for module, counts in sorted(of_module.items()):
        _say(f"  {module:18} {counts[True]:4} of {counts.total():4}")
    for law, count in Counter(law.partition("[")[0] for _, law in asked).most_common():
        _say(f"  {count:4} {law or 'SURVIVED'}")
    caught = sum(bool(law) for _, law in asked)
    score = caught / max(1, len(asked))
    _say(f"score {caught}/{len(asked)} = {score:.1%}; mutants that cannot be imported are not counted")
    return 0 if score >= aim else 1


if __name__ == "__main__":
    sys.exit(main())
