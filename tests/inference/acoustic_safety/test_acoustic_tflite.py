"""A .tflite classifier by path: its labels, its form, and what the server does with its scores."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from aircheck.inference.acoustic_safety import LabelMapError, WeightsError, load
from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.label_map import LabelMap
from aircheck.inference.acoustic_safety.tflite import TfliteAcousticClassifier, label_list
from support.whisper_models import CPU

LABELS = ("Speech", "Screaming", "Gunshot, gunfire")
YAMNET = Path(__file__).parents[3] / "server_config" / "labels" / "acoustic_yamnet.yaml"


class LoudIsScreaming:
    """An interpreter of a model that hears 1 s: loud audio is a scream."""

    def __init__(self, samples: int = 16_000, scores: int = len(LABELS)) -> None:
        self._samples, self._scores = samples, scores
        self._heard = np.zeros(samples, np.float32)

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0, "shape": np.array([self._samples]), "dtype": np.float32}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 9, "shape": np.array([1, self._scores])}]

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert (index, value.shape, value.dtype) == (0, (self._samples,), np.float32)
        self._heard = value

    def invoke(self) -> None: ...

    def get_tensor(self, index: int) -> np.ndarray:
        assert index == 9
        return np.array([[0.1, float(np.abs(self._heard).max() > 0.5), 0.0]], np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ears.tflite"
    with zipfile.ZipFile(path, "w") as metadata:
        metadata.writestr("labels.txt", "\n".join(LABELS))
    return path


def label_map(**changes: Any) -> LabelMap:
    events = {"scream": ["Screaming"], "gunshot": ["Gunshot, gunfire"]}
    return LabelMap.model_validate({"activation": "sigmoid", "window_s": 1.0, "hop_s": 0.5, "events": events} | changes)


def test_it_finds_an_event_where_it_is(model: Path) -> None:
    classifier = TfliteAcousticClassifier(model, label_map(), LoudIsScreaming())
    assert (classifier.name, classifier.events) == ("ears", ("gunshot", "scream"))
    waveform = np.zeros((1, WINDOW_SAMPLES), np.float32)
    waveform[0, 5 * 16_000 : 7 * 16_000] = 0.9
    detections = classifier.classify(waveform, [12.0])
    (span,) = detections.findings[0].spans
    assert span.event == "scream"
    assert abs(span.start_s - 5.0) <= 0.5 >= abs(span.end_s - 7.0)
    assert detections.scores[0, EVENTS.index("scream")] == 1.0
    assert detections.scores[0, EVENTS.index("speech")] == 0.0  # not in the map


def test_a_map_or_a_model_of_another_form_is_refused(model: Path) -> None:
    with pytest.raises(LabelMapError, match=r"window_s is 2; ears\.tflite hears 1 s"):
        TfliteAcousticClassifier(model, label_map(window_s=2.0), LoudIsScreaming())
    with pytest.raises(LabelMapError, match="sigmoid"):
        TfliteAcousticClassifier(model, label_map(activation="softmax"), LoudIsScreaming())
    with pytest.raises(LabelMapError, match="no label 'Yelling'"):
        TfliteAcousticClassifier(model, label_map(events={"scream": ["Yelling"]}), LoudIsScreaming())
    with pytest.raises(WeightsError, match="gives 5 scores and lists 3 labels"):
        TfliteAcousticClassifier(model, label_map(), LoudIsScreaming(scores=5))


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(b"TFL3")
    with pytest.raises(WeightsError, match="no list of labels"):
        label_list(bare)


def test_a_missing_runtime_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(WeightsError, match=r"aircheck\[litert\]"):
        load(str(model), YAMNET, CPU)


def test_the_committed_map_is_valid() -> None:
    assert yaml.safe_load(YAMNET.read_text())["window_s"] == 0.975
    assert set(LabelMap.load(YAMNET).events) == set(EVENTS)
