"""The files of a run on several processes: each once, those with servers never on the process that only computes, the longest of the others first there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.spread import SERVERS, ServersApart

SERVED = [f"{SERVERS}test_{name}.py" for name in "abcdef"]
COMPUTED = [f"tests/unit/test_{name}.py" for name in "uvwxyz"]
"""In the order of a run: those with servers, then the others, the longest first."""


class Process:
    """xdist's end of one, which remembers what it was told."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.waiting: list[int] = []

    def send_runtest_some(self, tests: list[int]) -> None:
        self.waiting += tests

    def shutdown(self) -> None:
        self.shutting_down = True


def shared_out(files: list[str], processes: int) -> list[list[str]]:
    """Which file each process runs, three tests a file, the processes taking turns."""
    tests = [f"{file}::test_{number}" for file in files for number in range(3)]
    config: Any = SimpleNamespace(
        getvalue=lambda name: ["popen"] * processes, option=SimpleNamespace(loadscopereorder=False)
    )
    scheduler = ServersApart(config)
    nodes: list[Any] = [Process(f"gw{number}") for number in range(processes)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    ran: list[list[str]] = [[] for _ in nodes]
    while any(node.waiting for node in nodes):
        for node, files_of in zip(nodes, ran, strict=True):
            if node.waiting:
                test = node.waiting.pop(0)
                files_of.append(tests[test].partition("::")[0])
                scheduler.mark_test_complete(node, test)
    assert all(node.shutting_down for node in nodes)
    return [list(dict.fromkeys(files_of)) for files_of in ran]


def test_the_last_process_has_no_server_and_begins_with_what_takes_longest() -> None:
    ran = shared_out(SERVED + COMPUTED, 3)
    assert sorted(file for files in ran for file in files) == sorted(SERVED + COMPUTED)
    assert ran[-1][:2] == COMPUTED[:2]
    assert not set(ran[-1]) & set(SERVED)
    assert all(files[0] in SERVED for files in ran[:-1])


def test_where_nothing_has_a_server_all_compute() -> None:
    ran = shared_out(COMPUTED, 2)
    assert sorted(file for files in ran for file in files) == COMPUTED
    assert all(ran)


def test_where_all_have_servers_the_last_process_ends() -> None:
    ran = shared_out(SERVED, 3)
    assert sorted(file for files in ran for file in files) == SERVED
    assert ran[-1] == []


def test_one_process_does_everything() -> None:
    assert shared_out(SERVED + COMPUTED, 1) == [SERVED + COMPUTED]
