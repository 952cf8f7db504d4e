"""Foreign checkpoints behind a label map: tiny random ones of two architectures, saved by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

from aircheck.inference.acoustic_safety import LabelMapError, WeightsError, load
from aircheck.inference.acoustic_safety.checkpoint import CheckpointAcousticClassifier
from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES
from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.label_map import LabelMap
from support.own_checkpoints import AUDIO_KINDS, save_audio_model

CPU = torch.device("cpu")
AUDIOSET = Path(__file__).parents[3] / "server_config" / "labels" / "acoustic_audioset.yaml"
MAP: dict[str, Any] = {
    "activation": "sigmoid",
    "window_s": 1.0,
    "hop_s": 0.5,
    "onset": 0.5,
    "offset": 0.5,
    "events": {"scream": ["Screaming"], "gunshot": ["Gunshot, gunfire", "Machine gun"], "speech": ["Speech"]},
}


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Path:
    return save_audio_model(tmp_path / "wav2vec2", "wav2vec2")


def label_map(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(yaml.safe_dump({**MAP, **changes}), encoding="utf-8")
    return path


def windows(count: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(1).standard_normal((count, WINDOW_SAMPLES))).astype(np.float32)


def force(classifier: CheckpointAcousticClassifier, logits: list[float]) -> None:
    """Make the checkpoint answer the same logits whatever it hears."""
    head = classifier._model.classifier
    linear = head if isinstance(head, torch.nn.Linear) else head.dense
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor(logits))


@pytest.mark.parametrize("kind", AUDIO_KINDS)
def test_a_checkpoint_of_any_architecture_answers_in_our_events(kind: str, tmp_path: Path) -> None:
    classifier = load(str(save_audio_model(tmp_path / kind, kind)), label_map(tmp_path), CPU)
    assert classifier.events == ("gunshot", "scream", "speech")  # our order, not the file's
    detections = classifier.classify(windows(2), [30.0, 2.2])
    assert detections.scores.shape == (2, len(EVENTS))
    heard = [event in classifier.events for event in EVENTS]
    assert not detections.scores[:, ~np.array(heard)].any()  # what the map leaves out keeps its column, and scores 0
    assert ((detections.scores >= 0) & (detections.scores <= 1)).all()
    assert all(span.end_s <= 2.2 for span in detections.findings[1].spans)


def test_of_several_labels_the_highest_counts(wav2vec2: Path, tmp_path: Path) -> None:
    classifier = CheckpointAcousticClassifier.load(str(wav2vec2), label_map(tmp_path), CPU)
    force(classifier, [-9.0, -9.0, 3.0, -9.0])  # only «Machine gun»
    detections = classifier.classify(windows(1), [4.0])
    expected = dict.fromkeys(EVENTS, 0.0) | dict(
        zip(classifier.events, torch.tensor([3.0, -9.0, -9.0]).sigmoid().tolist(), strict=True)
    )
    assert detections.scores[0] == pytest.approx(list(expected.values()), abs=1e-5)
    (span,) = detections.findings[0].spans
    assert (span.event, span.start_s, span.end_s) == ("gunshot", 0.0, 4.0)


def test_a_label_may_mean_a_category_that_is_heard_in_a_voice(wav2vec2: Path, tmp_path: Path) -> None:
    events = {"harassment": ["Screaming"], "gunshot": ["Machine gun"]}
    classifier = CheckpointAcousticClassifier.load(str(wav2vec2), label_map(tmp_path, events=events), CPU)
    assert classifier.events == ("gunshot",)
    force(classifier, [3.0, -9.0, -9.0, -9.0])
    detections = classifier.classify(windows(1), [4.0])
    assert not (detections.scores > 0.5).any()  # the tensor of scores is of events alone
    (span,) = detections.findings[0].spans
    assert (span.event, span.start_s, span.end_s) == ("harassment", 0.0, 4.0)


def test_softmax_shares_one_probability_among_the_labels(wav2vec2: Path, tmp_path: Path) -> None:
    classifier = CheckpointAcousticClassifier.load(str(wav2vec2), label_map(tmp_path, activation="softmax"), CPU)
    force(classifier, [1.0, 1.0, 1.0, 1.0])
    (scores,) = classifier.classify(windows(1), [2.0]).scores
    assert [scores[EVENTS.index(event)] for event in classifier.events] == pytest.approx([0.25] * 3)


def test_a_span_lies_where_the_sliding_window_hears_it(wav2vec2: Path, tmp_path: Path) -> None:
    classifier = CheckpointAcousticClassifier.load(str(wav2vec2), label_map(tmp_path, window_s=0.5), CPU)

    class Loud(torch.nn.Module):  # a checkpoint that says «Screaming» to loud audio
        def forward(self, input_values: torch.Tensor) -> Any:
            loud = 20 * (input_values.abs().amax(1) > 0.5).float() - 10
            return type("Output", (), {"logits": torch.stack([loud, *[torch.full_like(loud, -10)] * 3], 1)})

    classifier._model = Loud()  # type: ignore[assignment]
    classifier._extractor.do_normalize = False  # type: ignore[attr-defined]
    waveform = np.zeros((1, WINDOW_SAMPLES), dtype=np.float32)
    waveform[0, 5 * 16_000 : 7 * 16_000] = 0.9
    (findings,) = classifier.detect(waveform, [12.0])
    assert [(s.event, s.start_s, s.end_s) for s in findings.spans] == [("scream", 5.0, 7.0)]


def test_rows_do_not_depend_on_their_company(wav2vec2: Path, tmp_path: Path) -> None:
    classifier = load(str(wav2vec2), label_map(tmp_path), CPU)
    rows, durations_s = windows(3), [30.0, 0.4, 7.7]
    together = classifier.classify(rows, durations_s)
    for row in range(3):
        alone = classifier.classify(rows[row : row + 1], durations_s[row : row + 1])
        assert np.allclose(alone.scores[0], together.scores[row], atol=1e-5)


def test_zero_seconds_give_no_spans(wav2vec2: Path, tmp_path: Path) -> None:
    detections = load(str(wav2vec2), label_map(tmp_path), CPU).classify(windows(1), [0.0])
    assert detections.findings[0].spans == ()
    assert not detections.scores.any()


def test_the_audioset_example_is_valid_and_covers_every_event() -> None:
    labels = LabelMap.load(AUDIOSET)
    assert set(labels.events) == {
        "gunshot",
        "explosion",
        "scream",
        "siren",
        "glass_breaking",
        "speech",
        "music",
        "silence",
    }


def test_a_label_the_checkpoint_lacks_is_an_error_that_names_it_and_the_file(wav2vec2: Path, tmp_path: Path) -> None:
    path = label_map(tmp_path, events={"scream": ["Scream"]})
    with pytest.raises(LabelMapError, match=r"labels\.yaml.*'Scream' for scream; correct.*nearest are: Screaming"):
        load(str(wav2vec2), path, CPU)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"events": {"moo": ["Speech"]}}, "moo"),
        ({"events": {"moo": ["Speech"]}}, "gunshot.*explosion"),
        ({"events": {"siren": []}}, "siren"),
        ({"events": {"siren": ["Boom", "Boom"]}}, "'Boom' stands under siren and siren; keep one"),
        ({"events": {"siren": ["Boom"], "explosion": ["Boom"]}}, "'Boom' stands under explosion and siren; keep one"),
        ({"events": {"siren": [False]}}, "False.*quote it"),
        ({"activation": "tanh"}, "activation"),
        ({"hop_s": 2.0}, "hop_s"),
        ({"window_s": 0.2}, "window_s"),
        ({"onset": 0.2}, "onset"),
        ({"treshold": 0.2}, "treshold"),
    ],
)
def test_a_faulty_label_map_is_an_error_that_names_the_fault(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(LabelMapError, match=rf"labels\.yaml.*{problem}"):
        LabelMap.load(label_map(tmp_path, **changes))


def test_a_missing_label_map_or_broken_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabelMapError, match="acoustic_labels"):
        load("some/checkpoint", None, CPU)
    with pytest.raises(LabelMapError, match=r"nowhere\.yaml"):
        LabelMap.load(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(LabelMapError, match="not valid YAML"):
        LabelMap.load(tmp_path / "broken.yaml")
    (tmp_path / "twice.yaml").write_text("activation: sigmoid\nevents:\n  siren: [A]\n  siren: [B]\n", encoding="utf-8")
    with pytest.raises(LabelMapError, match=r"twice\.yaml.*'siren' of line 3 is repeated in line 4; keep one"):
        LabelMap.load(tmp_path / "twice.yaml")


def test_a_checkpoint_that_cannot_be_found_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no-such-model"):
        load(str(tmp_path / "no-such-model"), label_map(tmp_path), CPU)


def test_pickled_weights_are_refused(wav2vec2: Path, tmp_path: Path) -> None:
    model = Wav2Vec2ForSequenceClassification.from_pretrained(wav2vec2)
    (wav2vec2 / "model.safetensors").unlink()
    torch.save(model.state_dict(), wav2vec2 / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="safetensors"):
        load(str(wav2vec2), label_map(tmp_path), CPU)


def test_a_checkpoint_without_a_trained_head_is_refused(wav2vec2: Path, tmp_path: Path) -> None:
    Wav2Vec2Model(Wav2Vec2ForSequenceClassification.from_pretrained(wav2vec2).config).save_pretrained(wav2vec2)
    with pytest.raises(WeightsError, match="lack"):
        load(str(wav2vec2), label_map(tmp_path), CPU)


def test_a_checkpoint_for_another_sample_rate_is_refused(wav2vec2: Path, tmp_path: Path) -> None:
    Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(wav2vec2)
    with pytest.raises(WeightsError, match="8000 Hz"):
        load(str(wav2vec2), label_map(tmp_path), CPU)
