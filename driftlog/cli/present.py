"""What an app declares, with its spaces as they are now: one that was given another number of partitions goes on in other topics."""

from __future__ import annotations

from pathlib import Path

from driftlog.cli.operator import trusted_root
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.loading import load_contract
from driftlog_schemas.moves import present_app
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.registry.in_force import devices_now


def present_contract(target: str, settings: ConnectionSettings, cache: Path) -> AppContract:
    """Raises what `load_contract` raises, `TopicProblem`, `BrokerUnreachable`, `DevicesUnknown`."""
    contract = load_contract(target)
    TopicsAdmin(settings.kafka).require([topics.devices_topic()])
    codecs = RecordCodecs(CachedRegistry(settings.registry, cache))
    return present_app(contract, devices_now(settings.kafka, codecs, trusted_root(settings)).moved)
