"""The workers' own device: who holds its key makes partitions forget, and gives up what waits in them."""

from __future__ import annotations

from pathlib import Path

import structlog

from driftlog_schemas.identity import CLOUD
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import SetupProblem

log = structlog.get_logger()


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
