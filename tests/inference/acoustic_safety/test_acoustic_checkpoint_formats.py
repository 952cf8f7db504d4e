"""Own audio checkpoints as transformers saves them: read, and refused at load when a request could not be answered."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from aircheck.inference.acoustic_safety import EVENTS, WeightsError, load
from aircheck.inference.acoustic_safety.classifier import SAMPLE_RATE, WINDOW_SAMPLES
from support.own_checkpoints import AUDIO_KINDS, AUDIO_LABELS, save_audio_model
from support.pickles import Runs

CPU = torch.device("cpu")
EVENT_LABELS = {"scream": ["Screaming"], "gunshot": ["Gunshot, gunfire", "Machine gun"], "speech": ["Speech"]}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(json.dumps({"activation": "sigmoid", "window_s": 1.0, "hop_s": 1.0, "events": EVENT_LABELS}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_audio_model(tmp_path / "mine", "wav2vec2")


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    weights = {name: tensor for name, tensor in (load_file(path) | changes).items() if tensor is not None}
    save_file(weights, path, {"format": "pt"})


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path, labels: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as raised:
        load(str(folder), labels, CPU)
    for word in (str(folder), *words):
        assert word in str(raised.value)


@pytest.mark.parametrize("kind", AUDIO_KINDS)
def test_scores_are_transformers_own_in_our_events(kind: str, tmp_path: Path, labels: Path) -> None:
    folder = save_audio_model(tmp_path / kind, kind)
    second = np.random.default_rng(2).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    waveforms = np.zeros((1, WINDOW_SAMPLES), np.float32)
    waveforms[0, :SAMPLE_RATE] = second
    scores = load(str(folder), labels, CPU).classify(waveforms, [1.0]).scores[0]
    inputs = AutoFeatureExtractor.from_pretrained(folder)([second], sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForAudioClassification.from_pretrained(folder)(**inputs).logits[0]
    chances = dict(zip(AUDIO_LABELS, logits.sigmoid().tolist(), strict=True))
    expected = {event: max(chances[label] for label in theirs) for event, theirs in EVENT_LABELS.items()}
    assert dict(zip(EVENTS, scores.tolist(), strict=True)) == pytest.approx(
        dict.fromkeys(EVENTS, 0.0) | expected, abs=1e-5
    )


def test_verdicts_name_the_folder_and_a_version_of_its_weights(folder: Path, labels: Path) -> None:
    before = load(str(folder), labels, CPU)
    change_weights(folder, **{"classifier.bias": torch.ones(len(AUDIO_LABELS))})
    after = load(str(folder), labels, CPU)
    assert before.name == after.name == "mine"
    assert before.version != after.version
    assert len(after.version) == 12


def test_safety_events_that_no_label_means_are_named(
    folder: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(str(folder), labels, CPU)
    assert "never hears: explosion, siren, glass_breaking" in caplog.text


def test_half_precision_weights_are_computed_in_fp32(folder: Path, labels: Path) -> None:
    model = AutoModelForAudioClassification.from_pretrained(folder)
    model.half().save_pretrained(folder)
    scores = load(str(folder), labels, CPU).classify(np.zeros((1, WINDOW_SAMPLES), np.float32), [1.0]).scores
    assert scores.dtype == np.float32
    assert 0 < scores.max() < 1


def test_truncated_weights_are_refused(folder: Path, labels: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, labels, "SafetensorError", "file not fully covered")


def test_missing_weights_are_refused_by_name(folder: Path, labels: Path) -> None:
    change_weights(folder, **{"wav2vec2.encoder.layers.1.attention.q_proj.weight": None})
    refused(folder, labels, "lack wav2vec2.encoder.layers.1.attention.q_proj.weight", "at random")


def test_a_weight_that_only_training_uses_may_be_missing(folder: Path, labels: Path) -> None:
    change_weights(folder, **{"wav2vec2.masked_spec_embed": None})
    load(str(folder), labels, CPU)


def test_weights_of_another_shape_are_refused(folder: Path, labels: Path) -> None:
    change_json(folder / "config.json", intermediate_size=32)
    refused(folder, labels, "has the shape", "config.json wants")


def test_weights_that_are_not_numbers_are_refused(folder: Path, labels: Path) -> None:
    change_weights(folder, **{"projector.bias": torch.full((8,), float("inf"))})
    refused(folder, labels, "projector.bias", "NaN or infinity")


def test_a_feature_extractor_is_needed(folder: Path, labels: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    refused(folder, labels, "preprocessor_config.json")


def test_a_feature_extractor_that_does_not_fit_is_refused(tmp_path: Path, labels: Path) -> None:
    folder = save_audio_model(tmp_path / "ast", "ast")
    change_json(folder / "preprocessor_config.json", num_mel_bins=64)
    refused(folder, labels, "cannot classify a window of 1 s", "belong together")


def test_a_window_too_short_for_the_network_is_refused(folder: Path, labels: Path) -> None:
    change_json(labels, window_s=0.01, hop_s=0.01)
    refused(folder, labels, "cannot classify a window of 0.01 s", "window_s")


def test_pickled_weights_are_refused_unread_and_ignored_beside_safetensors(
    folder: Path, labels: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    torch.save({"classifier.bias": Runs(made)}, folder / "pytorch_model.bin")
    load(str(folder), labels, CPU)
    (folder / "model.safetensors").unlink()
    refused(folder, labels, "pytorch_model.bin", "never read", "save_pretrained")
    assert not made.exists()


def test_python_code_beside_the_weights_is_never_run(folder: Path, labels: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (folder / "code.py").write_text(f"open({str(made)!r}, 'w')\nclass Model: ...\n")
    auto = dict.fromkeys(("AutoConfig", "AutoModelForAudioClassification"), "code.Model")
    change_json(folder / "config.json", model_type="mine", auto_map=auto)
    refused(folder, labels, "custom code")
    assert not made.exists()
