"""What lies between a sound and the file: rooms, microphones, compressors, codecs, noise floors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from training.acoustic_safety.dsp import (
    NYQUIST_HZ,
    SAMPLE_RATE,
    Audio,
    Rng,
    bandpass,
    coloured,
    decay,
    log_uniform,
    n_samples,
    rms,
)

CODECS = (("mp3", "libmp3lame"), ("mp4", "aac"))  # container, encoder
ROOM_T60_S = (0.12, 1.2)  # a car to a large living room or church hall


def room_response(rng: Rng, t60_range_s: tuple[float, float] = ROOM_T60_S) -> NDArray[np.float32]:
    """A room: direct sound, a few early reflections, exponentially decaying noise; unit energy."""
    t60_s = log_uniform(rng, *t60_range_s)
    n = n_samples(min(t60_s, 1.6) if t60_s > ROOM_T60_S[1] else min(t60_s, 0.8))
    tail = coloured(rng, n, rng.uniform(-4, 0)) * decay(n, t60_s)
    tail[: n_samples(rng.uniform(0.002, 0.02))] = 0.0
    for _ in range(int(rng.integers(2, 7))):
        tail[int(rng.integers(10, n // 2))] += rng.choice([-1, 1]) * rng.uniform(1, 4)
    direct_to_reverberant_db = rng.uniform(-3, 15)
    tail *= 10 ** (-direct_to_reverberant_db / 20) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] += 1.0
    return np.asarray(tail / np.sqrt(np.sum(tail**2)), dtype=np.float32)


def in_room(audio: Audio | NDArray[np.float64], response: NDArray[np.float32]) -> NDArray[np.float64]:
    """Convolve, keeping the tail that outlasts the dry sound."""
    return np.asarray(signal.oaconvolve(np.asarray(audio, dtype=np.float64), response))


def compress(audio: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Broadcast levelling: divide by a power of the 50 ms envelope; 0 leaves it alone, 1 flattens it."""
    hop = SAMPLE_RATE // 20
    frames = int(np.ceil(len(audio) / hop))
    energy = np.pad(audio, (0, frames * hop - len(audio))).reshape(frames, hop)
    level = np.sqrt((energy**2).mean(1)) + 0.1 * rms(audio) + 1e-6
    envelope = np.interp(np.arange(len(audio)), np.arange(frames) * hop + hop / 2, level)
    return np.asarray(audio * (rms(audio) / envelope) ** strength)


def codec_round_trip(audio: NDArray[np.float64], container: str, encoder: str, bit_rate: int) -> NDArray[np.float64]:
    """Encode and decode by FFmpeg; the length stays, the artefacts are real."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as sink:
        stream = sink.add_stream(encoder, rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bit_rate
        samples = np.clip(audio, -1, 1).astype(np.float32)[None]
        sample_format = "flt" if encoder == "libopus" else "fltp"  # alike for one channel, but each takes only its own
        frame = av.AudioFrame.from_ndarray(samples, format=sample_format, layout="mono")
        frame.sample_rate = SAMPLE_RATE
        sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
        parts = [out.to_ndarray()[0] for decoded in source.decode(audio=0) for out in resampler.resample(decoded)]
    decoded_audio = np.concatenate(parts).astype(np.float64)[: len(audio)]
    return np.pad(decoded_audio, (0, len(audio) - len(decoded_audio)))


@dataclass(frozen=True)
class Chain:
    """One random recording chain, in two parts: what acts on every sound alike, and what acts on the mixture."""

    low_cut_hz: float  # 0: none
    high_cut_hz: float  # Nyquist: none
    levelling: float  # 0: none, 1: flat
    level_dbfs: float
    floor_dbfs: float  # -inf: none
    codec: tuple[str, str, int] | None  # container, encoder, bit/s

    @classmethod
    def draw(cls, rng: Rng, codecs: Sequence[tuple[str, str]] = CODECS, codec_odds: float = 0.15) -> Chain:
        container, encoder = codecs[int(rng.integers(len(codecs)))]
        return cls(
            low_cut_hz=rng.uniform(40, 300) if rng.random() < 0.15 else 0.0,
            high_cut_hz=rng.uniform(3400, 7000) if rng.random() < 0.25 else NYQUIST_HZ,
            levelling=rng.uniform(0.2, 0.6) if rng.random() < 0.25 else 0.0,
            level_dbfs=rng.uniform(-36, -12),
            floor_dbfs=rng.uniform(-80, -48) if rng.random() < 0.85 else -np.inf,
            codec=(container, encoder, int(rng.choice([24_000, 32_000, 48_000, 64_000])))
            if rng.random() < codec_odds
            else None,
        )

    def filtered(self, audio: NDArray[np.float64]) -> NDArray[np.float64]:
        """Band limits. Linear: the mixture of filtered sounds is the filtered mixture, so each can still be told."""
        return bandpass(bandpass(audio, self.low_cut_hz, NYQUIST_HZ), 0, self.high_cut_hz, order=4)

    def recorded(self, rng: Rng, audio: NDArray[np.float64]) -> Audio:
        """The rest of the chain: levelling, level, noise floor, clipping or a limiter, codec."""
        if self.levelling:
            audio = compress(audio, self.levelling)
        if rms(audio) > 1e-5:
            audio = audio * (10 ** (self.level_dbfs / 20) / rms(audio))
        if np.isfinite(self.floor_dbfs):
            audio = audio + coloured(rng, len(audio), rng.uniform(-6, 1)) * 10 ** (self.floor_dbfs / 20)
        peak = float(np.abs(audio).max())
        if peak > 1.0:
            audio = np.clip(audio, -1, 1) if rng.random() < 0.5 else audio / peak
        if self.codec is not None:
            audio = codec_round_trip(audio, *self.codec)
        return audio.astype(np.float32)

    def floor_power(self, audio: NDArray[np.float64]) -> float:
        """Power of the noise floor in the units of `audio`, before its level is set."""
        return float(10 ** ((self.floor_dbfs - self.level_dbfs) / 10)) * rms(audio) ** 2


def record(rng: Rng, audio: NDArray[np.float64]) -> Audio:
    """Pass a mixture through a random recording chain: band limits, levelling, level, floor, clipping, codec."""
    chain = Chain.draw(rng)
    return chain.recorded(rng, chain.filtered(audio))
