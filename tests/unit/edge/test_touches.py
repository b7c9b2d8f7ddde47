"""A command that changes what it does not declare is found on the edge when it runs, not weeks later in the cloud."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_crdt import Op
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import DocumentOp
from driftlog_schemas.running import run_declared
from tests.unit.edge.shop import CONTRACT

COMMAND = dataclasses.replace(
    next(iter(next(iter(CONTRACT.spaces.values())).commands.values())),
    touches={"Stock": frozenset({"on_hand"})},
    run=lambda editor, arguments: 7,
)


def run(field: str) -> Any:
    op = Op("store-1.k3f9q2w7", 1, 1, field, "increment", 1)
    return SimpleNamespace(ops=[DocumentOp(DocumentId("Stock", "s1", "tea"), op)])


def test_what_is_declared_passes_and_anything_else_is_named() -> None:
    assert run_declared(COMMAND, run("on_hand"), {}) == 7
    with pytest.raises(InvalidInput, match=r"changes Stock\.price.*touches="):
        run_declared(COMMAND, run("price"), {})
    assert run_declared(dataclasses.replace(COMMAND, touches=None), run("price"), {}) == 7
