"""The files of a run on several processes: each once, those with servers never on the process that only computes, the longest of the others first there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.spread import SERVERS, ServersApart, how_it_ended

SERVED = [f"{SERVERS}test_{name}.py" for name in "abcdef"]
COMPUTED = [f"tests/unit/test_{name}.py" for name in "uvwxyz"]
"""In the order of a run: those with servers, then the others, the longest first."""


class Process:
    """xdist's end of one, which remembers what it was told. It holds its last test back until there is another, or it is to end, as xdist's own do."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.waiting: list[int] = []
        self.ran: list[str] = []

    def send_runtest_some(self, tests: list[int]) -> None:
        self.waiting += tests

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def goes_on(self) -> bool:
        return len(self.waiting) > (0 if self.shutting_down else 1)


class Run:
    """Of three tests a file; the processes take turns."""

    def __init__(self, files: list[str], processes: int) -> None:
        self.tests = [f"{file}::test_{number}" for file in files for number in range(3)]
        config: Any = SimpleNamespace(
            getvalue=lambda name: ["popen"] * processes, option=SimpleNamespace(loadscopereorder=False)
        )
        self.scheduler = ServersApart(config)
        self.nodes: list[Any] = []
        for _ in range(processes):
            self.begin_one()
        self.scheduler.schedule()

    def begin_one(self) -> Any:
        node: Any = Process(f"gw{len(self.nodes)}")
        self.nodes.append(node)
        self.scheduler.add_node(node)
        self.scheduler.add_node_collection(node, self.tests)
        return node

    def turn(self) -> bool:
        """Each process runs a test; False if none has one to run."""
        turns = [node for node in self.nodes if node.goes_on]
        for node in turns:
            test = node.waiting.pop(0)
            node.ran.append(self.tests[test])
            self.scheduler.mark_test_complete(node, test)
        if self.scheduler.tests_finished:
            for node in self.nodes:
                node.shutdown()
        return bool(turns)

    def lose(self, node: Any) -> str | None:
        """As xdist deals with it: the test that ended the process, and another process."""
        node.waiting = []
        lost: str | None = self.scheduler.remove_node(node)
        self.begin_one()
        self.scheduler.schedule()
        return lost

    def to_its_end(self) -> None:
        while self.turn():
            pass
        assert all(node.shutting_down or node not in self.scheduler.nodes for node in self.nodes)

    @property
    def ran(self) -> list[str]:
        return sorted(test for node in self.nodes for test in node.ran)


def shared_out(files: list[str], processes: int) -> list[list[str]]:
    """Which file each process runs."""
    run = Run(files, processes)
    run.to_its_end()
    assert run.ran == sorted(run.tests)
    return [list(dict.fromkeys(test.partition("::")[0] for test in node.ran)) for node in run.nodes]


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


@pytest.mark.parametrize("turns", range(0, 17, 2))
@pytest.mark.parametrize("which", range(3))
def test_a_process_that_is_lost_takes_one_test_with_it_and_the_rest_is_run_once(which: int, turns: int) -> None:
    run = Run(SERVED + COMPUTED, 3)
    for _ in range(turns):
        run.turn()
    lost = run.lose(run.nodes[which])
    run.to_its_end()
    assert run.ran == sorted(test for test in run.tests if test != lost)


def test_another_process_that_only_computes_comes_for_each_that_is_lost() -> None:
    run = Run(SERVED + COMPUTED, 3)
    lost = []
    for _ in range(3):
        run.turn()
        lost.append(run.lose(run.nodes[-1]))
    run.to_its_end()
    assert run.ran == sorted(set(run.tests) - {test for test in lost if test})
    assert len(set(lost)) == 3
    assert not any(test.startswith(SERVERS) for node in run.nodes[2:] for test in node.ran)


@pytest.mark.parametrize(
    ("program", "told"),
    [("kill -9 $$", "was ended by SIGKILL"), ("exit 7", "ended with exit code 7")],
)
def test_how_a_lost_process_has_ended_is_told(program: str, told: str) -> None:
    with subprocess.Popen(["/bin/sh", "-c", program]) as process:
        assert how_it_ended(process) == told


ENDED = """
import os, threading
from tests.sudden_ends import tell_of_them
tell_of_them()
if os.fork() == 0:
    os._exit(0)
os.wait()
def left_behind():
    os._exit(8)
threading.Thread(target=left_behind, name="a thread that was left").start()
threading.Event().wait()
"""


def test_what_ends_a_process_of_tests_at_once_is_told() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 8
    assert "os._exit(8) in the process of the tests, by a thread that was left:" in ended.stderr
    assert "in left_behind" in ended.stderr
    assert ended.stderr.count("os._exit(") == 1
