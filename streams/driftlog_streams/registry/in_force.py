"""What the device registry says now, read to its present end: which generation of a space's read model must be read, and how devices stand."""

from __future__ import annotations

from collections.abc import Callable

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.generations import InForce
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.registry.device_view import DeviceView

SECONDS = 30.0


def generations_now(kafka: KafkaSettings | str, codecs: RecordCodecs, root: bytes | None) -> Callable[[str], InForce]:
    """Says it of each space. Raises `DevicesUnknown`."""
    return devices_now(kafka, codecs, root).generations


def devices_now(kafka: KafkaSettings | str, codecs: RecordCodecs, root: bytes | None) -> DeviceLines:
    """The lines of the registry, of devices and of spaces. Raises `DevicesUnknown`."""
    view = DeviceView(kafka, codecs, root)
    try:
        view.start(SECONDS)
    finally:
        view.close()
    return view.lines
