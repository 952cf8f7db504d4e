"""Makes the clips of the embedded quality set: synthetic voices and sounds, mixed, with their true spans, and encoded.

The same clip gives the same samples every time. The encoded bytes may differ between versions of FFmpeg's encoders.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import av
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from aircheck.policy.taxonomy import HARM_EVENTS
from benchmarks.quality.embedded_plan import FLAC, OPUS, TELEPHONE, Clip, Heard, Said, Speaker
from benchmarks.quality.manifest import Label
from training.acoustic_safety.dsp import SAMPLE_RATE, Rng, add_at, bandpass, coloured, n_samples, seconds
from training.acoustic_safety.music import arrangement
from training.acoustic_safety.scenes import audible_spans
from training.acoustic_safety.sounds import SOUNDS
from training.espeak import Voice, say

Samples = NDArray[np.float64]

SEED = 20_26
LEAD_S, PAUSE_S, TAIL_S = 0.2, 0.35, 0.25  # before the first part, between two, after the last
SPEECH_LEVEL = 0.06  # RMS of the loud parts of speech: -24 dBFS
ROOM_LEVEL = 10 ** (-85 / 20)  # RMS of the white noise of a quiet room
MOST_PEAK = 0.95
TRIM = 0.01  # share of an utterance's peak that counts as speech
LEVEL_FRAME_S = 0.08
NOISE_SLOPES = (0.0, -3.0, -6.0)  # dB an octave: white, pink, brown
TELEPHONE_BAND_HZ = (300.0, 3400.0)


@dataclass(frozen=True)
class Rendered:
    """A clip's samples at 16 kHz, what is said in it and where its harm lies."""

    samples: NDArray[np.float32]
    transcript: str
    labels: tuple[Label, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Coding:
    """How FFmpeg writes a file."""

    suffix: str
    muxer: str
    encoder: str
    bit_rate: int | None = None  # bits/s
    sample_rate: int = SAMPLE_RATE


CODINGS: Mapping[str, Coding] = {
    FLAC: Coding("flac", "flac", "flac"),
    "mp3 128 kbit/s": Coding("mp3", "mp3", "libmp3lame", 128_000),
    "mp3 64 kbit/s": Coding("mp3", "mp3", "libmp3lame", 64_000),
    "mp3 32 kbit/s": Coding("mp3", "mp3", "libmp3lame", 32_000),
    "aac 64 kbit/s": Coding("m4a", "ipod", "aac", 64_000),
    OPUS: Coding("opus", "ogg", "libopus", 24_000),
    TELEPHONE: Coding("wav", "wav", "pcm_mulaw", sample_rate=8000),
}


def render(clip: Clip) -> Rendered:
    """Lay a clip out and mix it."""
    name = clip.seed or clip.id
    parts = [speak(part.text, part.speaker) if isinstance(part, Said) else _sound(part, clip) for part in clip.parts]
    starts_s, at_s = [], LEAD_S
    for part in parts:
        starts_s.append(at_s)
        at_s += len(part) / SAMPLE_RATE + PAUSE_S
    placed: list[tuple[Said | Heard, Samples, float]] = list(zip(clip.parts, parts, starts_s, strict=True))
    last_s = at_s - PAUSE_S
    for heard in clip.over:
        start_s = LEAD_S + float(_rng(name, "place").uniform(0.1, 0.5)) * (last_s - LEAD_S)
        placed.append((heard, _sound(heard, clip), start_s))
    end_s = max(start_s + len(part) / SAMPLE_RATE for _, part, start_s in placed)
    total = _bed(clip, name, n_samples(end_s + TAIL_S))
    tracks = []
    for source, samples, start_s in placed:
        track = np.zeros(len(total))
        add_at(track, samples, start_s)
        tracks.append((source, track, start_s, start_s + len(samples) / SAMPLE_RATE))
        total += track
    labels = _labels(tracks, total)
    scale = min(1.0, MOST_PEAK / max(float(np.abs(total).max(initial=0.0)), 1e-9))
    transcript = " ".join(part.text for part in clip.parts if isinstance(part, Said))
    return Rendered((total * scale).astype(np.float32), transcript, labels)


def encode(samples: NDArray[np.float32], codec: str) -> bytes:
    """Samples at 16 kHz through a codec of CODINGS, as a file."""
    coding = CODINGS[codec]
    if codec == TELEPHONE:
        narrow = signal.resample_poly(
            bandpass(samples, *TELEPHONE_BAND_HZ, order=4), 1, SAMPLE_RATE // coding.sample_rate
        )
        samples = narrow.astype(np.float32)
    pcm = (np.clip(samples, -1, 1) * 32767).round().astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=coding.muxer, container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(coding.encoder, rate=coding.sample_rate, layout="mono")
        assert isinstance(stream, av.AudioStream)  # all of them are audio's
        if coding.bit_rate is not None:
            stream.bit_rate = coding.bit_rate
        else:
            stream.codec_context.options = {"compression_level": "12"}
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = coding.sample_rate
        frame.pts = 0  # without it, the encoder's delay is not written down, and AAC comes back 64 ms late
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()


@lru_cache(maxsize=128)
def speak(text: str, speaker: Speaker) -> Samples:
    """One utterance, cut to its speech, at SPEECH_LEVEL."""
    if speaker.engine == "flite":
        samples = np.asarray(_flite(text, speaker), dtype=np.float64)
    else:
        voice = Voice(speaker.accent, speaker.voice, speaker.words_per_minute)
        samples = say(text, voice).astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > TRIM * np.abs(samples).max(initial=0.0))
    if not len(loud):
        raise ValueError(f"{speaker.voice} said nothing for {text!r}; choose another voice or text")
    samples = samples[loud[0] : loud[-1] + 1]
    return samples * SPEECH_LEVEL / level(samples)


def level(samples: Samples) -> float:
    """RMS of the parts within 20 dB of the loudest: what a listener calls loudness."""
    frame = n_samples(LEVEL_FRAME_S)
    padded = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    power = (padded**2).mean(1)
    return float(np.sqrt(power[power > 0.01 * power.max()].mean())) if power.max(initial=0.0) > 0 else 1.0


def flite_is_here() -> bool:
    """Whether flite's shared libraries and voices can be loaded."""
    try:
        return bool(_flite_voices())
    except OSError:
        return False


def _rng(*names: str) -> Rng:
    """Randomness of its own for every name, the same on every run and machine."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng([SEED, int.from_bytes(digest[:8], "little")])


def _sound(heard: Heard, clip: Clip) -> Samples:
    rng = _rng(heard.seed or clip.id, heard.name)
    make: Callable[[Rng], Samples] = _MADE_HERE.get(heard.name) or (lambda r: SOUNDS[heard.name](r).astype(np.float64))
    sound = np.asarray(make(rng), dtype=np.float64)
    if len(sound) > n_samples(heard.max_s):
        sound = sound[: n_samples(heard.max_s)].copy()
        fade = n_samples(0.1)
        sound[-fade:] *= np.linspace(1, 0, fade)
    return sound * SPEECH_LEVEL * 10 ** (heard.level_db / 20) / level(sound)


def _bed(clip: Clip, name: str, n: int) -> Samples:
    """What lasts for the whole clip: the room, noise, music."""
    if any(isinstance(part, Heard) and part.name == "digital silence" for part in clip.parts):
        return np.zeros(n)
    bed = ROOM_LEVEL * _rng(name, "room").standard_normal(n)
    if clip.snr_db is not None:
        rng = _rng(name, "noise")
        slope = NOISE_SLOPES[int(rng.integers(len(NOISE_SLOPES)))]
        bed += coloured(rng, n, slope) * SPEECH_LEVEL * 10 ** (-clip.snr_db / 20)
    if clip.music_db is not None:
        music = arrangement(_rng(name, "music"), n / SAMPLE_RATE).astype(np.float64)[:n]
        bed[: len(music)] += music / level(music) * SPEECH_LEVEL * 10 ** (-clip.music_db / 20)
    return bed


def _labels(tracks: list[tuple[Said | Heard, Samples, float, float]], total: Samples) -> tuple[Label, ...]:
    """Where each harm lies: utterances as they were placed, events where they stand out of the mixture."""
    labels: list[Label] = []
    before: Said | None = None
    for part, track, start_s, end_s in tracks:
        if isinstance(part, Heard):
            if part.name in HARM_EVENTS:
                spans = audible_spans(part.name, track, total - track)
                labels += [_label(part.name, max(span.start_s, start_s), span.end_s) for span in spans]
            before = None
            continue
        if before is not None and part.categories and before.categories == part.categories:  # one passage, cut in two
            first = labels[-len(part.categories)].start_s
            labels = labels[: -len(part.categories)]
            start_s = first if first is not None else start_s
        labels += [_label(category, start_s, end_s) for category in part.categories]
        before = part
    return tuple(labels)


def _label(category: str, start_s: float, end_s: float) -> Label:
    return Label(category=category, start_s=round(start_s, 3), end_s=round(end_s, 3))


# --- What only this set needs: windows without speech, 10 s each


def _noise(slope_db_per_octave: float) -> Callable[[Rng], Samples]:
    return lambda rng: coloured(rng, n_samples(10.0), slope_db_per_octave)


def _hum(rng: Rng) -> Samples:
    """Mains hum: 50 or 60 Hz and its harmonics, and a little hiss."""
    t, mains_hz = seconds(n_samples(10.0)), float(rng.choice([50.0, 60.0]))
    hum = sum(
        (np.sin(2 * np.pi * mains_hz * k * t + rng.uniform(0, 6.3)) / k**1.5 for k in range(1, 9)), np.zeros(len(t))
    )
    return hum + 0.01 * rng.standard_normal(len(t))


def _applause(rng: Rng) -> Samples:
    """A hall of people clapping, each at a pace of their own, swelling and dying away."""
    out = np.zeros(n_samples(8.0))
    for _ in range(40):
        clap = np.asarray(SOUNDS["hand_clap"](rng), dtype=np.float64)[: n_samples(0.25)]
        at_s, pace_s, gain = rng.uniform(0, 1.5), rng.uniform(0.2, 0.33), rng.uniform(0.2, 1.0)
        while at_s < 7.5:
            add_at(out, clap, at_s, gain * rng.uniform(0.7, 1.0))
            at_s += pace_s * rng.uniform(0.9, 1.1)
    return out * np.interp(seconds(len(out)), [0, 1.5, 5.5, 8.0], [0.1, 1, 1, 0])


_MADE_HERE: Mapping[str, Callable[[Rng], Samples]] = {
    "digital silence": lambda rng: np.zeros(n_samples(10.0)),
    "quiet room": lambda rng: np.zeros(n_samples(10.0)),  # the room itself is in every clip
    "white noise": _noise(0.0),
    "pink noise": _noise(-3.0),
    "brown noise": _noise(-6.0),
    "mains hum": _hum,
    "applause": _applause,
}


# --- flite: https://github.com/festvox/flite (include/flite.h, include/cst_wave.h)


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


@cache
def _flite_voices() -> tuple[ctypes.CDLL, dict[str, int]]:
    """The library and its voices. Raises OSError where a part is missing (Debian, Ubuntu: `apt install flite`)."""
    library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    for part in ("cmulex", "usenglish"):
        ctypes.CDLL(f"libflite_{part}.so.1", mode=ctypes.RTLD_GLOBAL)
    library.flite_init()
    library.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
    library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
    voices = {}
    for name in ("slt", "rms", "awb", "kal16"):
        register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
        register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        voices[name] = int(register(None))
    return library, voices


def _flite(text: str, speaker: Speaker) -> NDArray[np.float32]:
    library, voices = _flite_voices()
    ctypes.CDLL(None).srand(1)  # its unvoiced sounds are drawn from C's `rand`
    wave = library.flite_text_to_wave(text.encode(), voices[speaker.voice])
    try:
        samples = np.ctypeslib.as_array(wave.contents.samples, (wave.contents.num_samples,)).astype(np.float32) / 32768
        rate_hz = int(wave.contents.sample_rate)
    finally:
        library.delete_wave(wave)
    return np.asarray(signal.resample_poly(samples, SAMPLE_RATE, rate_hz), dtype=np.float32)
