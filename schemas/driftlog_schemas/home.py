"""The user's folder, also for who has none: a container may run as any number, and a service without an environment."""

from __future__ import annotations

from pathlib import Path

NOWHERE = Path("/nonexistent")
"""What a system names as the folder of users that have none. Nothing can be kept there, and nobody else can have laid anything there."""


def home() -> Path:
    """Of this user."""
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE
