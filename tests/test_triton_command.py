"""Triton's command line, for the version that nvidia-pytriton carries and for those of NVIDIA's images."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from aircheck.settings import Settings
from aircheck.shipped import MODEL_REPOSITORY
from aircheck.triton import Triton, TritonError, find, python_version
from aircheck.triton_command import ENSEMBLE, forked_repository, triton_command

LISTEN = ["--grpc-address=unix:/run/grpc"]


def installed(folder: Path, version: str, stub_python: str = python_version()) -> Path:
    """What NVIDIA's image has in /opt/tritonserver, as far as the launcher looks at it."""
    stub = folder / "backends" / "python" / "triton_python_backend_stub"
    for file in (folder / "bin" / "tritonserver", stub):
        file.parent.mkdir(parents=True)
        file.touch(0o755)
    stub.write_bytes(b"\x7fELF\0libpython" + stub_python.encode() + b".so.1.0\0")
    (folder / "TRITON_VERSION").write_text(f"{version}\n")
    return folder / "bin" / "tritonserver"


def command(triton: Triton, run_dir: Path, **settings: object) -> list[str]:
    run_dir.mkdir()
    return triton_command(triton, Settings.load(**settings), run_dir, LISTEN, "aircheck_1_")


def ensemble(repository: Path) -> model_config_pb2.ModelConfig:
    config = model_config_pb2.ModelConfig()
    text_format.Parse((repository / ENSEMBLE / "config.pbtxt").read_text(), config)
    return config


def named(arguments: list[str]) -> dict[str, str]:
    return dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments[1:])


@pytest.mark.parametrize("version", ["2.51.0", "2.68.0", "2.69.0", "2.73.0"])
def test_whatever_its_version_it_listens_where_told_and_administers_nothing(tmp_path: Path, version: str) -> None:
    triton = find(installed(tmp_path / "triton", version))
    arguments = command(triton, tmp_path / "run", log_verbose=2)
    assert arguments[0] == str(triton.binary)
    flags = named(arguments)
    assert set(LISTEN) <= set(arguments)
    assert flags["allow-http"] == "false"
    assert (flags["model-control-mode"], flags["load-model"]) == ("explicit", ENSEMBLE)
    assert flags["backend-config"] == "python,shm-region-prefix-name=aircheck_1_"
    assert flags["backend-directory"] == str(tmp_path / "triton" / "backends")
    assert flags["log-verbose"] == "2"
    assert flags["grpc-restricted-protocol"].startswith("model-repository,logging,trace,shared-memory:closed=")


@pytest.mark.parametrize(("version", "is_forked"), [("2.51.0", False), ("2.68.0", False), ("2.69.0", True)])
def test_only_a_current_triton_gets_the_forked_ensemble(tmp_path: Path, version: str, is_forked: bool) -> None:
    triton = find(installed(tmp_path / "triton", version))
    flags = named(command(triton, tmp_path / "run", whisper_max_waiting=77))
    repository = Path(flags["model-repository"])
    scheduling = ensemble(repository).ensemble_scheduling
    whisper = next(step for step in scheduling.step if step.model_name == "whisper")
    assert (repository != MODEL_REPOSITORY) == is_forked
    assert whisper.input_map["DURATION"] == ("duration" if is_forked else "listened_duration")
    assert scheduling.max_inflight_requests == (77 if is_forked else 0)


def test_the_forked_ensemble_has_the_same_door_and_no_tensor_that_nothing_makes(tmp_path: Path) -> None:
    chain, forked = ensemble(MODEL_REPOSITORY), ensemble(forked_repository(MODEL_REPOSITORY, tmp_path / "models", 8))
    assert (forked.input, forked.output, forked.max_batch_size) == (chain.input, chain.output, chain.max_batch_size)
    steps = forked.ensemble_scheduling.step
    made = {tensor.name for tensor in forked.input} | {name for step in steps for name in step.output_map.values()}
    read = {name for step in steps for name in step.input_map.values()} | {tensor.name for tensor in forked.output}
    assert read == made, "a tensor that is made and not read, or read and not made"
    for step in steps:
        assert (tmp_path / "models" / step.model_name / "config.pbtxt").is_file()
        outputs = {tensor.name for tensor in forked.output}
        assert set(step.output_map.values()) - outputs or step.model_name == "policy", "Triton would leave it out"


def test_somebodys_own_ensemble_is_served_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own" / ENSEMBLE
    own.mkdir(parents=True)
    (own / "config.pbtxt").write_text('name: "audio_safety" platform: "ensemble"')
    assert forked_repository(own.parent, tmp_path / "models", 8) == own.parent
    assert not (tmp_path / "models").exists()


def test_a_backend_for_another_python_is_an_error_that_names_both(tmp_path: Path) -> None:
    triton = find(installed(tmp_path / "triton", "2.71.0", stub_python="3.10"))
    with pytest.raises(TritonError, match=rf"for Python 3\.10, and this is {python_version()}.*AIRCHECK_TRITON"):
        command(triton, tmp_path / "run")


def test_a_triton_that_does_not_say_its_version_is_none_that_may_fork(tmp_path: Path) -> None:
    binary = installed(tmp_path / "triton", "2.71.0")
    (tmp_path / "triton" / "TRITON_VERSION").unlink()
    triton = find(binary)
    assert triton.name == "Triton of an unknown version"
    assert not triton.is_current
    assert named(command(triton, tmp_path / "run"))["model-repository"] == str(MODEL_REPOSITORY)
