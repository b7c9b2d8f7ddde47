"""The conflicts of an app, as the commands about them read them."""

from __future__ import annotations

from pathlib import Path

from driftlog.cli.present import present_contract
from driftlog_schemas.contract import AppContract
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_streams.reading.conflict_reader import read_conflicts


def read_all(target: str, settings: ConnectionSettings, cache: Path) -> tuple[AppContract, list[Conflict]]:
    """What the app declares, and all its conflicts. Raises like `present_contract` and `read_conflicts`."""
    contract = present_contract(target, settings, cache)
    codecs = RecordCodecs(CachedRegistry(settings.registry, cache))
    found: list[Conflict] = []
    for space in contract.spaces.values():
        found += read_conflicts(settings.kafka, space.name, space.partitions, codecs)
    return contract, found
