"""The workers' own device: who holds its key makes partitions forget, and gives up what waits in them."""

from __future__ import annotations

from pathlib import Path

from driftlog_schemas.identity import CLOUD
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import SetupProblem


def load_cloud_identity(path: Path) -> Identity:
    """Raises `IdentityProblem`, `SetupProblem` for another device's file."""
    identity = Identity.load(path)
    if identity.device_id != CLOUD:
        raise SetupProblem(
            f"{path} is the identity of {identity.device_id!r}", "make the workers' with `driftlog devices enrol-cloud`"
        )
    return identity
