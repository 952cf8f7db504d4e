"""Synthesise the sample episode from its script: `.venv/bin/python samples/make_episode.py`, after `make test`.

Reads  episode.script.json  who says what, and which sounds are heard
Writes episode.mp3, episode.m4a  the same recording in two containers
       episode.truth.json        where each line really lies, and what it should be found to be

Host and guest are spoken by espeak-ng (carried by the espeakng-loader package), callers by flite, which must be there
(Debian, Ubuntu: `apt install flite`). Sounds come from the acoustic recipe. Same input, same output.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from training.acoustic_safety.sounds import SOUNDS
from training.espeak import Voice, say

HERE = Path(__file__).parent
SAMPLE_RATE_HZ = 16_000
PAUSE_S = 0.7  # between two lines
SPEECH_PEAK, SOUND_PEAK, MUSIC_PEAK = 0.5, 0.8, 0.25
MUSIC_S = 5.0
BIT_RATE = 64_000
FORMATS = {"episode.mp3": ("mp3", "libmp3lame"), "episode.m4a": ("ipod", "aac")}  # file: FFmpeg's muxer and encoder
SEED = 12


def main() -> None:
    """Synthesise, write the recordings and the truth."""
    script = json.loads((HERE / "episode.script.json").read_text())
    rng = np.random.default_rng(SEED)
    parts, spans, at = [], [], 0
    for line in script["lines"]:
        samples = sound(line["sound"], rng) if "sound" in line else speak(line["text"], script["voices"][line["voice"]])
        span = {"start_s": round(at / SAMPLE_RATE_HZ, 2), "end_s": round((at + len(samples)) / SAMPLE_RATE_HZ, 2)}
        spans.append({**span, **line})
        pause = np.zeros(int(PAUSE_S * SAMPLE_RATE_HZ), np.float32)
        parts += [samples, pause]
        at += len(samples) + len(pause)
    recording = np.concatenate(parts) + 0.0005 * rng.standard_normal(at).astype(np.float32)  # a quiet room
    for name, (muxer, encoder) in FORMATS.items():
        encode(HERE / name, recording, muxer, encoder)
    truth = {"title": script["title"], "duration_s": round(at / SAMPLE_RATE_HZ, 2), "lines": spans}
    (HERE / "episode.truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    print(f"{truth['duration_s']} s, {len(spans)} lines")


def sound(name: str, rng: np.random.Generator) -> np.ndarray:
    """A sound of the acoustic recipe, fp32 [samples] at 16 kHz."""
    samples = SOUNDS[name](rng)
    if name == "music":
        samples = samples[: int(MUSIC_S * SAMPLE_RATE_HZ)]
        samples *= np.minimum(1, np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) / 8000)  # fades
    return _scaled(samples, MUSIC_PEAK if name == "music" else SOUND_PEAK)


def speak(text: str, voice: dict[str, Any]) -> np.ndarray:
    """A line in a voice of the script, fp32 [samples] at 16 kHz, without silence at its ends."""
    if voice["engine"] == "flite":
        samples = _flite(text, voice["voice"])
    else:
        samples = say(text, Voice(voice["voice"], voice["variant"], voice["words_per_minute"]))
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return _scaled(samples[loud[0] : loud[-1] + 1], SPEECH_PEAK)


def _flite(text: str, voice: str) -> np.ndarray:
    if shutil.which("flite") is None:
        raise SystemExit("flite is not installed; Debian, Ubuntu: apt install flite")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        rate, samples = wavfile.read(path)
    return resample_poly(samples.astype(np.float32) / 32768, SAMPLE_RATE_HZ, rate).astype(np.float32)


def _scaled(samples: np.ndarray, peak: float) -> np.ndarray:
    return (samples * (peak / np.abs(samples).max())).astype(np.float32)


def encode(path: Path, samples: np.ndarray, muxer: str, encoder: str) -> None:
    """Write fp32 [samples] at 16 kHz through an FFmpeg encoder."""
    with av.open(str(path), "w", format=muxer, container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(encoder, rate=SAMPLE_RATE_HZ, layout="mono")
        assert isinstance(stream, av.AudioStream)  # both encoders are audio's
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


if __name__ == "__main__":
    main()
