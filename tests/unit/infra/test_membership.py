"""Which nodes a data folder's cluster has: said once, kept, and never changed by a forgotten or a different option."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from driftlog_infra import local
from driftlog_infra.claim import Claim
from driftlog_infra.errors import FolderUnusable
from driftlog_infra.membership import drawn, members, node_folders


def started(folder: Path, nodes: int) -> None:
    """What a start leaves."""
    for member in members(folder, nodes):
        member.folder(folder).mkdir(parents=True)


def test_each_member_has_a_controller_of_its_own_and_knows_all() -> None:
    made = drawn(3)
    assert [member.node for member in made] == [1, 2, 3]
    assert len({member.controller for member in made}) == 3
    assert {member.voters for member in made} == {",".join(f"{m.node}@127.0.0.1:{m.controller}" for m in made)}


@pytest.mark.parametrize(("nodes", "copies"), [(1, (1, 1)), (3, (3, 2)), (5, (3, 2))])
def test_kafkas_own_topics_have_as_many_copies_as_nodes_allow(nodes: int, copies: tuple[int, int]) -> None:
    assert {(member.replication, member.min_insync) for member in drawn(nodes)} == {copies}


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_folder_keeps_its_nodes(tmp_path: Path, nodes: int) -> None:
    started(tmp_path, nodes)
    assert len(members(tmp_path, None)) == len(members(tmp_path, nodes)) == nodes
    assert all(part.exists() for part in node_folders(tmp_path))
    assert [server.folder for server in local.servers(tmp_path, 0, 0, detached=True, registry=False)] == node_folders(
        tmp_path
    )


@pytest.mark.parametrize(("nodes", "wanted"), [(1, 3), (3, 1), (3, 5)])
def test_another_number_of_nodes_is_refused_and_nothing_is_changed(tmp_path: Path, nodes: int, wanted: int) -> None:
    started(tmp_path, nodes)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FolderUnusable, match=f"holds a cluster of {nodes} nodes?, not of {wanted}") as refused:
        members(tmp_path, wanted)
    assert "--nodes" in refused.value.remedy
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_was_never_started_binds_nobody(tmp_path: Path) -> None:
    members(tmp_path, 3)
    assert len(members(tmp_path, None)) == 1


def test_controllers_stay_where_they_are_while_a_node_runs(tmp_path: Path) -> None:
    started(tmp_path, 3)
    claim = Claim(node_folders(tmp_path)[1])
    try:
        held = members(tmp_path, None)
        assert members(tmp_path, 3) == held
    finally:
        claim.withdraw()
    assert members(tmp_path, None) != held


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"controllers": []}', '{"controllers": ["x"]}', "\0"])
def test_a_spoilt_record_is_one_clear_error(tmp_path: Path, content: str) -> None:
    started(tmp_path, 3)
    (tmp_path / "cluster.json").write_text(content)
    with pytest.raises(FolderUnusable, match="does not say which nodes"):
        members(tmp_path, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_no_file_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FolderUnusable, match="cannot use data folder"):
        members(tmp_path / "data", 3)


def test_nodes_take_ports_in_a_row(tmp_path: Path) -> None:
    made = local.servers(tmp_path, None, None, detached=True, nodes=3)
    assert [server.port for server in made] == [9092, 9093, 9094, 8081]
    assert json.loads((tmp_path / "cluster.json").read_text())["controllers"]
    assert [server.port for server in local.servers(None, 20_000, 0, detached=False, nodes=3)] == [
        20_000,
        20_001,
        20_002,
        0,
    ]
