"""What runs Driftlog elsewhere - the Helm chart, the pod with an agent, the unit of a device - names settings, commands and files that exist.

A misspelt variable would be passed over, and the program run on its default. The chart's templates are read as they stand; where `helm` is at hand they
are rendered too, and what comes out is given to the settings.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from driftlog.cli.root import GROUPS
from driftlog.client import sending
from driftlog.client.place import Place, TokenAuth
from driftlog_edge.config import EdgeConfig
from driftlog_edge.errors import Wiped
from driftlog_streams.settings import WorkerSettings

INFRA = Path(__file__).parents[3] / "infra"
CHART = INFRA / "helm" / "driftlog"
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SIDECAR: dict[str, Any] = yaml.safe_load((INFRA / "helm" / "examples" / "agent-sidecar.yaml").read_text())
UNIT = INFRA / "systemd" / "driftlog-edge.service"
OPTIONS = {"DRIFTLOG_CONFIG", "DRIFTLOG_APP"}
"""Variables of options that every command has, and that are no settings."""
HELM = shutil.which("helm")
KUBERNETES = "1.31.0"
KUBECONFORM = shutil.which("kubeconform")
ANALYZE = shutil.which("systemd-analyze")

PLAIN = {"app": "shop:app", "kafka.bootstrap": "kafka:9092", "registry.url": "http://registry:8081"}
SECURED = PLAIN | {
    "kafka.securityProtocol": "sasl_ssl",
    "kafka.saslMechanism": "SCRAM-SHA-512",
    "kafka.saslUsername": "workers",
    "kafka.secret": "kafka",
    "kafka.passwordKey": "password",
    "kafka.caKey": "ca.crt",
    "kafka.certificateKey": "tls.crt",
    "kafka.privateKeyKey": "tls.key",
    "registry.url": "https://registry:8081",
    "registry.username": "workers",
    "registry.secret": "registry",
    "registry.passwordKey": "password",
    "registry.caKey": "ca.crt",
    "cloudIdentity.secret": "cloud",
    "trust.root": "AAAA",
    "worker.spaces": '["retail"]',
}


def is_setting(variable: str, model: type[BaseModel]) -> bool:
    """Does a variable of the environment name a field, in a table or not?"""
    table: Any = model
    for name in variable.removeprefix("DRIFTLOG_").lower().split("__"):
        if not (isinstance(table, type) and issubclass(table, BaseModel) and name in table.model_fields):
            return False
        table = table.model_fields[name].annotation
    return True


def leaves(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def is_value(path: str) -> bool:
    found: Any = VALUES
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables that have a value of their own; of a pod's facts, one that could be."""
    return {entry["name"]: entry.get("value", "pod-0") for entry in container["env"]}


def load(
    model: type[WorkerSettings | EdgeConfig],
    variables: Mapping[str, str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> WorkerSettings | EdgeConfig:
    """The settings as the program in the pod reads them; the secrets' files are made here."""
    for variable, value in variables.items():
        if value.startswith("/run/secrets/"):
            path = folder / value.removeprefix("/run/secrets/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("secret")
            value = str(path)
        monkeypatch.setenv(variable, value)
    return model.load()


def assert_closed(pod: Mapping[str, Any]) -> None:
    """No root, no writing but into volumes, no way to more rights; each file that is named comes from a volume."""
    uid = re.search(r"useradd .*--uid (\d+)", (INFRA / "images" / "Dockerfile").read_text())
    assert uid is not None
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(uid[1])
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        closed = container["securityContext"]
        assert (closed["readOnlyRootFilesystem"], closed["allowPrivilegeEscalation"]) == (True, False)
        assert closed["capabilities"] == {"drop": ["ALL"]}
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for value in environment(container).values():
            assert not value.startswith("/") or any(Path(value).is_relative_to(mount) for mount in mounts), value


def assert_probed(container: Mapping[str, Any]) -> None:
    """At the address where the program answers without a token."""
    (port,) = container["ports"]
    assert environment(container)["DRIFTLOG_METRICS_ADDRESS"] == f"0.0.0.0:{port['containerPort']}"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {port["name"]}


# -- the chart, as it stands


def test_each_variable_of_the_chart_is_a_setting_of_workers() -> None:
    variables = re.findall(r"name: (DRIFTLOG_\w+)", TEMPLATES["_helpers.tpl"])
    assert len(variables) > 15 and len(set(variables)) == len(variables)
    assert [name for name in variables if not is_setting(name, WorkerSettings)] == []
    assert not is_setting("DRIFTLOG_KAFKA__BOOTSTRAPS", WorkerSettings) and not is_setting("DRIFTLOG_X", WorkerSettings)


def test_the_chart_runs_a_command_of_ours() -> None:
    (words,) = re.findall(r"args: \[(.+)\]", TEMPLATES["worker-statefulset.yaml"])
    assert words in GROUPS


def test_values_and_templates_know_the_same_names() -> None:
    text = "\n".join(TEMPLATES.values())
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", text))
    used |= {f"kafka.{name}" for name in re.findall(r"\$kafka\.(\w+)", text)}
    used |= {f"registry.{name}" for name in re.findall(r"\$registry\.(\w+)", text)}
    assert [path for path in used if not is_value(path)] == []
    read = used - {"kafka", "registry"}  # given a short name as a whole
    assert [
        leaf for leaf in leaves(VALUES) if not any(leaf == path or leaf.startswith(f"{path}.") for path in read)
    ] == []


# -- the chart, rendered


def render(values: Mapping[str, str]) -> str:
    """What the chart makes."""
    if HELM is None:
        pytest.skip("helm is not installed")
    given = [word for name, value in values.items() for word in ("--set-string", f"{name}={value}")]
    done = subprocess.run(
        [HELM, "template", "shop", str(CHART), "--kube-version", KUBERNETES, *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def rendered(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The same, by kind."""
    return {made["kind"]: made for made in yaml.safe_load_all(render(values)) if made}


def test_the_chart_passes_helms_own_check() -> None:
    if HELM is None:
        pytest.skip("helm is not installed")
    given = [word for name, value in PLAIN.items() for word in ("--set-string", f"{name}={value}")]
    done = subprocess.run(
        [HELM, "lint", "--strict", str(CHART), *given], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [PLAIN, SECURED], ids=["plain", "secured"])
def test_what_the_chart_makes_runs_as_it_is_told(
    values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rendered(values)
    assert made.keys() == {"StatefulSet", "Service", "PodDisruptionBudget", "ServiceAccount"}
    pod = made["StatefulSet"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert_closed(pod["spec"])
    assert_probed(container)
    settings = load(WorkerSettings, environment(container), tmp_path, monkeypatch)
    assert isinstance(settings, WorkerSettings)
    assert (settings.app, settings.kafka.bootstrap, settings.slot) == ("shop:app", "kafka:9092", "pod-0")
    if values is SECURED:
        assert settings.kafka.password() == "secret" and settings.registry.user() == ("workers", "secret")
        assert settings.cloud_identity is not None and settings.spaces == ("retail",)
    labels = pod["metadata"]["labels"].items()
    for selecting in (
        made["StatefulSet"]["spec"]["selector"]["matchLabels"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
    ):
        assert selecting.items() <= labels
    assert made["StatefulSet"]["spec"]["serviceName"] == made["Service"]["metadata"]["name"]
    assert pod["spec"]["serviceAccountName"] == made["ServiceAccount"]["metadata"]["name"]


@pytest.mark.parametrize("missing", [*PLAIN, "kafka.secret"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ValueError, match=f"{missing} is missing"):
        rendered({name: value for name, value in SECURED.items() if name != missing})


# -- both, by the schemas of Kubernetes

KINDS = {
    "statefulset-apps-v1": "io.k8s.api.apps.v1.StatefulSet",
    "service-v1": "io.k8s.api.core.v1.Service",
    "serviceaccount-v1": "io.k8s.api.core.v1.ServiceAccount",
    "poddisruptionbudget-policy-v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
}
"""As kubeconform calls the schema of a kind, and as Kubernetes does."""


@pytest.fixture(scope="module")
def conforms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """Asserts that a file's text is what the API server takes: every field is known, and of its type."""
    if KUBECONFORM is None:
        pytest.skip("kubeconform is not installed (go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0)")
    package = importlib.util.find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        pytest.skip("the schemas of Kubernetes are not at hand (pip install kubernetes-validate)")
    folder = Path(package.origin).parent / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict"
    text = (folder / "_definitions.json").read_text().replace("#/$defs/", "#/definitions/")
    known, schemas = json.loads(text)["$defs"], tmp_path_factory.mktemp("schemas")
    for file, kind in KINDS.items():
        assert kind in known
        (schemas / f"{file}.json").write_text(json.dumps({"$ref": f"#/definitions/{kind}", "definitions": known}))
    command = [KUBECONFORM, "-strict", "-schema-location", f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]

    def check(made: str) -> None:
        done = subprocess.run(command, input=made, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


@pytest.mark.parametrize("values", [PLAIN, SECURED], ids=["plain", "secured"])
def test_what_the_chart_makes_is_what_kubernetes_takes(values: dict[str, str], conforms: Callable[[str], None]) -> None:
    made = render(values)
    conforms(made)
    with pytest.raises(AssertionError, match="replicaz"):
        conforms(made.replace("replicas:", "replicaz:"))


def test_the_pod_with_an_agent_is_what_kubernetes_takes(conforms: Callable[[str], None]) -> None:
    conforms((INFRA / "helm" / "examples" / "agent-sidecar.yaml").read_text())


# -- the pod with an agent


def test_the_agent_beside_a_program_runs_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = SIDECAR["spec"]["template"]["spec"]
    till, agent = pod["containers"]
    assert_closed(pod)
    assert_probed(agent)
    assert agent["args"][0] in GROUPS
    variables = environment(agent)
    assert [name for name in variables if name not in OPTIONS and not is_setting(name, EdgeConfig)] == []
    config = load(EdgeConfig, variables, tmp_path, monkeypatch)
    assert isinstance(config, EdgeConfig)
    for variable, value in environment(till).items():
        monkeypatch.setenv(variable, value)
    place = Place.of(sending.default_url())
    assert place.url == f"http://127.0.0.1:{config.http_port}"
    assert isinstance(place.auth, TokenAuth)
    assert environment(till)["DRIFTLOG_EDGE_TOKEN_FILE"] == str(config.data_dir / "token")
    volumes = {*(volume["name"] for volume in pod["volumes"])}
    volumes |= {claim["metadata"]["name"] for claim in SIDECAR["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for container in (till, agent) for mount in container["volumeMounts"]} == volumes


# -- the unit of a device


def unit() -> list[tuple[str, str]]:
    """The lines of its service."""
    found = []
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.append((name, value))
    return found


def test_the_unit_runs_a_command_of_ours_on_settings_that_exist() -> None:
    (command,) = [value for name, value in unit() if name == "ExecStart"]
    program, *words = command.split()
    assert program.endswith("/driftlog") and words[0] in GROUPS
    variables = [value.partition("=")[0] for name, value in unit() if name == "Environment"]
    ours = [name for name in variables if name.startswith("DRIFTLOG_")]
    assert ours and [name for name in ours if name not in OPTIONS and not is_setting(name, EdgeConfig)] == []


def test_the_unit_starts_it_again_but_where_that_is_of_no_use() -> None:
    lines = dict(unit())
    assert lines["Restart"] == "always"
    assert {int(code) for code in lines["RestartPreventExitStatus"].split()} == {2, Wiped.exit_code}
    assert ("StartLimitIntervalSec", "0") in unit()


def test_a_reload_of_the_unit_lets_the_agent_read_its_file_again() -> None:
    lines = unit()
    assert ("ExecReload", "/bin/kill -HUP $MAINPID") in lines
    assert any(value.startswith("DRIFTLOG_CONFIG=") for _, value in lines), "an agent without a file ends on it"


def test_the_unit_passes_systemds_own_check(tmp_path: Path) -> None:
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run([ANALYZE, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, told) == (0, []), done.stderr
