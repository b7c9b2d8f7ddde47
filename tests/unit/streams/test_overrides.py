"""Faust still looks as the overrides assume. When this fails after an upgrade, read `overrides` before anything else."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from typing import Any

import pytest

from driftlog_streams.faust_driver.overrides import (
    ATTRIBUTES,
    PRIVATE,
    BeatingListener,
    BoundedRecovery,
    BoundedTables,
    FastConsumer,
    FaustApp,
    OurThread,
    SafeConsumer,
    StateTable,
)


def resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    module, _, owner = module.rpartition(".")
    return getattr(getattr(importlib.import_module(module), owner), name)


@pytest.mark.parametrize("path", sorted(PRIVATE))
def test_signature_is_unchanged(path: str) -> None:
    found = inspect.signature(resolve(path)).parameters.values()
    names = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in found]
    assert names == list(PRIVATE[path]), f"{path} takes {names} now"


@pytest.mark.parametrize("path", sorted(ATTRIBUTES))
def test_private_attributes_are_still_used(path: str) -> None:
    module, _, owner = path.rpartition(".")
    source = inspect.getsource(getattr(importlib.import_module(module), owner))
    assert [name for name in ATTRIBUTES[path] if name not in source] == []


@pytest.mark.parametrize(
    "ours",
    [
        OurThread, BeatingListener, SafeConsumer, FastConsumer, FaustApp, BoundedRecovery, BoundedTables, StateTable,
    ],
)  # fmt: skip
def test_every_override_is_listed(ours: type) -> None:
    listed = {path.rpartition(".")[2] for path in PRIVATE}
    own = {
        "__init__",
        "mark_done",
        "_is_next",
        "_seek_again",
        "_ask_for_what_is_missing",
        "_congested",
        "behind",
        "log_end",
        "replays_from",
    }
    overridden = {name for name, value in vars(ours).items() if inspect.isfunction(value) and name not in own}
    assert overridden <= listed


@pytest.mark.parametrize(
    ("package", "version"),
    [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("mode-streaming", "0.7.1"), ("confluent-kafka", "2.16.0")],
)
def test_what_was_read_is_what_is_installed(package: str, version: str) -> None:
    assert importlib.metadata.version(package) == version
