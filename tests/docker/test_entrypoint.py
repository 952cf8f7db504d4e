"""The GPU image's entry point, where NVIDIA's programs and the server are scripts that say how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "docker" / "entrypoint.sh"
REPORT = 'echo "$(basename "$0") $* pipe=${CUDA_MPS_PIPE_DIRECTORY:-none}" >> "$CALLS"'


class Image:
    """Runs the entry point where these programs are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("sh", "id", "mkdir", "basename"):  # not the PATH's folders, which may hold NVIDIA's own
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.install("aircheck")

    def install(self, name: str, status: int = 0) -> None:
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{REPORT}\nexit {status}\n")
        program.chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> tuple[list[str], str]:
        """How the programs were called, and what the entry point said."""
        done = subprocess.run(
            [ENTRYPOINT, *arguments],
            env={
                "PATH": str(self.bin),
                "CALLS": str(self.calls),
                "TMPDIR": str(self.folder),
                **environment,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return self.calls.read_text().splitlines(), done.stderr

    @property
    def pipes(self) -> Path:
        return self.folder / f"nvidia-mps-{os.getuid()}"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_on_a_gpu_the_models_share_a_daemon_of_their_own_user(image: Image) -> None:
    image.install("nvidia-smi")
    image.install("nvidia-cuda-mps-control")
    calls, _ = image.run("--profile", "a profile")
    assert calls == [
        "nvidia-smi -L pipe=none",
        f"nvidia-cuda-mps-control -d pipe={image.pipes}",
        f"aircheck serve --profile a profile pipe={image.pipes}",
    ]
    assert image.pipes.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("status", [None, 9], ids=["no driver", "no device"])
def test_without_a_gpu_the_server_starts_alone(image: Image, status: int | None) -> None:
    image.install("nvidia-cuda-mps-control")
    if status is not None:
        image.install("nvidia-smi", status)
    calls, said = image.run()
    assert calls[-1] == "aircheck serve pipe=none"
    assert not any("mps-control" in call for call in calls)
    assert not said


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_daemon_that_does_not_start_is_told_and_not_used(image: Image, is_installed: bool) -> None:
    image.install("nvidia-smi")
    if is_installed:
        image.install("nvidia-cuda-mps-control", status=1)
    calls, said = image.run()
    assert calls[-1] == "aircheck serve pipe=none"
    assert "did not start" in said


def test_somebody_elses_daemon_is_used(image: Image) -> None:
    image.install("nvidia-smi")
    image.install("nvidia-cuda-mps-control")
    calls, _ = image.run(CUDA_MPS_PIPE_DIRECTORY="/pipes")
    assert calls == ["aircheck serve pipe=/pipes"]
