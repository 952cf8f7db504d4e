"""Audio of every kind for tests: samples in memory, encoded into any container."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import soundfile as sf

RATE_HZ = 16_000

# name: (FFmpeg muxer, encoder, sample rate) of formats that PyAV writes
FFMPEG_FORMATS = {
    "mp3": ("mp3", "libmp3lame", 44_100),
    "m4a": ("ipod", "aac", 44_100),
    "m4b": ("mp4", "aac", 22_050),
    "adts": ("adts", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "matroska-flac": ("matroska", "flac", 16_000),
    "aiff": ("aiff", "pcm_s16be", 44_100),
    "alaw-wav": ("wav", "pcm_alaw", 8_000),
}
# name: (libsndfile format, subtype, sample rate)
SNDFILE_FORMATS = {
    "wav-16": ("WAV", "PCM_16", 16_000),
    "wav-24": ("WAV", "PCM_24", 48_000),
    "wav-8": ("WAV", "PCM_U8", 16_000),
    "wav-float": ("WAV", "FLOAT", 16_000),
    "flac": ("FLAC", "PCM_16", 44_100),
    "vorbis": ("OGG", "VORBIS", 44_100),
    "opus": ("OGG", "OPUS", 48_000),
}
FORMATS = [*SNDFILE_FORMATS, *FFMPEG_FORMATS]


def tone(seconds: float, frequency_hz: float = 440.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A sine at half scale, fp32 [samples]."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    """Digital silence, fp32 [samples] at 16 kHz."""
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    """fp32 [samples] as a WAVE file with the same signal on every channel."""
    return _sndfile(samples, rate_hz, channels, "WAV", subtype)


def encode(
    samples: np.ndarray,
    name: str,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    wanted_hz: int | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """fp32 [samples] at `rate_hz` in one of FORMATS, resampled to `wanted_hz` (default: the format's own rate)."""
    if name in SNDFILE_FORMATS:
        format_, subtype, own_hz = SNDFILE_FORMATS[name]
        wanted_hz = wanted_hz or own_hz
        return _sndfile(_resample(samples, rate_hz, wanted_hz), wanted_hz, channels, format_, subtype)
    muxer, encoder, own_hz = FFMPEG_FORMATS[name]
    wanted_hz = wanted_hz or own_hz
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer, options=options) as container:
        layout = "mono" if channels == 1 else "stereo"
        stream = container.add_stream(encoder, rate=wanted_hz, layout=layout)
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=wanted_hz)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        at = 0
        while (part := fifo.read(size, partial=True)) is not None:
            part.pts, part.time_base = at, Fraction(1, wanted_hz)
            at += part.samples
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def silent_mp3(minutes: int) -> bytes:
    """A long recording that costs little to make: frames of MP3 may follow each other."""
    return encode(silence(60.0), "mp3", options={"write_xing": "0", "id3v2_version": "0"}) * minutes


def _resample(samples: np.ndarray, rate_hz: int, wanted_hz: int) -> np.ndarray:
    if rate_hz == wanted_hz:
        return samples
    positions = np.arange(round(len(samples) * wanted_hz / rate_hz)) * rate_hz / wanted_hz
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def _sndfile(samples: np.ndarray, rate_hz: int, channels: int, format_: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.repeat(samples[:, None], channels, axis=1), rate_hz, format=format_, subtype=subtype)
    return buffer.getvalue()
