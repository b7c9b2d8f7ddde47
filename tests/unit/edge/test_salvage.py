"""A damaged folder's commands in a new one: each that can be read counts once, whatever the old folder had sent; what is missing is told."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from driftlog.cli.root import app as cli
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import KeyUnusable, NotFound, OtherPartitions, StoreFailed
from driftlog_edge.ports import Family
from driftlog_edge.salvage.log_entries import entries
from driftlog_edge.salvage.remains import Remains, readable
from driftlog_edge.salvage.report import gaps
from driftlog_edge.salvage.run import salvage
from driftlog_edge.store import key_file
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.few import few
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.damaged import (
    KNOWN,
    LATER,
    Damage,
    copied,
    cut,
    flipped,
    largest_table,
    missing,
    table,
    write_ahead_log,
)
from tests.unit.edge.shop import CONTRACT, Stock, app
from tests.unit.edge.waiting import until

MERGED, SENT, UNSENT = 60, 20, 30
ALL = [f"item-{number:03}" for number in range(MERGED + SENT + UNSENT)]


@dataclass
class Lived:
    """A device's folder as a kill leaves it, and the cloud as it is by then."""

    folder: Path
    cloud: Cloud
    ids: FixedIds

    def config(self, data: Path) -> EdgeConfig:
        return EdgeConfig(data_dir=data, identity=self.folder / "identity.json", scopes=["s1"])


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """The cloud has merged the first commands, and the next ones too, which the folder does not know; the last ones were never sent."""
    found = Lived(tmp_path_factory.mktemp("lived"), Cloud(ids := FixedIds()), ids)
    Identity.create("store-1").save(found.folder / "identity.json")
    asyncio.run(_live(found))
    return found


async def _live(lived: Lived) -> None:
    route = CloudRoute(lived.cloud)
    async with EdgeAgent(app, lived.config(lived.folder / "held"), route=route, ids=lived.ids) as agent:
        for sku in ALL[:MERGED]:
            await receive(agent, sku, wait="merged")
        await until(lambda: agent.status()["pending"] == 0)
        agent._store.reclaim(Family)
        route.merging = False
        for sku in ALL[MERGED : MERGED + SENT]:
            await receive(agent, sku, wait="shipped")
        await agent.offline()
        for sku in ALL[MERGED + SENT :]:
            await receive(agent, sku)
        shutil.copytree(lived.folder / "held", lived.folder / "data")
    route.work_off()
    lived.cloud.listeners.clear()


async def receive(agent: EdgeAgent, sku: str, wait: str = "disk") -> None:
    await agent.run("receive", store="s1", sku=sku, qty=1, command_id=f"got-{sku}", wait=wait)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def counted(cloud: Cloud, sku: str) -> int:
    state = cloud.states.get(DocumentId("Stock", "s1", sku))
    return 0 if state is None else int(CONTRACT.collection("Stock").present("s1", sku, state)["on_hand"])  # type: ignore[arg-type]


DAMAGES: dict[str, Damage] = {
    "nothing": lambda folder: None,
    "log, cut": cut(write_ahead_log, 0.8),
    "log and table": lambda folder: (flipped(write_ahead_log, 0.5)(folder), cut(largest_table, 0.5)(folder))[0],
    **LATER,
    **KNOWN,
    **{f"table {number}, its bytes": flipped(table(number), 0.1, 0.4, 0.7) for number in range(4)},
    **{f"table {number}, missing": missing(table(number)) for number in range(4)},
}
WHOLE = {"nothing", *(name for name in KNOWN if name.startswith(("manifest", "CURRENT"))), "log, a stranger's end"}
"""Nothing of the commands is gone."""


@pytest.mark.parametrize(
    ("numbers", "stop", "missing"),
    [((), 4, [(1, 3)]), ((1, 2, 3), 4, []), ((2, 2, 9, 0), 5, [(1, 1), (3, 4)]), ((3,), 4, [(1, 2)]), ((), 1, [])],
)
def test_what_is_missing_among_numbers(numbers: tuple[int, ...], stop: int, missing: list[tuple[int, int]]) -> None:
    assert gaps(numbers, stop) == missing


@pytest.mark.parametrize("name", few(DAMAGES, 12))
async def test_each_command_that_can_be_read_counts_once(lived: Lived, tmp_path: Path, name: str) -> None:
    folder = copied(lived.folder / "data", tmp_path / "old", DAMAGES[name])
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("LOG")}
    report = salvage(CONTRACT, folder, tmp_path / "new", ())
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("LOG")}
    assert names_in(tmp_path) == ["new", "old"]
    cloud = copy.deepcopy(lived.cloud)
    async with EdgeAgent(app, lived.config(tmp_path / "new"), route=CloudRoute(cloud), ids=lived.ids) as agent:
        await agent.online()
        await until(lambda: agent.status()["pending"] == 0 and not agent.status()["read_again"])
        review = {reviewed.command.id for reviewed in agent.review()}
        here = [id for id, _ in await agent.page(Stock, "s1", 1000)]
        if name in WHOLE:
            answer = await agent.run(
                "receive", store="s1", sku=ALL[-1], qty=1, command_id=f"got-{ALL[-1]}", wait="merged"
            )
            assert answer.result == 1, "the key is known"
        await agent.run("receive", store="s1", sku="after", qty=1, wait="merged")
    counts = {sku: counted(cloud, sku) for sku in ALL}
    assert set(counts.values()) <= {0, 1}, "nothing counts twice"
    gone = [sku for sku, count in counts.items() if not count]
    assert here == [sku for sku in ALL if sku not in gone]
    assert set(ALL[: MERGED + SENT]).isdisjoint(gone), "what the cloud has it keeps"
    if name in WHOLE:
        assert not gone and not report.lost
    elif not name.startswith("log"):
        assert len([sku for sku in gone if f"got-{sku}" not in review]) <= report.lost_count
    assert counted(cloud, "after") == 1


async def test_what_it_says(lived: Lived, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    report = salvage(CONTRACT, lived.folder / "data", tmp_path / "new", (), lambda done, of: told.append((done, of)))
    assert (report.decided, report.undecided, report.review) == (MERGED, SENT + UNSENT, 0)
    assert (report.lost, report.newest, report.rows, report.troubles) == ([], len(ALL), MERGED, [])
    assert report.unknown == []
    assert told and all(0 < done <= of for done, of in told)


def without_tables(folder: Path) -> None:
    for path in folder.glob("*.sst"):
        path.unlink()


async def test_of_what_no_table_tells_any_more_it_says_that_nobody_knows(lived: Lived, tmp_path: Path) -> None:
    """What the tables had was decided, as it happens; the log behind them says neither that nor that it was not."""
    folder = copied(lived.folder / "data", tmp_path / "old", without_tables)
    report = salvage(CONTRACT, folder, tmp_path / "new", ())
    assert (report.undecided, report.lost, report.newest) == (SENT + UNSENT, [], len(ALL))
    assert report.unknown == [(1, MERGED)] and report.unknown_count == MERGED


async def test_offline_it_shows_what_the_old_one_showed(lived: Lived, tmp_path: Path) -> None:
    salvage(CONTRACT, lived.folder / "data", tmp_path / "new", ())
    route = CloudRoute(Cloud(lived.ids))
    route.cut()
    async with EdgeAgent(app, lived.config(tmp_path / "new"), route=route, ids=lived.ids) as agent:
        assert [id for id, _ in await agent.page(Stock, "s1", 1000)] == ALL
        reading = await agent.read(Stock, "s1", ALL[0])
        assert (reading.value["on_hand"], reading.age_seconds) == (1, None)


def test_without_the_data_key_it_says_so(lived: Lived, tmp_path: Path) -> None:
    folder = copied(lived.folder / "data", tmp_path / "old", lambda folder: (folder / key_file.NAME).unlink())
    with pytest.raises(KeyUnusable, match="nobody can read"):
        salvage(CONTRACT, folder, tmp_path / "new", ())
    assert names_in(tmp_path) == ["old"]


def test_by_another_partition_count_nothing_is_salvaged(lived: Lived, tmp_path: Path) -> None:
    """The new folder would have each chain in the place of another one."""
    folder = copied(lived.folder / "data", tmp_path / "old", lambda folder: None)
    retail = replace(CONTRACT.spaces["retail"], partitions=9)
    with pytest.raises(OtherPartitions, match=r"declares 9 partitions of space retail.* with 4 partitions"):
        salvage(replace(CONTRACT, spaces={**CONTRACT.spaces, "retail": retail}), folder, tmp_path / "new", ())
    assert names_in(tmp_path) == ["old"]


def test_a_place_that_is_taken_and_a_folder_that_is_not_there_are_refused(lived: Lived, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").touch()
    with pytest.raises(StoreFailed, match="not empty"):
        salvage(CONTRACT, lived.folder / "data", tmp_path / "new", ())
    with pytest.raises(NotFound):
        salvage(CONTRACT, tmp_path / "nowhere", tmp_path / "other", ())


async def test_the_new_folder_is_wrapped_by_the_key_that_wraps_now(lived: Lived, tmp_path: Path) -> None:
    wrapping = (WrappingKey(bytes(range(32))),)
    salvage(CONTRACT, lived.folder / "data", tmp_path / "new", wrapping)
    assert key_file.load(tmp_path / "new", wrapping)[0].by == wrapping[0].fingerprint


class DamagedRows:
    """Stands in for a family: rows of which those between two keys cannot be read, as RocksDB tells it: a seek that comes to rest there fails."""

    def __init__(self, keys: list[bytes], first: int, last: int) -> None:
        self._keys, self._bad = keys, range(first, last + 1)

    def iter(self, options: object) -> DamagedRows.Entry:
        return self.Entry(self._keys, self._bad)

    class Entry:
        def __init__(self, keys: list[bytes], bad: range) -> None:
            self._keys, self._bad, self._at = keys, bad, 0

        def seek(self, key: bytes) -> None:
            self._at = bisect_left(self._keys, key)

        def next(self) -> None:
            self._at += 1

        def valid(self) -> bool:
            return self._at < len(self._keys) and self._at not in self._bad

        def status(self) -> None:
            if self._at in self._bad:
                raise RuntimeError("Corruption: block checksum mismatch")

        def key(self) -> bytes:
            return self._keys[self._at]

        def value(self) -> bytes:
            return b"sealed"


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 9), (4, 4), (4, 17), (40, 49), (49, 49), (0, 49)])
@pytest.mark.parametrize("width", [1, 8, 90])
def test_it_reads_on_behind_what_cannot_be_read(first: int, last: int, width: int) -> None:
    names = [b"name-%02d" % number + b"x" * width for number in range(50)]
    troubles: list[Exception] = []
    found = [key for key, _ in readable(DamagedRows(names, first, last), b"", troubles.append)]  # type: ignore[arg-type]
    assert found == names[:first] + names[last + 1 :]
    assert [str(trouble) for trouble in troubles] == ["Corruption: block checksum mismatch"]


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (b"a", {b"b": b"2", b"c": b"2", b"e": b"3", b"f": b"4"}),
        (b"b", {b"a": b"1", b"b": b"1", b"e": b"3", b"f": b"4"}),
        (b"d", {b"a": b"1", b"b": b"2", b"c": b"2", b"d": b"2", b"f": b"4"}),
    ],
)
def test_where_a_table_is_missing_the_others_tell_what_they_have(
    tmp_path: Path, lost: bytes, found: dict[bytes, bytes]
) -> None:
    """No scan gets past a table that is missing, whatever the others have."""
    live, folder = tmp_path / "live", tmp_path / "old"
    rounds: list[dict[bytes, bytes | None]] = [
        {b"a": b"1", b"b": b"1"},
        {b"b": b"2", b"c": b"2", b"d": b"2"},
        {b"d": None, b"e": b"3"},
    ]
    for writes in rounds:  # each leaves a table
        store = RocksStore(live)
        store.write({(Family.META, key): value for key, value in writes.items()}, sync=True)
        store.close()
    store = RocksStore(live)
    store.write({(Family.META, b"f"): b"4"}, sync=True)
    shutil.copytree(live, folder)
    store.close()
    with Remains(folder, tmp_path / "scratch", ()) as remains:
        (name,) = [file["name"] for file in remains._rows[Family.META].live_files() if file["start_key"] == lost]
    (folder / name.lstrip("/")).unlink()
    with Remains(folder, tmp_path / "scratch", ()) as remains:
        assert dict(remains.scan(Family.META)) == found
        assert [name in trouble for trouble in remains.troubles] == [True]
    assert not (tmp_path / "scratch").exists()


@given(st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_log_of_whatever_bytes_is_read_to_its_end(lived: Lived, changes: list[tuple[float, int]]) -> None:
    data = bytearray(write_ahead_log(lived.folder / "data").read_bytes())
    honest = {entry.sealed for entry in entries(bytes(data))}
    for part, byte in changes:
        data[int(len(data) * part)] = byte
    found = list(entries(bytes(data)))
    assert len(found) <= len(honest) + 64
    assert all(len(entry.key) <= len(data) for entry in found)


def test_the_command_tells_it_in_tables_and_as_data(lived: Lived, tmp_path: Path) -> None:
    folder = copied(lived.folder / "data", tmp_path / "old", DAMAGES["log and table"])
    options = ["edge", "salvage", "--from", str(folder), "--app", "tests.unit.edge.shop:app"]
    told = CliRunner().invoke(cli, [*options, "--to", str(tmp_path / "new")])
    assert told.exit_code == 0, told.output
    assert "lost commands" in told.output and "could not be read" in told.output
    data = json.loads(CliRunner().invoke(cli, [*options, "--to", str(tmp_path / "other"), "--json"]).output)
    assert data["undecided"] + data["lost_count"] == SENT + UNSENT
    assert data["lost"] and data["troubles"]
