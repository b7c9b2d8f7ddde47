"""Libraries that are not imported where another would import them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from driftlog_schemas.left_out import without


def test_what_is_left_out_is_as_if_it_were_not_installed_and_only_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seldom_used.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ZeroDivisionError), without("seldom_used"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("seldom_used")
        raise ZeroDivisionError
    try:
        assert importlib.import_module("seldom_used").__name__ == "seldom_used"
    finally:
        sys.modules.pop("seldom_used", None)


def test_what_is_loaded_already_stays() -> None:
    with without("json"):
        assert importlib.import_module("json") is sys.modules["json"]
    assert sys.modules["json"] is not None
