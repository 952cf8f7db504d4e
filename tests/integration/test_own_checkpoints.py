"""A server of somebody's own checkpoints: tiny, of random weights, in the formats that people have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from aircheck.server import Server, StartError
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Retry
from support.audio import wav
from support.own_checkpoints import TEXT_LABELS, save_audio_model, save_bert
from support.speech import speak
from support.triton import FREE_PORTS, Models, audio
from support.whisper_models import random_whisper, save_pt, save_safetensors, tiny_whisper

CATEGORIES = ["harassment", "harassment", "profanity", "violence_threat", None, "hate"]
TEXT_MAP = {"activation": "sigmoid", "max_tokens": 64, "labels": dict(zip(TEXT_LABELS, CATEGORIES, strict=True))}
AUDIO_MAP = {
    "activation": "sigmoid",
    "window_s": 1.0,
    "hop_s": 0.5,
    "events": {"scream": ["Screaming"], "gunshot": ["Gunshot, gunfire", "Machine gun"], "speech": ["Speech"]},
}


def own(folder: Path) -> dict[str, object]:
    """Settings of three checkpoints: a Whisper of 128 mels and many languages, and two that always say one thing."""
    text_map, audio_map = folder / "text.yaml", folder / "audio.yaml"
    text_map.write_text(json.dumps(TEXT_MAP))
    audio_map.write_text(json.dumps(AUDIO_MAP))
    return {
        "whisper": str(save_pt(random_whisper(n_mels=128, n_vocab=51866), folder / "mine.pt")),
        "text_classifier": str(save_bert(folder / "my-bert", bias=[-6.0, -6.0, -6.0, 4.0, 6.0, -6.0])),
        "text_labels": text_map,
        "acoustic_classifier": str(save_audio_model(folder / "my-wavlm", "wavlm", bias=[-6.0, -6.0, 3.0, -6.0])),
        "acoustic_labels": audio_map,
        "whisper_fallback": False,  # random weights babble at every temperature
        **FREE_PORTS,
    }


def test_a_server_of_own_checkpoints_classifies_in_the_mapped_categories(tmp_path: Path) -> None:
    clip = wav(speak("hello and welcome back to the show"))
    with Server(Settings.load(**own(tmp_path))) as server:
        tensors = Models(server.triton_url)("audio_safety", AUDIO=audio(clip), CONTEXT=["{}"], LANGUAGE=[""])
        with AircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1)) as client:
            verdict = client.scan_clip(clip)
    assert verdict.segments  # what random weights say; but they heard 128 mels and spoke
    findings = {finding.category: finding for finding in verdict.findings}
    assert set(findings) == {"violence_threat", "gunshot"}
    threat, shot = findings["violence_threat"], findings["gunshot"]
    assert threat.score == pytest.approx(float(torch.tensor(4.0).sigmoid()), abs=1e-4)
    assert {item.model for item in threat.evidence} == {"my-bert"}
    assert shot.score == pytest.approx(float(torch.tensor(3.0).sigmoid()), abs=1e-4)
    assert {item.model for item in shot.evidence} == {"my-wavlm"}
    assert tensors["TEXT_SCORES"][0].max() == pytest.approx(threat.score, abs=1e-4)
    assert tensors["ACOUSTIC_SCORES"][0].max() == pytest.approx(shot.score, abs=1e-4)


def break_whisper(folder: Path) -> dict[str, object]:
    model = tiny_whisper()
    model.decoder.ln.bias[0] = float("nan")
    return {"whisper": str(save_safetensors(model, folder / "nan.safetensors"))}


def break_text_classifier(folder: Path) -> dict[str, object]:
    weights = folder / "my-bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return {}


def break_acoustic_labels(folder: Path) -> dict[str, object]:
    (folder / "audio.yaml").write_text(json.dumps(AUDIO_MAP | {"events": {"scream": ["Yelling"]}}))
    return {}


def repository_of(model: str, folder: Path) -> Path:
    """One model, and an ensemble of it alone in the place of `audio_safety`: the others take long to load."""
    repository = folder / "repository"
    (repository / "audio_safety" / "1").mkdir(parents=True)
    (repository / model).symlink_to(ROOT / "model_repository" / model)
    own_config = text_format.Parse((repository / model / "config.pbtxt").read_text(), ModelConfig())
    ensemble = ModelConfig(
        name="audio_safety",
        platform="ensemble",
        max_batch_size=own_config.max_batch_size,
        input=own_config.input,
        output=own_config.output,
    )
    step = ensemble.ensemble_scheduling.step.add(model_name=model, model_version=-1)
    step.input_map.update({tensor.name: tensor.name for tensor in own_config.input})
    step.output_map.update({tensor.name: tensor.name for tensor in own_config.output})
    (repository / "audio_safety" / "config.pbtxt").write_text(text_format.MessageToString(ensemble))
    return repository


@pytest.mark.parametrize(
    ("model", "broken", "words"),
    [
        ("whisper", break_whisper, ["nan.safetensors", "decoder.ln.bias holds NaN"]),
        ("text_safety", break_text_classifier, ["my-bert", "file not fully covered", "safetensors weights"]),
        ("acoustic_safety", break_acoustic_labels, ["audio.yaml", "'Yelling' for scream", "correct its spelling"]),
    ],
    ids=["whisper", "text", "acoustic"],
)
def test_a_broken_checkpoint_stops_the_start_with_its_fault(
    model: str, broken: Callable[[Path], dict[str, object]], words: list[str], tmp_path: Path
) -> None:
    settings = own(tmp_path) | broken(tmp_path)
    with pytest.raises(StartError) as raised:
        Server(Settings.load(model_repository=repository_of(model, tmp_path), **settings)).start()
    for word in words:
        assert word in str(raised.value)
