"""The benchmark that says what a precision changes in the text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from aircheck.settings import ROOT
from benchmarks.precision import markdown
from support.audio import wav
from support.speech import speak


def test_it_compares_a_precision_with_fp32_on_recordings(tmp_path: Path) -> None:
    recording, result = tmp_path / "talk.wav", tmp_path / "result.json"
    recording.write_bytes(wav(speak("the old house at the end of the street has been sold twice")))
    command = [sys.executable, "-m", "benchmarks.precision", str(recording), "--precisions", "int8"]
    done = subprocess.run([*command, "--out", str(result)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    assert report["windows"] == {"talk.wav": 1}
    found = report["precisions"]["int8"]
    assert found["all"] == found["talk.wav"]
    assert 0 <= found["all"]["identical_text"] <= 1
    assert "| int8 | talk.wav (1) |" in markdown(report)
