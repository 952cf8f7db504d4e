"""The manifests: of the right form by the schemas of Kubernetes, and in agreement with the server and the image."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aircheck.gateway.counters import TURN_SECONDS
from aircheck.settings import PREFIX, ROOT, Settings
from support.image import environment

MANIFESTS = ROOT / "docker" / "kubernetes"
VERSIONS = ("1.30.0", kubernetes_validate.latest_version())
LABEL = {"app.kubernetes.io/name": "aircheck"}


@cache
def documents(folder: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which holds Kustomize, is not installed")
    done = subprocess.run(["kubectl", "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def resource(kind: str, folder: str = "base") -> dict[str, Any]:
    (found,) = (one for one in documents(folder) if one["kind"] == kind)
    return found


def container(folder: str) -> dict[str, Any]:
    (found,) = resource("Deployment", folder)["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", sorted((MANIFESTS / "base").glob("[!k]*.yaml")), ids=lambda path: path.stem)
def test_each_manifest_fits_the_schema_of_its_kind(path: Path, version: str) -> None:
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_what_kustomize_makes_of_them_fits_too(folder: str, version: str) -> None:
    for document in documents(folder):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(("folder", "target"), [("base", "cpu"), ("gpu", "gpu")])
def test_the_server_takes_the_environment_of_the_image_and_of_the_pod(
    folder: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = container(folder)
    assert pod["image"] == f"aircheck:{target}"
    for name, value in environment(target).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    for variable in pod["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = Settings.load()
    ports = {port["name"]: port["containerPort"] for port in pod["ports"]}
    assert ports == {"grpc": settings.grpc_port, "metrics": settings.metrics_port}
    assert (settings.host, settings.metrics_host) == ("0.0.0.0", "0.0.0.0")
    mounts = [Path(mount["mountPath"]) for mount in pod["volumeMounts"]]
    assert settings.tokens_file is not None
    assert settings.tokens_file.parent in mounts
    probe = pod["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= min(settings.ready_timeout_s, 300)


def test_a_pod_gets_the_time_that_its_calls_need() -> None:
    spec = resource("Deployment")["spec"]["template"]["spec"]
    (pod,) = spec["containers"]
    pause_s = int(pod["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause_s + Settings.load().exit_timeout_s + 15


def test_the_pod_may_write_only_to_volumes_and_has_no_rights() -> None:
    spec = resource("Deployment")["spec"]["template"]["spec"]
    (pod,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["name"] for mount in pod["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert {mount["mountPath"] for mount in pod["volumeMounts"]} >= {"/tmp", "/dev/shm"}


def test_clients_see_every_pod() -> None:
    service = resource("Service")["spec"]
    assert service["clusterIP"] == "None"
    assert service["ports"][0]["port"] == Settings.load().grpc_port


def test_all_of_them_mean_the_same_pods() -> None:
    assert resource("Deployment")["spec"]["selector"]["matchLabels"] == LABEL
    assert resource("Deployment")["spec"]["template"]["metadata"]["labels"] == LABEL
    assert resource("Service")["spec"]["selector"] == LABEL
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABEL
    assert resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABEL


def test_the_autoscaler_follows_a_metric_that_the_server_has() -> None:
    (metric,) = resource("HorizontalPodAutoscaler")["spec"]["metrics"]
    (rule,) = yaml.safe_load((MANIFESTS / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    (family,) = TURN_SECONDS.collect()
    assert set(re.findall(r"aircheck\w+", rule["metricsQuery"])) == {f"{family.name}_sum", f"{family.name}_count"}
