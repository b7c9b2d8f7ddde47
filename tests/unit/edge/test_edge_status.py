"""`driftlog edge status` tells people in words what the API tells in parts."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from driftlog.cli.edge import app as cli
from driftlog.cli.edge_status import _IN_WORDS as IN_WORDS

LIFE = {"replica": "store-1.a", "since_ms": 0, "why": "", "rebased": 0, "review": 0}
LINE = {"status": "active", "scopes": ["s1", "s2"], "permissions": ["*"], "key_counts": True, "permit_ends": None}
POWER = {"mains": None, "battery_percent": None, "metered": None, "saving": False, "problem": ""}
KEYS = {"data_key": "e847", "made_ms": 0, "wrapped_by": None, "rotating": False, "problem": ""}


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("lives", [LIFE], "1"),
        (
            "lives",
            [LIFE, {**LIFE, "why": "the folder was copied", "rebased": 3, "review": 1}],
            "2, the last since 1970-01-01T00:00:00.000+00:00: the folder was copied; 3 commands came along, 1 wait for a person",
        ),
        ("registered", None, "not known yet"),
        ("registered", LINE, "active, scopes s1, s2; may *"),
        (
            "registered",
            {**LINE, "permit_ends": 1000, "key_counts": False},
            "active, scopes s1, s2; may *, until 1970-01-01T00:00:01.000+00:00, and the key of its identity file counts no more",
        ),
        ("waiting", [], ""),
        (
            "waiting",
            [{"for": "wifi", "until": None, "commands": 3}, {"for": "5m", "until": 1000, "commands": 1}],
            "3 for wifi, 1 for 5m until 1970-01-01T00:00:01.000+00:00",
        ),
        ("forecast", {"commands_per_hour": 0.0, "full_in_seconds": None, "drained_in_seconds": None}, ""),
        (
            "forecast",
            {"commands_per_hour": 9.0, "full_in_seconds": 7200, "drained_in_seconds": 5},
            "full in 2.0 h, sent in 5 s",
        ),
        ("read_again", {}, ""),
        (
            "read_again",
            {"retail/1": {"why": "it was made anew", "since": 0, "records": 7}},
            "retail/1 (7 records so far): it was made anew",
        ),
        ("link", {"bytes_per_second": None, "limit": 0}, "not measured yet"),
        (
            "link",
            {"bytes_per_second": 450.5, "limit": 100},
            "450 bytes/s as measured, of which 100 may be used",
        ),
        ("power", POWER, "unknown"),
        (
            "power",
            {**POWER, "mains": False, "battery_percent": 12.0, "metered": True, "saving": True},
            "no mains, battery at 12 %, a network that costs something, only what is urgent leaves",
        ),
        ("power", {**POWER, "mains": True, "metered": False}, "mains, a network that costs nothing"),
        ("power", {**POWER, "problem": "it hangs"}, "it hangs"),
        ("encryption", KEYS, "data key e847 of 1970-01-01T00:00:00.000+00:00"),
        (
            "encryption",
            {**KEYS, "wrapped_by": "w1", "rotating": True, "problem": "no"},
            "data key e847 of 1970-01-01T00:00:00.000+00:00, wrapped by w1, another takes its place now; no",
        ),
        ("versions", {"agent": "0.1.0", "app": "shop"}, "agent 0.1.0, app shop"),
        ("differing", ["retail/1 s1", "retail/2 s2"], "retail/1 s1, retail/2 s2"),
    ],
)
def test_a_fact_in_words(name: str, told: Any, words: str) -> None:
    assert IN_WORDS[name](told) == words


def test_the_status_of_an_agent_has_no_facts_in_parts(url: str) -> None:
    shown = CliRunner().invoke(cli, ["status", "--url", url], env={"COLUMNS": "200"}).stdout
    assert "agent 0.1.0" in shown.replace("\n", "")
    assert not {"{", "[", "}"} & set(shown)
