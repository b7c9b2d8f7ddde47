"""What a page of the console costs its server with 10,000 open conflicts and 10,000 devices, beside the same page with fifty of each.

The pages of a running console are asked for in this process, and the processor time of the answer counts. Its agent stands beside a cloud in this
process; what it reads from a real one is measured in `replica`. The aim is the ratio; 200 ms for a first page is the design's bound, and the milliseconds are among
the facts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import process_time

from benchmarks.case import Case, Ground, Samples, Sides, at_most
from benchmarks.quiet import quiet
from driftlog_schemas.identity import DocumentId
from tests.unit.console.conftest import Console, conflict, running
from tests.unit.console.test_pages import member, seen

MANY, FEW = 10_000, 50
QUICK = 50
"""Divides the many."""
MOST_MS = 200.0
PAGES = 5
"""So many are asked for in a round."""


async def _filled(stack: AsyncExitStack, folder: Path, count: int) -> Console:
    console = await stack.enter_async_context(running(folder))
    await console.opened(*(conflict(DocumentId("Stock", "s1", f"sku-{number}")) for number in range(count)))
    console.fleet.seen = seen(*(member(f"till-{number}", review=number % 7 == 0) for number in range(count)))
    return console


@contextmanager
def _asked(path: str, ground: Ground) -> Iterator[Sides]:
    quiet()
    for name in ("many", "few"):
        (ground.folder / name).mkdir()
    many = MANY // QUICK if ground.quick else MANY
    facts: dict[str, object] = {"many": many, "few": FEW}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> tuple[Console, Console]:
            return await _filled(stack, ground.folder / "many", many), await _filled(stack, ground.folder / "few", FEW)

        async def ask(console: Console) -> float:
            async with console.client() as person:
                await person.get(path)  # what is made once is made
                begun = process_time()
                for _ in range(PAGES):
                    assert (await person.get(path)).status_code == 200
                return (process_time() - begun) / PAGES * 1000

        def side(console: Console) -> Samples:
            return [runner.run(ask(console))]

        large, small = runner.run(opened())
        try:
            yield Sides(partial(side, large), partial(side, small), facts)
        finally:
            runner.run(stack.aclose())


def _case(name: str, path: str) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_asked, path)
    return Case(name, "ms", opened, f"the same page with {FEW}", at_most(MOST_MS, "ms"), rounds=3)


CASES: Sequence[Case] = [
    _case("inbox", "/inbox"),
    _case("groups", "/inbox/groups"),
    _case("one group", "/inbox/group?scope=s1"),
    _case("fleet", "/fleet"),
]
