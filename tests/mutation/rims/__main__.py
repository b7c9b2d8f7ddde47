"""Make every listed mistake, one at a time, and see whether the tests that it names notice.

    python -m tests.mutation.rims                 all of them
    python -m tests.mutation.rims --only acks     those whose name or file holds "acks"

Prints who got away; exits 1 if anybody did. The tests are those of the unit suite, so what is caught here is caught by `make test`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from tests.mutation.rims.catalogue import ALL
from tests.mutation.rims.mistake import ROOT, Mistake
from tests.mutation.rims.plant import VARIABLE

LIMIT_SECONDS = 300
Fate = Literal["caught", "SURVIVED", "BROKEN"]


def fate(mistake: Mistake) -> Fate:
    """What becomes of it. Broken: the mistaken module cannot even be imported, so no test was asked."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=60", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutation.rims.plant", *mistake.tests]
    environment = {**os.environ, VARIABLE: mistake.name}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "caught"
    return {0: "SURVIVED", 1: "caught"}.get(done.returncode, "BROKEN")  # type: ignore[return-value]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.rims", description=__doc__)
    parser.add_argument("--only", default="", help="mistakes whose name or file holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    chosen = [m for m in ALL if given.only in m.name or given.only in m.file]
    escaped = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for mistake, result in zip(chosen, pool.map(fate, chosen), strict=True):
            escaped += result != "caught"
            print(f"{result:8}  {mistake.file}: {mistake.name}", flush=True)  # noqa: T201  # this is a command
    print(f"{len(chosen) - escaped} of {len(chosen)} caught")  # noqa: T201
    return 1 if escaped or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
