"""The options that say where the cluster is, for every command that needs one: said once here, not in each signature.

A command takes `settings`; its callers see `--bootstrap`, `--registry` and `--config` in that place.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from driftlog.cli.terminal import Bootstrap, Config, Registry
from driftlog_schemas.settings import ConnectionSettings

R = TypeVar("R")

_OPTIONS = {"bootstrap": Bootstrap, "registry": Registry, "config": Config}
_IN_PLACE = "settings"


def connected(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command its options, and `function` the settings that they amount to. Goes below `told`: settings can be wrong."""
    hints = get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def wrapped(
        *, bootstrap: str | None = None, registry: str | None = None, config: Path | None = None, **given: Any
    ) -> R:
        return function(**given, settings=ConnectionSettings.load(config, bootstrap=bootstrap, registry=registry))

    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        kept = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        shown += [kept] if name != _IN_PLACE else map(_option, _OPTIONS)
    wrapped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # inspect's documented way
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return wrapped


def _option(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_OPTIONS[name])
