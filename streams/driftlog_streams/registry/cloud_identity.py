"""The workers' own device: who holds its key makes partitions forget, and gives up what waits in them."""

from __future__ import annotations

from pathlib import Path

import structlog

from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.signing import Identity
from driftlog_streams.core.rights import FORGET
from driftlog_streams.errors import SetupProblem

log = structlog.get_logger()


class KeyWatch:
    """Does what this worker signs count still? A key's end is known some seconds before it comes.

    What a reaction calls for is signed when its change is merged; signed by a key without worth it would be lost, and nobody would make it
    anew. So where the app reacts such a worker must not merge. Elsewhere the merge goes on, and a line says what does not.
    """

    def __init__(self, identity: Identity, *, reacting: bool) -> None:
        self._identity, self._reacting = identity, reacting
        self._told = ""

    def require(self, device: Device | None) -> None:
        """`device` is the registry's line of the workers' own device. Raises `SetupProblem`."""
        why = _worthless(self._identity, device)
        if why and self._reacting:
            raise SetupProblem(
                f"what reactions call for cannot be signed: {why}",
                "give every worker the newest file of `driftlog devices enrol-cloud`, with --cloud-identity",
            )
        if why and why != self._told:
            log.error("nothing is forgotten, and no deadline ends a conflict", why=why)
        self._told = why


def _worthless(identity: Identity, device: Device | None) -> str:
    """Why this identity's signature says nothing, or soon will; empty where it does."""
    if device is None:
        return f"the device registry knows no {CLOUD!r} (another cluster's, or another operator's identity?)"
    if not any(key.key_id == identity.key_id and not key.until_ms for key in device.keys):
        return f"the registry does not have key {identity.key_id!r} of {CLOUD!r}, or has ended it"
    if device.latest.status is not DeviceStatus.ACTIVE or FORGET not in device.latest.permissions:
        return f"{CLOUD!r} is {device.latest.status.value} in the registry, and may do {', '.join(device.latest.permissions) or 'nothing'}"
    return ""


def cloud_identity(path: Path | None, *, reacting: bool) -> Identity | None:
    """That of this worker, where it has one. Raises `IdentityProblem`, `SetupProblem`; the latter too where the app has reactions and there is none."""
    if path is not None:
        return load_cloud_identity(path)
    if reacting:
        raise SetupProblem(
            "the app declares reactions (`on_change`), and this worker has no --cloud-identity to write their commands with",
            "make one with `driftlog devices enrol-cloud`, and give it to every worker",
        )
    log.warning(
        "nothing is forgotten, and no deadline ends a conflict: this worker has no --cloud-identity"
        " (`driftlog devices enrol-cloud`)"
    )
    return None


def load_cloud_identity(path: Path) -> Identity:
    """Raises `IdentityProblem`, `SetupProblem` for another device's file."""
    identity = Identity.load(path)
    if identity.device_id != CLOUD:
        raise SetupProblem(
            f"{path} is the identity of {identity.device_id!r}", "make the workers' with `driftlog devices enrol-cloud`"
        )
    return identity
