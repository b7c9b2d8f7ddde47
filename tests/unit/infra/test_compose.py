"""The compose file without Docker: what it names exists, what it publishes stays on loopback."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from typer.models import OptionInfo

from driftlog.cli.operator import OperatorPath
from driftlog.cli.root import GROUPS
from driftlog_console.config import ConsoleConfig
from driftlog_edge.config import EdgeConfig
from driftlog_edge.http_api.access import token_in
from driftlog_edge.http_api.listening import listen
from driftlog_infra.ports import free_port
from driftlog_schemas.errors import BadSetting
from driftlog_schemas.settings import PREFIX, ConnectionSettings
from driftlog_streams.projections.settings import ProjectorSettings
from driftlog_streams.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
APP = "DRIFTLOG_APP"
"""An option of every command."""
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "ports",
    "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
ANOTHER = str.maketrans("0246ts", "1357zz")
"""Makes another value of any that stands there."""
PROGRAMS: dict[str, type[ConnectionSettings]] = {
    "worker": WorkerSettings,
    "edge": EdgeConfig,
    "console": ConsoleConfig,
    "project": ProjectorSettings,
}
"""Those that are told by the environment, and what reads it."""
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def dependencies(service: dict[str, Any]) -> dict[str, str]:
    named = service.get("depends_on", {})
    if isinstance(named, list):
        return dict.fromkeys(named, "service_started")
    return {name: rule["condition"] for name, rule in named.items()}


def test_what_runs_for_long_is_started_again_however_often_it_ends() -> None:
    policies = {name: service["restart"] for name, service in SERVICES.items() if "build" in service}
    once = {name for name, policy in policies.items() if policy == "no"}
    assert {policy for name, policy in policies.items() if name not in once} == {"unless-stopped"}
    assert {"worker", "store-1", "store-2", "console", "projector"} == policies.keys() - once


def test_the_promised_parts_are_there() -> None:
    assert {
        "redpanda",
        "worker",
        "store-1",
        "store-2",
        "console",
        "postgres",
        "projector",
        "prometheus",
        "grafana",
    } <= SERVICES.keys()


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


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_service_of_ours_writes_into_volumes_only_and_there_it_may(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    made = re.search(r"install -d -o driftlog (.*)", (ROOT / "infra/images/Dockerfile").read_text())
    assert made is not None
    laid_over = {mount.split(":")[1] for mount in service.get("volumes", [])}
    assert laid_over <= set(made[1].split()), "a volume over a folder that is not there is root's"


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


@pytest.mark.parametrize("name", SERVICES)
def test_each_variable_of_a_program_is_a_setting_that_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one would be passed over, and the program run on its default."""
    service = SERVICES[name]
    settings = PROGRAMS.get(service.get("command", [""])[0])
    if settings is None:
        return
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    arrived = settings.load()
    for variable, value in service["environment"].items():
        with monkeypatch.context() as other:
            other.setenv(variable, value.translate(ANOTHER))
            assert variable == APP or _loaded(settings) != arrived, f"nothing reads {variable}"


def _loaded(settings: type[ConnectionSettings]) -> ConnectionSettings | None:
    """None where it is read and cannot be used."""
    try:
        return settings.load()
    except BadSetting:
        return None


def test_the_services_that_sign_are_told_where_the_operators_keys_are() -> None:
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            if variable.startswith(PREFIX) and service.get("command", [""])[0] not in PROGRAMS:
                assert variable in {APP, "DRIFTLOG_BOOTSTRAP", "DRIFTLOG_REGISTRY", _operator_variable()}, name


def _operator_variable() -> str:
    (option,) = (said for said in get_args(OperatorPath) if isinstance(said, OptionInfo))
    assert isinstance(option.envvar, str)
    return option.envvar


def test_image_copies_what_exists() -> None:
    lines = (ROOT / "infra/images/Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert copied
    assert all((ROOT / source).exists() for source in copied)


def test_scraped_targets_are_services() -> None:
    scraped = yaml.safe_load((ROOT / "infra/prometheus.yml").read_text())["scrape_configs"]
    targets = [t for job in scraped for group in job["static_configs"] for t in group["targets"]]
    assert {target.split(":")[0] for target in targets} <= SERVICES.keys()


def test_scraped_ports_tell_without_a_token() -> None:
    """The agents' API asks for one that Prometheus cannot read."""
    scraped = yaml.safe_load((ROOT / "infra/prometheus.yml").read_text())["scrape_configs"]
    targets = [t for job in scraped for group in job["static_configs"] for t in group["targets"]]
    ours = {
        name for name, service in SERVICES.items() if service.get("command", [""])[0] in ("worker", "edge", "project")
    }
    assert {t.split(":")[0] for t in targets} >= ours
    for target in targets:
        name, _, port = target.partition(":")
        if name in ours:
            assert SERVICES[name]["environment"]["DRIFTLOG_METRICS_ADDRESS"] == f"0.0.0.0:{port}"


@pytest.mark.parametrize("name", ["store-1", "store-2"])
def test_an_agent_may_listen_as_it_is_told(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where other machines reach it, it begins only with a token that was made for that: the service before it makes one."""
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    config = EdgeConfig.load()
    (volume,) = SERVICES[name]["volumes"]
    (before,) = SERVICES[name]["depends_on"]
    assert config.http_token_file is not None and volume in SERVICES[before]["volumes"]
    (script,) = SERVICES[before]["command"]
    made = script.partition(";")[2].replace("/data/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", made], check=True)
    token = tmp_path / config.http_token_file.name
    first = token_in(token)
    subprocess.run(["sh", "-c", made], check=True)
    assert token_in(token) == first, "made once"
    listen(config.model_copy(update={"http_port": free_port()})).close()
