"""The compose file without Docker: what it names exists, what it publishes stays on loopback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftlog.cli import GROUPS

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICE_KEYS = {
    "build", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "ports", "restart",
    "stop_grace_period", "volumes",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def dependencies(service: dict[str, Any]) -> dict[str, str]:
    named = service.get("depends_on", {})
    if isinstance(named, list):
        return dict.fromkeys(named, "service_started")
    return {name: rule["condition"] for name, rule in named.items()}


def test_the_promised_parts_are_there() -> None:
    assert {"redpanda", "worker", "store-1", "store-2", "postgres", "prometheus", "grafana"} <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_service_uses_what_exists(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= SERVICE_KEYS
    assert re.fullmatch(r"[a-z0-9/._-]+:[A-Za-z0-9._-]+", service["image"])
    if "build" in service:
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        assert (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert all(isinstance(value, str) for value in service.get("environment", {}).values())


@pytest.mark.parametrize("name", SERVICES)
def test_service_waits_for_what_can_come_true(name: str) -> None:
    for other, condition in dependencies(SERVICES[name]).items():
        assert condition in CONDITIONS
        assert condition != "service_healthy" or "healthcheck" in SERVICES[other]
        assert condition != "service_completed_successfully" or SERVICES[other]["restart"] == "no"


def test_no_two_services_publish_one_port() -> None:
    published = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(set(published)) == len(published)


def test_commands_are_the_projects_own() -> None:
    for name, service in SERVICES.items():
        if "build" in service and "entrypoint" not in service:
            assert service["command"][0] in GROUPS, name


def test_image_copies_what_exists() -> None:
    lines = (ROOT / "infra/images/Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert copied
    assert all((ROOT / source).exists() for source in copied)


def test_scraped_targets_are_services() -> None:
    scraped = yaml.safe_load((ROOT / "infra/prometheus.yml").read_text())["scrape_configs"]
    targets = [t for job in scraped for group in job["static_configs"] for t in group["targets"]]
    assert {target.split(":")[0] for target in targets} <= SERVICES.keys()
