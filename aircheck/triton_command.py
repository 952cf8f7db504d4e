"""The command line of a Triton, whichever version it is: the one place where its flags stand.

All flags are the same from 2.51 to 2.73; what differs is the ensemble, which a current Triton may be given in its
faster, forked form.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from aircheck.settings import Settings
from aircheck.tracing import spans
from aircheck.triton import Triton

ENSEMBLE = "audio_safety"
_ADMINISTRATION = ("model-repository", "logging", "trace", "shared-memory")


def triton_command(
    triton: Triton, settings: Settings, run_dir: Path, listen: Sequence[str], shm_prefix: str
) -> list[str]:
    """The program and its arguments.

    Args:
        run_dir: Triton's own, empty directory; links and a generated ensemble are laid out in it.
        listen: Arguments that say where it listens.
        shm_prefix: Of the names of its regions in /dev/shm.

    Raises:
        TritonError: This Triton cannot run models of this Python.
    """
    repository = settings.model_repository
    if triton.is_current:
        repository = forked_repository(repository, run_dir / "models", settings.whisper_max_waiting)
    return [
        str(triton.binary),
        *triton.arguments(run_dir),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        f"--load-model={ENSEMBLE}",  # and with it the models that it is made of
        *listen,
        "--allow-http=false",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--log-verbose={settings.log_verbose}",
        *spans.triton_arguments(),
        "--disable-auto-complete-config",  # every config.pbtxt is complete; loading each model twice is not needed
        # No secret, though `ps` shows it: nobody knows it for use, and nobody but this user reaches the socket.
        f"--grpc-restricted-protocol={','.join(_ADMINISTRATION)}:closed={secrets.token_hex(16)}",
    ]


def forked_repository(source: Path, target: Path, max_inflight_requests: int) -> Path:
    """Links to the models of `source`, and its ensemble with Whisper beside the acoustic classifier, not after it.

    `source` has the two in a row, because that is what Triton 2.51 survives. A repository of somebody's own, whose
    ensemble has no such order, is returned as it is.

    Args:
        max_inflight_requests: Requests at each step of the ensemble, of all callers together; more wait before it.
    """
    config = model_config_pb2.ModelConfig()
    text_format.Parse((source / ENSEMBLE / "config.pbtxt").read_text(), config)
    steps = {step.model_name: step for step in config.ensemble_scheduling.step}
    if not steps.keys() >= {"audio_decode", "acoustic_safety", "whisper"}:
        return source
    acoustic, whisper = steps["acoustic_safety"], steps["whisper"]
    if "DURATION" not in whisper.input_map or whisper.input_map["DURATION"] != acoustic.output_map.get("DURATION"):
        return source
    whisper.input_map["DURATION"] = steps["audio_decode"].output_map["DURATION"]
    del acoustic.output_map["DURATION"]
    config.ensemble_scheduling.max_inflight_requests = max_inflight_requests
    target.mkdir()
    for model in source.iterdir():
        if model.name != ENSEMBLE:
            (target / model.name).symlink_to(model.resolve())
    (target / ENSEMBLE / "1").mkdir(parents=True)
    (target / ENSEMBLE / "config.pbtxt").write_text(text_format.MessageToString(config))
    return target
