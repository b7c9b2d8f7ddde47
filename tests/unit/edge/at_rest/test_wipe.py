"""A wipe makes the folder unreadable before it erases it: killed at any step it is finished, and no copy of any later moment opens."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import KeyUnusable
from driftlog_edge.ports import Family
from driftlog_edge.store import key_file
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.wrapping import WrappingKey
from driftlog_edge.wiping import destruction
from driftlog_edge.wiping.destruction import DATA_KEY_IS_GONE, KEY_IS_GONE, Order
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.replica import EPOCH_MS
from tests.unit.edge.shop import app

WRAPPING = (WrappingKey(bytes(range(32))),)

KILLED = """
import os, signal, sys
from pathlib import Path
from driftlog_edge.wiping import destruction

for word in sys.argv[1:]:
    folder = Path(word) / "data"
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, word
        continue
    order, left = destruction.order_in(folder), int(Path(word).name)
    for _ in destruction.destroy(folder, Path(word) / "id.json", order):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""
"""Folders are named for the step after which the process that wipes them is killed."""


def ordered(place: Path, wrapping: Sequence[WrappingKey] = ()) -> tuple[Path, Path, Order]:
    """A folder with values, which is to be wiped, and its identity."""
    folder, identity = place / "data", place / "id.json"
    place.mkdir()
    device = Identity.create("store-1")
    device.save(identity)
    store = RocksStore(folder, wrapping)
    store.write({(Family.CONFIRMED, b"Stock/s1/tea"): b"5"}, sync=True)
    store.close()
    (folder / f".{key_file.NAME}.k3f9q2w7").write_bytes((folder / key_file.NAME).read_bytes())  # of a cut-off write
    order = Order(Farewell("store-1", device.key_id, 2, "store-1.aaaaaaaa", 3, EPOCH_MS).signed(device), told=True)
    destruction.give(folder, order)
    return folder, identity, order


def test_killed_at_any_step_it_is_finished(tmp_path: Path) -> None:
    count = len(list(destruction.destroy(*ordered(tmp_path / "counted"))))
    assert count > 12
    laid = {step: ordered(tmp_path / str(step)) for step in range(1, count)}
    places = [str(folder.parent) for folder, _, _ in laid.values()]
    subprocess.run([sys.executable, "-c", KILLED, *places], check=True)
    for step, (folder, identity, order) in laid.items():
        assert destruction.order_in(folder) == order
        list(destruction.destroy(folder, identity, order))
        assert [path.name for path in folder.parent.rglob("*")] == ["data", destruction.ORDER], step


@pytest.mark.parametrize("wrapping", [(), WRAPPING])
def test_no_copy_from_after_the_data_key_opens(tmp_path: Path, wrapping: Sequence[WrappingKey]) -> None:
    folder, identity, order = ordered(tmp_path / "device", wrapping)
    kept = [(folder / key_file.NAME).open("rb")]
    secret = kept[0].read()
    steps = destruction.destroy(folder, identity, order)
    assert DATA_KEY_IS_GONE in steps
    for number, step in enumerate(steps):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(folder, copy)
        assert not any(secret in path.read_bytes() for path in copy.iterdir() if path.is_file())
        (copy / destruction.ORDER).unlink()  # as a thief would
        with pytest.raises(KeyUnusable, match="nobody can read"):
            RocksStore(copy, wrapping)
        if step == KEY_IS_GONE:
            break  # from here on the database is not whole either
    kept[0].seek(0)
    assert kept[0].read() == b"", "overwritten where it lay"
    kept[0].close()


async def test_a_start_over_a_folder_without_its_key_erases_what_was_ordered_and_resurrects_nothing(
    tmp_path: Path, route: CloudRoute, ids: FixedIds
) -> None:
    folder, identity, order = ordered(tmp_path / "device")
    steps = destruction.destroy(folder, identity, order)
    assert DATA_KEY_IS_GONE in steps
    steps.close()
    config = EdgeConfig(data_dir=folder, identity=identity, scopes=["s1"])
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        assert agent.gone
        async with asyncio.timeout(30):
            await agent.wiped()
    assert [path.name for path in folder.iterdir()] == [destruction.ORDER]


def test_an_older_copy_of_the_key_file_alone_is_the_only_way_back(tmp_path: Path) -> None:
    """So a backup of the folder is a copy of its data, and is to be destroyed by who made it."""
    folder, identity, order = ordered(tmp_path / "device")
    shutil.copy(folder / key_file.NAME, tmp_path / "kept")
    steps = destruction.destroy(folder, identity, order)
    assert DATA_KEY_IS_GONE in steps
    shutil.copy(tmp_path / "kept", folder / key_file.NAME)
    store = RocksStore(folder)
    assert store.get(Family.CONFIRMED, b"Stock/s1/tea") == b"5"
    store.close()


async def test_a_rotation_under_way_writes_no_key_file_behind_a_wipe(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds
) -> None:
    async with EdgeAgent(app, config, route=route, ids=ids) as agent:
        await agent.run("receive", store="s1", sku="tea", qty=5)
        agent._rotation.forbid()
        for path in key_file.files_in(config.data_dir):
            path.unlink()
        with pytest.raises(KeyUnusable, match="being erased"):
            await agent.rotate_data_key()
        with pytest.raises(KeyUnusable, match="being erased"):
            agent._rotation._store.keys.finish()
        assert key_file.files_in(config.data_dir) == []
        assert (await agent.run("receive", store="s1", sku="tea", qty=5)).result == 10, "what is open stays open"
