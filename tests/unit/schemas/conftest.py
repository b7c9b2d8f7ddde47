"""No example is judged by its time, unless a profile was chosen that does."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

if settings.get_current_profile_name() in ("default", "ci"):
    settings.register_profile("wire", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("wire")
