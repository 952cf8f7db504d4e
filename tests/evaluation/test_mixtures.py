"""Events under speech: as much quieter as told, at the same place at every level, and counted apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from aircheck.evaluation.cli import evaluate
from aircheck.evaluation.mixtures import PEAK, SAMPLE_RATE, SAMPLES, loudness, under_speech
from aircheck.evaluation.session import NUMBERS
from support.evaluate import run
from training.acoustic_safety.sounds import SOUNDS

VOICE = (0.3 * np.sin(np.arange(SAMPLES) * 0.3)).astype(np.float32)


def event_in(mixture: np.ndarray) -> np.ndarray:
    return mixture - np.dot(mixture, VOICE) / np.dot(VOICE, VOICE) * VOICE


@pytest.mark.parametrize("louder_db", [-10.0, 0.0, 10.0])
def test_an_event_is_as_much_quieter_than_the_speech_as_told(louder_db):
    shot = np.random.default_rng(1).normal(0, 0.1, 8000).astype(np.float32)
    (mixture,) = under_speech([shot], [VOICE], louder_db)
    assert mixture.shape == (SAMPLES,)
    assert np.abs(mixture).max() == pytest.approx(PEAK)
    event = event_in(mixture)
    assert 20 * np.log10(loudness(mixture - event) / loudness(event)) == pytest.approx(louder_db, abs=1.0)


def test_an_event_lies_at_the_same_place_at_every_level_and_its_loudest_part_is_kept():
    rng = np.random.default_rng(2)
    long = np.concatenate([np.zeros(SAMPLES), rng.normal(0, 0.1, 8000), np.zeros(SAMPLES)]).astype(np.float32)
    short = rng.normal(0, 0.1, 8000).astype(np.float32)
    louder, quieter = (under_speech([short, long], [VOICE], db) for db in (10.0, -10.0))
    for one, other in zip(louder, quieter, strict=True):
        one, other = event_in(one), event_in(other)
        assert np.dot(one, other) / np.sqrt(np.dot(one, one) * np.dot(other, other)) > 0.99


def test_evaluate_counts_events_under_speech_apart_from_the_recordings_themselves(tmp_path):
    sounds, speech = tmp_path / "sounds", tmp_path / "speech"
    lines = {
        sounds: [{"file": "siren.wav", "label": "siren", "source": "s"}],
        speech: [{"file": "talk.wav", "text": "", "language": "en", "speaker": "a", "seconds": 6, "source": "s"}],
    }
    for folder, items in lines.items():
        folder.mkdir()
        (folder / "manifest.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    soundfile.write(sounds / "siren.wav", SOUNDS["siren"](np.random.default_rng(5)), SAMPLE_RATE)
    soundfile.write(speech / "talk.wav", 1e-3 * np.random.default_rng(0).standard_normal(6 * SAMPLE_RATE), SAMPLE_RATE)
    code, said = run(evaluate, "sounds", sounds, speech, "--out", tmp_path / "out")
    assert code == 0, said
    figures = json.loads((tmp_path / "out" / NUMBERS).read_text())["figures"]
    shares = [figures[f"event under speech=siren.found_{name}"] for name in ("10db_quieter", "as_loud", "10db_louder")]
    assert [share["of"] for share in shares] == [1, 1, 1]
    assert shares[0]["hits"] == 1  # hiss 10 dB below hides no siren
    assert figures["siren.recall"]["of"] == 1  # the recording alone

    code, said = run(evaluate, "sounds", sounds, "--out", tmp_path / "alone")
    assert code == 0, said
    assert "under speech" not in (tmp_path / "alone" / NUMBERS).read_text()
