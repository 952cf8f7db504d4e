import json

import numpy as np
import pytest

from benchmarks.speech_activity import Recording, covered, cutting, false, is_active, joined, missed, recordings
from preprocessing.speech_activity import CHUNK, CHUNK_S, SAMPLE_RATE_HZ, Span
from support.audio import silence, tone, wav
from support.speech import speak

SENTENCE = "The quick brown fox jumps over the lazy dog."


def recording(samples: np.ndarray, label: str = "speech") -> Recording:
    return Recording(label, "measure", "en", samples)


def test_a_manifest_is_read_with_the_audio_beside_it(tmp_path):
    (tmp_path / "beep.wav").write_bytes(wav(tone(1.0)))
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"file": "beep.wav", "label": "beep", "use": "train"}) + "\n")
    (beep,) = recordings(tmp_path / "manifest.jsonl")
    assert (beep.label, beep.use, beep.duration_s) == ("beep", "train", 1.0)


def test_what_is_missed_is_active_time_outside_speech():
    spoken, beep = recording(np.concatenate([silence(2.0), speak(SENTENCE)])), recording(tone(2.0))
    assert missed([spoken], 0)["missed_active_s"] < 0.2
    both = missed([spoken, beep], 0)
    assert both["clips_without_speech"] == 1
    assert both["missed_active_s"] == pytest.approx(2.0, abs=0.2)


def test_silence_is_not_active():
    active = is_active(np.concatenate([np.zeros(10 * CHUNK, np.float32), tone(10 * CHUNK_S)]))
    assert active.tolist() == [False] * 10 + [True] * 10


def test_a_chunk_is_covered_when_its_middle_is():
    assert covered([Span(1.4 * CHUNK_S, 2.6 * CHUNK_S)], 4).tolist() == [False, True, True, False]
    assert covered([], 2).tolist() == [False, False]


def test_sounds_are_counted_by_label():
    sounds = [recording(tone(1.0), "beep"), recording(silence(2.0), "beep"), recording(speak(SENTENCE), "voice")]
    beep, voice = false(sounds)
    assert (beep["label"], beep["clips"], beep["clips_with_speech"], beep["duration_s"]) == ("beep", 2, 0, 3.0)
    assert voice["clips_with_speech"] == 1
    assert voice["speech_s"] == pytest.approx(len(speak(SENTENCE)) / SAMPLE_RATE_HZ, abs=0.5)


def test_continuous_talk_fills_its_windows():
    clip = np.concatenate([silence(1.0), speak(SENTENCE), silence(1.0)])
    talk, as_they_are = (cutting(name, parts) for name, parts in joined([clip] * 30).items())
    assert talk["cuts_in_speech"] == as_they_are["cuts_in_speech"] == 0
    assert talk["speech_s_a_window"] > as_they_are["speech_s_a_window"]
    assert talk["windows"] == pytest.approx(talk["duration_s"] / talk["window_s"], rel=0.01)
