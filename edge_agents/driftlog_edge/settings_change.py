"""Settings that change while the agent runs: what may, how a change is checked, and who goes by it.

A change is checked by the model that reads the settings file, as a whole: what does not fit leaves everything as it was. What it does not name stays. It lasts
until the agent ends or is told to read its file again; the file is what the next one begins with.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from driftlog_edge.config import EdgeConfig
from driftlog_edge.link.sync import Sync
from driftlog_edge.outgoing.flow import Bucket, Flow
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.store.budget import DiskBudget
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.rhythm import rhythm_of, text_of
from driftlog_schemas.settings import bad

log = structlog.get_logger()

TABLES = {"power": ("low_battery_percent", "every_seconds"), "link": ("bytes_per_second",)}
"""What may change of them. Who is asked for power may not: whoever may speak to the agent would run programs in its name."""
CHANGEABLE = (*TABLES, "sync", "disk_budget", "log_level")


_FIXED = "does not change while the agent runs; set it in the file, and start it anew"


class SettingsChange:
    """Of one agent."""

    def __init__(
        self,
        contract: AppContract,
        config: EdgeConfig,
        outbox: Outbox,
        flow: Flow,
        incoming: Bucket,
        sync: Sync,
        budget: DiskBudget,
    ) -> None:
        self._declared = {name: one.rhythm for s in contract.spaces.values() for name, one in s.collections.items()}
        self._outbox = outbox
        self._flow = flow
        self._incoming = incoming
        self._sync = sync
        self._budget = budget
        self.config = config

    def shown(self) -> dict[str, Any]:
        """What may be changed, as it is now; of every collection its rhythm."""
        declared = {name: text_of(rhythm) for name, rhythm in self._declared.items()}
        tables = {name: getattr(self.config, name).model_dump(include=set(fields)) for name, fields in TABLES.items()}
        return {
            **tables,
            "sync": declared | self.config.sync,
            "disk_budget": self.config.disk_budget,
            "log_level": self.config.log_level,
        }

    def change(self, given: Mapping[str, Any]) -> EdgeConfig:
        """Go by these settings from now on, and by those before where they say nothing. Raises `InvalidInput`: nothing has changed."""
        before, config = self.config, self._checked(given)
        self.config = config
        self._go_by(config, before)
        log.info("settings changed", **{name: given[name] for name in CHANGEABLE if name in given})
        return config

    def reread(self, found: EdgeConfig) -> EdgeConfig:
        """Go by what the settings' sources say now, as far as it may change: also where it was changed by a call meanwhile. What may not is told and left.

        Raises `InvalidInput`: nothing has changed.
        """
        check_rhythms(found, self._declared)
        tables = {
            name: getattr(self.config, name).model_copy(
                update={field: getattr(getattr(found, name), field) for field in fields}
            )
            for name, fields in TABLES.items()
        }
        before = self.config
        whole = {name: getattr(found, name) for name in CHANGEABLE if name not in TABLES}
        config = before.model_copy(update={**tables, **whole})
        if fixed := _differing(config, found):
            log.warning("settings that do not change while the agent runs", settings=fixed, remedy="start it anew")
        self.config = config
        self._go_by(config, before)
        log.info("settings read again", changed=_differing(before, config))
        return config

    def _go_by(self, config: EdgeConfig, before: EdgeConfig) -> None:
        """Let everybody go by them; nothing of it can fail."""
        self._outbox.set_rhythms(rhythms(config))
        self._sync.power.set(config.power)
        if config.disk_budget != before.disk_budget:
            self._budget.set(config.disk_budget)
        if config.link != before.link:
            self._flow.bucket.set(config.link.bytes_per_second)
            self._incoming.set(config.link.bytes_per_second)
            self._sync.anew()
        if config.log_level != before.log_level:
            set_log_level(config.log_level)

    def _checked(self, given: Mapping[str, Any]) -> EdgeConfig:
        for name in given:
            if name in CHANGEABLE:
                continue
            if name in EdgeConfig.model_fields:
                raise InvalidInput(name, _FIXED)
            raise InvalidInput(name, f"is no setting; what may change is {', '.join(CHANGEABLE)}")
        wanted: dict[str, Any] = {name: getattr(self.config, name) for name in EdgeConfig.model_fields}
        for name, value in given.items():
            wanted[name] = self._merged(name, value)
        try:
            config = EdgeConfig(**wanted)
        except ValidationError as error:
            field, _, why = str(bad(error)).removeprefix("setting ").partition(": ")
            remedy = (
                error.errors(include_url=False)[0].get("ctx", {}).get("remedy")
            )  # else it is one for who starts an agent
            raise InvalidInput(field, f"{why}; {remedy}" if remedy else why) from error
        check_rhythms(config, self._declared)
        return config

    def _merged(self, name: str, value: Any) -> Any:
        """A table with what is given of it; of `sync` what is null is as the app declares it."""
        if name in ("disk_budget", "log_level"):
            return value
        if not isinstance(value, Mapping):
            raise InvalidInput(name, "is a table; give an object with what changes in it")
        if name == "sync":
            merged = {**self.config.sync, **value}
            return {collection: rhythm for collection, rhythm in merged.items() if rhythm is not None}
        table = getattr(self.config, name)
        for field in value:
            if field in type(table).model_fields and field not in TABLES[name]:
                raise InvalidInput(f"{name}.{field}", _FIXED)
        return {**table.model_dump(), **value}


def _differing(one: BaseModel, other: BaseModel) -> list[str]:
    """The names of the fields that are not the same, of tables those within; never their values, which may be secret."""
    names: list[str] = []
    for name in type(one).model_fields:
        here, there = getattr(one, name), getattr(other, name)
        if here == there:
            continue
        nested = _differing(here, there) if isinstance(here, BaseModel) and isinstance(there, BaseModel) else []
        names += [f"{name}.{inner}" for inner in nested] or [name]
    return names


def rhythms(config: EdgeConfig) -> dict[str, int]:
    """Of the collections that have another one than the app declares."""
    return {name: found for name, text in config.sync.items() if (found := rhythm_of(text)) is not None}


def check_rhythms(config: EdgeConfig, declared: Collection[str]) -> None:
    """Raise `InvalidInput` for a rhythm of what is no collection: a name misspelt would change nothing, and nobody would see it."""
    for name in config.sync:
        if name not in declared:
            known = ", ".join(sorted(declared))
            raise InvalidInput(f"sync.{name}", f"the app declares no such collection; it has {known}")


def set_log_level(level: str) -> None:
    """What is less than this is told no more."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
    )
