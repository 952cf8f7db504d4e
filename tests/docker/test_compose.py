"""compose.yaml: of the right form by the schema of the Compose specification, and in agreement with what it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from aircheck.settings import ROOT, Settings
from aircheck_client.cli import app
from support.image import environment, instructions
from support.promtool import promtool

FILE = ROOT / "docker" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]


def test_prometheus_takes_its_configuration_as_it_is_mounted(tmp_path: Path) -> None:
    for volume in SERVICES["prometheus"]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("."):
            shutil.copy(FILE.parent / source, tmp_path / Path(target).name)
    (config,) = (word.partition("=")[2] for word in SERVICES["prometheus"]["command"] if "config.file" in word)
    promtool("check", "config", str(tmp_path / Path(config).name))


def test_it_fits_the_schema_of_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_port_is_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_server_takes_the_environment_of_image_and_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = SERVICES[name]
    assert service["build"]["target"] == name
    for variable, value in {**environment(name), **service["environment"]}.items():
        if variable != "PATH":
            monkeypatch.setenv(variable, value)
    settings = Settings.load()
    published = {int(port.rpartition(":")[2]) for port in service["ports"]}
    assert published == {settings.grpc_port, settings.metrics_port}
    assert int(service["stop_grace_period"].rstrip("s")) > settings.exit_timeout_s + 15


def test_the_worker_understands_its_command() -> None:
    """It prints its AsyncAPI document, for which it needs all its options and no broker."""
    service = SERVICES["worker"]
    assert instructions("worker")[-1] == ("ENTRYPOINT", '["aircheck", "worker"]')
    done = CliRunner().invoke(app, ["worker", *service["command"], "--asyncapi"])
    assert done.exit_code == 0, done.output
    assert "uploads.dead" in done.output
    assert "--metrics-host=0.0.0.0" in service["command"]
    assert set(service["depends_on"]) <= set(SERVICES)


def test_whatever_is_mounted_from_the_checkout_is_there() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    sources = [volume.split(":")[0] for volume in volumes if volume.startswith(".")]
    assert sources
    for source in sources:
        assert (FILE.parent / source).exists(), source


@pytest.mark.parametrize("name", ["gpu", "worker"])
def test_a_volume_belongs_to_the_user_of_the_image(name: str) -> None:
    """A new volume takes the owner of the folder that it is mounted over; without one it is root's."""
    mounted = [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]
    steps = instructions(name)
    assert ("USER", "10001") in steps
    made = " ".join(value for instruction, value in steps if instruction == "RUN")
    for folder in mounted:
        assert f"install --directory --owner 10001 {folder}" in made
