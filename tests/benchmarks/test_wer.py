"""Word error rates: what counts as an error, whose, and in which files."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from aircheck.evaluation.transcribe import Segment, Transcription
from aircheck.inference.whisper.weights import weight_packages
from aircheck.inference.whisper.weights.ctranslate2_format import sha256
from aircheck.settings import ROOT
from benchmarks.wer import scores
from benchmarks.wer.__main__ import markdown
from benchmarks.wer.engines import ctranslate2_folder
from benchmarks.wer.recordings import Recording, first, join, read, samples
from support.audio import wav
from support.speech import speak

SENTENCE = "the old house at the end of the street has been sold twice"


def _recording(path: str, text: str = "red fox ran home", language: str = "en", speaker: str = "a") -> Recording:
    return Recording(path, text, language, speaker, 2.0)


def _transcription(path: str, text: str, language: str = "en") -> Transcription:
    return Transcription(path, language, (Segment(0.0, 2.0, text),))


def _file(folder: Path, name: str, amplitude: float, seconds: float = 2.0) -> Path:
    path = folder / name
    path.write_bytes(wav(np.full(int(seconds * 16_000), amplitude, np.float32)))
    return path


@pytest.mark.parametrize(
    ("language", "reference", "transcript"),
    [
        ("en", "mister smith doesn't like the colour", "Mr. Smith does not like the color."),
        ("de", "Grüße, Herr Weiß!", "grüße herr weiß"),
        ("ja", "今日は、雨です。", "今日は雨です"),
    ],
)
def test_spelling_case_and_punctuation_are_no_errors(language: str, reference: str, transcript: str) -> None:
    assert scores.errors(reference, transcript, language).total == 0


def test_each_kind_of_edit_is_counted() -> None:
    assert scores.errors("red fox ran over far away home", "red dog ran far away home now", "en") == scores.Errors(
        1, 1, 1, 7
    )


def test_japanese_is_counted_in_characters() -> None:
    found = scores.errors("今日は雨です", "今日は雪です", "ja")
    assert (found.total, found.units) == (1, 6)


@pytest.mark.parametrize(("reference", "transcript", "total"), [("red fox", "", 2), ("", "red fox", 2)])
def test_an_empty_text_is_all_errors(reference: str, transcript: str, total: int) -> None:
    assert scores.errors(reference, transcript, "en").total == total


def test_rates_are_of_all_words_and_of_each_language_and_speaker() -> None:
    recordings = [
        _recording("1", speaker="a"),
        _recording("2", speaker="b"),
        _recording("3", "uno dos", language="es", speaker="c"),
    ]
    found = scores.figures(
        recordings,
        [
            _transcription("1", "red fox ran home"),
            _transcription("2", "red fox"),
            _transcription("3", "uno", language="pt"),
        ],
    )
    assert found["rate"] == pytest.approx(3 / 10)
    assert found["by_language"]["en"]["rate"] == pytest.approx(2 / 8)
    assert found["by_language"]["es"]["deletions"] == 1
    assert [one["speaker"] for one in found["speakers"]["worst"]] == ["c", "b", "a"]
    assert found["wrong_language"] == 1
    low, high = found["interval_95"]
    assert 0 <= low < found["rate"] < high <= 0.5


def test_recordings_with_different_errors_are_listed() -> None:
    recordings = [_recording("x/1"), _recording("x/2")]
    ours = [_transcription("x/1", "red fox ran home"), _transcription("x/2", "")]
    reference = [_transcription("x/1", "red fox ran away"), _transcription("x/2", "red fox ran home")]
    assert scores.differences(recordings, ours, reference) == [
        {"recording": "2", "errors": 4, "errors_of_reference": 0}
    ]


def test_times_are_compared_where_both_cut_at_the_same_word() -> None:
    ours = [Segment(0.0, 2.1, "red fox ran"), Segment(2.4, 5.0, "over far hills home")]
    reference = [Segment(0.1, 2.0, "red folks ran"), Segment(2.5, 3.0, "over far"), Segment(3.0, 5.2, "hills home")]
    starts, ends = scores.time_differences_s(ours, reference, "en")
    assert starts == pytest.approx([-0.1, -0.1])
    assert ends == pytest.approx([0.1, -0.2])


def test_long_files_hold_recordings_of_one_language_and_pauses(tmp_path: Path) -> None:
    recordings = [
        _recording(str(_file(tmp_path, "1.wav", 0.1)), "first"),
        _recording(str(_file(tmp_path, "2.wav", 0.2)), "second"),
        _recording(str(_file(tmp_path, "3.wav", 0.3)), "tercero", language="es"),
    ]
    (joined,) = join(recordings, 9.0, tmp_path)
    assert joined.language == "en"
    assert set(joined.text.split()) == {"first", "second"}
    assert len(joined.text.split()) == 4  # each is taken again
    heard = samples(joined.path)
    assert len(heard) / 16_000 == pytest.approx(joined.duration_s, abs=0.01)
    assert joined.duration_s >= 9
    for part in joined.parts:
        level = {"first": 0.1, "second": 0.2}[part.text]
        loud = np.flatnonzero(np.abs(heard[round(part.start_s * 16_000) : round(part.end_s * 16_000)] - level) < 0.01)
        assert len(loud) / 16_000 == pytest.approx(2.0, abs=0.04)
    levels = {round(float(level), 1) for level in heard}
    assert levels == {0.0, 0.1, 0.2}
    with wave.open(joined.path) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)


def test_a_part_of_the_recordings_is_spread_over_all() -> None:
    recordings = [_recording(str(index)) for index in range(10)]
    assert [one.path for one in first(recordings, 3)] == ["0", "3", "6"]
    assert first(recordings, None) == recordings


def test_a_manifest_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"file": "1.wav", "text": "one"}\n')
    with pytest.raises(ValueError, match="line 1: has no language, speaker, seconds"):
        read(tmp_path)


def test_a_weight_package_becomes_a_folder_for_faster_whisper(tmp_path: Path) -> None:
    made = ctranslate2_folder("base", tmp_path)
    assert sha256([made / "model.bin"]) == weight_packages.PACKAGES["base"].sha256
    assert {"config.json", "tokenizer.json", "vocabulary.txt"} <= {file.name for file in made.iterdir()}
    with pytest.raises(ValueError, match="CTranslate2"):
        ctranslate2_folder("large-v3", tmp_path)


def test_the_command_measures_engines_and_resumes(tmp_path: Path) -> None:
    spoken = speak(SENTENCE)
    (tmp_path / "talk.wav").write_bytes(wav(spoken))
    line = {"file": "talk.wav", "text": SENTENCE, "language": "en", "speaker": "a", "seconds": len(spoken) / 16_000}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    (recording,) = read(tmp_path)
    result, kept = tmp_path / "wer.json", tmp_path / "kept"
    kept.mkdir()
    (kept / "ours-bf16.jsonl").write_text(json.dumps(_transcription(recording.path, "").as_dict()) + "\n")
    command = [sys.executable, "-m", "benchmarks.wer", str(tmp_path), "--out", str(result), "--resume", str(kept)]
    subprocess.run([*command, "--engines", "openai-whisper", "ours-fp32", "ours-bf16"], cwd=ROOT, check=True)
    report = json.loads(result.read_text())
    rates = {one["engine"]: one["rate"] for one in report["engines"]}
    assert rates["ours-fp32"] == rates["openai-whisper"] < 0.5
    assert rates["ours-bf16"] == 1.0, "what the folder holds was transcribed again"
    transcribed, _took = map(json.loads, (kept / "ours-fp32.jsonl").read_text().splitlines())
    assert transcribed["path"] == recording.path, "the next run takes it from here"
    assert all(one["audio_s_per_s"] > 0 for one in report["engines"] if one["engine"] != "ours-bf16")
    assert report["against_reference"]["ours-fp32"]["points"] == 0
    assert "| ours-fp32 |" in markdown(report)
