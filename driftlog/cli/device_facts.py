"""What is known of a device, in words and dates: the same for all commands of `driftlog devices`."""

from __future__ import annotations

import time
from typing import Any

from driftlog.cli.texts import moment
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_streams.registry.enrolment import Signs

_NONE = Signs()


def end(device: Device) -> str:
    """When its permit ends; empty where it does not."""
    return moment(device.latest.not_after_ms) if device.latest.not_after_ms else ""


def status(device: Device, signs: Signs) -> str:
    """`wiped` once a replica with a key that counts has said that it is gone."""
    latest = device.latest.status
    current = {key.key_id for key in device.keys if not key.until_ms}
    farewells = signs.farewells.get(device.device_id, ())
    done = latest is DeviceStatus.WIPE and any(farewell.key_id in current for farewell in farewells)
    return "wiped" if done else latest.value


def data(device: Device, signs: Signs = _NONE) -> dict[str, Any]:
    """All that is known of it, as `--json` tells it."""
    latest, now = device.latest, time.time_ns() // 1_000_000
    return {
        "device_id": device.device_id,
        "version": device.version,
        "status": status(device, signs),
        "status_since": moment(latest.from_ms),
        "enrolled": moment(device.terms[0].from_ms),
        "scopes": list(latest.scopes),
        "permissions": list(latest.permissions),
        "not_after": end(device) or None,
        "keys": sorted(key.key_id for key in device.keys if key.counts_at(now)),
        "wiped": [
            {"key_id": f.key_id, "replica": f.replica, "unconfirmed_commands_lost": f.lost, "at": moment(f.said_ms)}
            for f in signs.farewells.get(device.device_id, ())
        ],
        "cloned": moment(signs.cloned[device.device_id]) if device.device_id in signs.cloned else None,
        "key_history": [
            {
                "key_id": key.key_id,
                "from": moment(key.from_ms),
                "until": moment(key.until_ms) if key.until_ms else None,
            }
            for key in device.keys
        ],
        "terms": [
            {
                "from": moment(terms.from_ms),
                "status": terms.status.value,
                "scopes": list(terms.scopes),
                "permissions": list(terms.permissions),
                "not_after": moment(terms.not_after_ms) if terms.not_after_ms else None,
            }
            for terms in device.terms
        ],
    }
