"""Windows without speech: which they are, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.baselines.subprocess_run import EngineFailedError
from benchmarks.baselines.worker import Outcome
from benchmarks.hallucination import counted, markdown, windows
from support.audio import wav


def _outcome(before: list[str], after: list[str]) -> Outcome:
    return Outcome([1.0], [{"text": text} for text in before], after, 0.0, 0.0, None, [])


def test_windows_are_sounds_without_speech_and_synthesised_ones_beside_them(tmp_path: Path) -> None:
    lines = [("bark.wav", "x_dog", 1.0), ("talk.wav", "speech_meeting", 1.0), ("long.wav", "music", 31.0)]
    for file, _, seconds in lines:
        (tmp_path / file).write_bytes(wav(np.full(int(seconds * 16_000), 0.1, np.float32)))
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps({"file": f, "label": k}) for f, k, _ in lines))
    labels, sounds = windows(tmp_path, 10)
    assert labels[:2] == ["x_dog", "music"]
    assert set(labels[2:]) == {"white noise", "pink noise", "hum", "silence"}
    assert len(sounds) == 10
    assert all(
        0 < len(sound) <= 30 * 16_000 and np.isfinite(sound).all() and np.abs(sound).max() <= 1 for sound in sounds
    )
    assert windows(tmp_path, 1)[0] == ["x_dog"]
    assert all(np.array_equal(a, b) for a, b in zip(sounds, windows(tmp_path, 10)[1], strict=True))


def test_windows_with_words_are_counted_before_and_after_the_safeguard() -> None:
    kinds = ["hum", "hum", "music"]
    found = counted(kinds, _outcome(["you", "...", "thank you"], ["", " ", "thank you"]))
    assert (found["before"], found["after"]) == (2, 1)
    assert found["before_by_kind"] == {"hum": 1, "music": 1}
    assert found["after_by_kind"] == {"music": 1}
    assert found["examples_after"] == ["thank you"]
    report = {
        "conditions": {"whisper": "base", "dtype": "fp32"},
        "windows": 3,
        "engines": [{"engine": "ours", **found}],
    }
    assert "| ours | 2 | 1 | music 1 |" in markdown(report)


def test_what_was_not_measured_is_not_counted() -> None:
    assert counted(["hum"], _outcome([], [""]))["before"] is None
    with pytest.raises(EngineFailedError, match="2 windows went in"):
        counted(["hum", "hum"], _outcome([], [""]))
