"""The manifests, the settings that they mount, and the image: each names what the others have."""

from __future__ import annotations

import fnmatch
import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.classifier.config import load_classifier
from services.ledger.config import load_ledger
from services.router.config import load_router
from services.shadow.config import load_shadow

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/kubernetes"
SETTINGS = FOLDER / "homeward.toml"
SERVICES = ("router", "classifier", "ledger", "shadow")
LOADERS = {
    "router": load_router,
    "classifier": load_classifier,
    "ledger": load_ledger,
    "shadow": load_shadow,
}
SECRETS = {
    "router": {"homeward-clickhouse", "homeward-router"},
    "classifier": {"homeward-clickhouse"},
    "ledger": {"homeward-clickhouse", "homeward-ledger"},
    "shadow": {"homeward-clickhouse", "homeward-shadow"},
    "command": {"homeward-command"},
}
COMPONENT = "app.kubernetes.io/component"


def manifests() -> Iterator[dict[str, Any]]:
    """All that kustomize is told of."""
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [item for item in manifests() if item["kind"] in kinds]


def pod_of(component: str) -> dict[str, Any]:
    (found,) = (
        item["spec"]["template"]["spec"]
        for item in of_kind("StatefulSet", "Deployment")
        if item["spec"]["template"]["metadata"]["labels"][COMPONENT] == component
    )
    return dict(found)


def settings() -> dict[str, Any]:
    return tomllib.loads(SETTINGS.read_text())


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_reads_the_settings(service: str) -> None:
    """With the cloud's key in the environment, as the router has it."""
    assert LOADERS[service](SETTINGS, {"OPENAI_API_KEY": "sk-test"})


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_started_and_asked_where_the_settings_say(service: str) -> None:
    """Module, ports, probes and the Service agree."""
    (container,) = pod_of(service)["containers"]
    module, file = container["args"]
    assert importlib.util.find_spec(f"{module}.__main__") is not None
    assert module == f"services.{service}"
    mounts = {item["mountPath"] for item in container["volumeMounts"]}
    assert str(Path(file).parent) in mounts

    own = settings()[service]
    listens = {int(own[door].rpartition(":")[2]) for door in ("http", "grpc") if door in own}
    assert {item["containerPort"] for item in container["ports"]} == listens
    named = {item["name"]: item["containerPort"] for item in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe].get("httpGet") or container[probe]["grpc"]
        assert named.get(asked["port"], asked["port"]) in listens
    (found,) = (item for item in of_kind("Service") if item["metadata"]["name"] == f"homeward-{service}")
    assert {item["port"] for item in found["spec"]["ports"]} == listens
    assert any(Path(own["state_dir"]).is_relative_to(mount) for mount in mounts)


def calls() -> set[tuple[str, str, int]]:
    """(who, whom, port) of each address that a service's section names."""
    found = set()
    for service in SERVICES:
        for value in settings()[service].values():
            if isinstance(value, str) and value.startswith("homeward-"):
                host, _, port = value.partition(":")
                found.add((service, host.removeprefix("homeward-"), int(port)))
    return found


def allowed() -> set[tuple[str, str, int]]:
    """The same of what the network lets in from pods of Homeward's."""
    found = set()
    for policy in of_kind("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            to = policy["spec"]["podSelector"]["matchLabels"][COMPONENT]
            for source in rule["from"]:
                selector = source.get("podSelector", {})
                who = [selector.get("matchLabels", {}).get(COMPONENT)]
                who += [name for item in selector.get("matchExpressions", ()) for name in item["values"]]
                found |= {(name, to, port["port"]) for name in who if name for port in rule["ports"]}
    return found


def test_the_network_lets_pass_what_the_settings_need_and_no_more() -> None:
    """The command, at which people sit, may call each service."""
    services = {item for item in allowed() if item[0] != "command"}
    assert services == calls()
    assert {item[1] for item in allowed() if item[0] == "command"} == set(SERVICES)


def test_only_the_router_has_a_way_out() -> None:
    """Every other pod reaches pods of the cluster and a node's DNS cache, which is none, and nothing else."""
    (inside,) = (item for item in of_kind("NetworkPolicy") if item["spec"]["policyTypes"] == ["Egress"])
    (selector,) = inside["spec"]["podSelector"]["matchExpressions"]
    assert set(selector["values"]) == {*SERVICES, "command"} - {"router"}
    dns = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert inside["spec"]["egress"] == [
        {"to": [{"namespaceSelector": {}}]},
        {"to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}], "ports": dns},
    ]


@pytest.mark.parametrize("component", [*SERVICES, "command"])
def test_a_pod_has_its_own_secrets_and_no_rights(component: str) -> None:
    """Least privilege: the journal's address is the ledger's alone, the cloud's keys are the router's."""
    pod = pod_of(component)
    (container,) = pod["containers"]
    secrets = {item["secretRef"]["name"] for item in container["envFrom"]}
    for item in container.get("env", ()):
        if "valueFrom" in item:
            secrets.add(item["valueFrom"]["secretKeyRef"]["name"])
    assert secrets == SECRETS[component]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_command_calls_each_service_by_name() -> None:
    """What the settings say is where the services listen, which is no address to call."""
    (container,) = pod_of("command")["containers"]
    told = {item["name"]: item["value"] for item in container["env"]}
    for service in SERVICES:
        port = settings()[service]["grpc"].rpartition(":")[2]
        assert told[f"HOMEWARD_{service.upper()}__GRPC"] == f"homeward-{service}:{port}"


def test_what_the_image_copies_is_there_and_is_sent() -> None:
    """Each source of a COPY is in the repository, and .dockerignore lets it through."""
    lines = (ROOT / "deploy/docker/Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = {source for line in copied for source in line}
    assert {"services", "uv.lock"} <= sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, item) or source.startswith(f"{item}/") for item in sent), source
