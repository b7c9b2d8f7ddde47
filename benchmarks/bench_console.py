"""What a page of the console costs its server with 10,000 conflicts, devices, or commands on a document, beside the same page with fifty.

The pages of a running console are asked for in this process, and the processor time of the answer counts. Its agent stands beside a cloud in this
process; what it reads from a real one is measured in `replica`. The aim is the ratio; 200 ms for a first page is the design's bound, and the milliseconds are among
the facts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import process_time
from typing import TypeAlias
from unittest.mock import patch

from benchmarks.case import Case, Ground, Samples, Sides, at_most
from benchmarks.quiet import quiet
from driftlog_console.history.by_device import PER_DEVICE, Sent, SentBatch
from driftlog_console.history.kept import MINUTES, Reached
from driftlog_console.history.view import Place, Progress
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.signing import Identity
from driftlog_streams.reading.merge_lag import Lag
from tests.unit.console.conftest import TEA, Console, conflict, running
from tests.unit.console.op_log import priced
from tests.unit.console.test_pages import member, seen
from tests.unit.streams.cloud import NOW_MS, command, device

MANY, FEW = 10_000, 50
QUICK = 50
"""Divides the many."""
MOST_MS = 200.0
PAGES = 5
"""So many are asked for in a round."""


WRITERS = 20
"""Devices that write one document, by turns, each having seen the others' last change."""
PARTITIONS = 64
Filled: TypeAlias = Callable[[Console, int], Awaitable[None]]
"""Puts so many of what a page shows into a console."""


async def _conflicts_and_devices(console: Console, count: int) -> None:
    await console.opened(*(conflict(DocumentId("Stock", "s1", f"sku-{number}")) for number in range(count)))
    console.fleet.seen = seen(*(member(f"till-{number}", review=number % 7 == 0) for number in range(count)))
    kept, now_ms = console.history.kept, time.time_ns() // 1_000_000
    for offset in range(
        PER_DEVICE * 2
    ):  # the last commands of the device whose page is asked for, as many as are listed and more
        sent = Sent(f"c{offset}", "reprice", "Anna", now_ms, "s1", (("Stock", f"sku-{offset}"),), 0, "accepted", "", "")
        kept.send("retail", 0, "till-7", SentBatch(offset, now_ms, "till-7.abcdefgh", offset + 1, (sent,)))
    for number in range(count):  # and one of each device
        one = Sent("c", "reprice", "Anna", now_ms, "s1", (("Stock", "tea"),), 0, "accepted", "", "")
        kept.send("retail", 0, f"truck-{number}", SentBatch(number, now_ms, f"truck-{number}.abcdefgh", 1, (one,)))
    kept.flush()


async def _history(console: Console, count: int) -> None:
    """Commands on one document, each in a record of its own."""
    last: dict[str, int] = {}
    for number in range(WRITERS):
        writer = Identity.create(f"till-{number}")
        console.log.cloud.identities[writer.device_id] = writer
        console.log.cloud.devices.lines[writer.device_id] = device(writer)
    for number in range(count):
        replica = f"till-{number % WRITERS}.1"
        saw = {name.replace("-", "_").replace(".", "__"): seq for name, seq in last.items() if name != replica}
        last[replica] = last.get(replica, 0) + 1
        write = priced(number, last[replica], replica, NOW_MS + number, **saw)
        console.log.append(command(f"c{number}", write), replica=replica, at_ms=NOW_MS + number * 1000)
    console.history.look()
    console.cloud.write(TEA, "price", "set", count)


async def _flow(console: Console, count: int) -> None:
    """A fleet, and a day of what was decided in each of the partitions; with fifty devices, of one partition."""
    places = [Place("retail", number) for number in range(PARTITIONS if count > FEW else 1)]
    await console.desk.agent.hold([f"s{place.partition}" for place in places])
    now_ms = time.time_ns() // 1_000_000
    kept = console.history.kept
    for place in places:
        for minute in range(now_ms // 60_000 - MINUTES, now_ms // 60_000):
            kept.count(*place, minute, {"accepted": 5 + minute % 7, "rejected recount": minute % 3})
    kept.flush()
    console.history.progress = Progress({place: Reached(1, now_ms) for place in places}, {}, time.time())
    console.fleet.seen = seen(*(member(f"till-{number}") for number in range(count)))
    console.lags.lag = Lag(count, 0, now_ms)
    for _ in range(3):
        console.desk.flow.try_look()


async def _filled(stack: AsyncExitStack, folder: Path, fill: Filled, count: int) -> Console:
    console = await stack.enter_async_context(running(folder))
    await fill(console, count)
    return console


@contextmanager
def _asked(path: str, fill: Filled, ground: Ground) -> Iterator[Sides]:
    quiet()
    for name in ("many", "few"):
        (ground.folder / name).mkdir()
    many = MANY // QUICK if ground.quick else MANY
    facts: dict[str, object] = {"many": many, "few": FEW}
    partition_of = patch("driftlog_console.desk.partition_of", lambda scope, _: int(scope[1:]) % PARTITIONS)
    with partition_of, asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> tuple[Console, Console]:
            few = await _filled(stack, ground.folder / "few", fill, FEW)
            return await _filled(stack, ground.folder / "many", fill, many), few

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


def _case(name: str, path: str, fill: Filled = _conflicts_and_devices) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_asked, path, fill)
    return Case(name, "ms", opened, f"the same page with {FEW}", at_most(MOST_MS, "ms"), rounds=3)


CASES: Sequence[Case] = [
    _case("inbox", "/inbox"),
    _case("groups", "/inbox/groups"),
    _case("one group", "/inbox/group?scope=s1"),
    _case("fleet", "/fleet"),
    _case("device", "/fleet/till-7"),
    _case("document", "/documents/Stock/s1/tea", _history),
    _case("moment", "/documents/Stock/s1/tea?at=1000000", _history),
    _case("flow", "/flow", _flow),
    _case("flow of a day", "/flow?hours=24", _flow),
]
