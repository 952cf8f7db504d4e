"""The same sound in every container and codec that FFmpeg writes here: material for what must hold in all of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.audio.stream import AudioStream

RATE_HZ = 16_000
# name: FFmpeg's muxer, encoder, sample rate, the muxer's options
FILES: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "wav": ("wav", "pcm_s16le", 16_000, {}),
    "wav-float": ("wav", "pcm_f32le", 48_000, {}),
    "wav-alaw": ("wav", "pcm_alaw", 8_000, {}),
    "rf64": ("wav", "pcm_s16le", 44_100, {"rf64": "always"}),
    "w64": ("w64", "pcm_s16le", 44_100, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, {}),
    "au": ("au", "pcm_s16be", 44_100, {}),
    "voc": ("voc", "pcm_s16le", 44_100, {}),
    "caf": ("caf", "pcm_s16le", 44_100, {}),
    "caf-alac": ("caf", "alac", 44_100, {}),
    "flac": ("flac", "flac", 44_100, {}),
    "tta": ("tta", "tta", 44_100, {}),
    "wv": ("wv", "wavpack", 44_100, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "aac": ("adts", "aac", 44_100, {}),
    "ac3": ("ac3", "ac3", 48_000, {}),
    "eac3": ("eac3", "eac3", 48_000, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, {}),
    "ogg-opus": ("ogg", "libopus", 48_000, {}),
    "ogg-flac": ("ogg", "flac", 44_100, {}),
    "m4a": ("ipod", "aac", 44_100, {}),
    "mp4-alac": ("mp4", "alac", 44_100, {}),
    "mp4-mp3": ("mp4", "libmp3lame", 44_100, {}),
    "mp4-faststart": ("mp4", "aac", 44_100, {"movflags": "faststart"}),
    "mp4-fragmented": (
        "mp4",
        "aac",
        44_100,
        {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"},
    ),
    "mp4-dash": ("mp4", "aac", 44_100, {"movflags": "dash", "frag_duration": "1000000"}),
    "mov": ("mov", "pcm_s16le", 44_100, {}),
    "3gp": ("3gp", "aac", 22_050, {}),
    "matroska": ("matroska", "pcm_s16le", 16_000, {}),
    "matroska-aac": ("matroska", "aac", 44_100, {}),
    "webm": ("webm", "libopus", 48_000, {}),
    "mpegts": ("mpegts", "aac", 44_100, {}),
    "mpegts-mp2": ("mpegts", "mp2", 44_100, {}),
    "mpeg": ("mpeg", "mp2", 44_100, {}),
    "vob": ("vob", "ac3", 48_000, {}),
    "flv": ("flv", "aac", 44_100, {}),
    "avi": ("avi", "pcm_s16le", 44_100, {}),
    "avi-mp3": ("avi", "libmp3lame", 44_100, {}),
    "rm": ("rm", "ac3", 48_000, {}),
}


def sound_file(samples: np.ndarray, name: str, metadata: dict[str, str] | None = None) -> bytes:
    """fp32 [samples] at 16 kHz, or [channels, samples], as one of FILES."""
    muxer, encoder, rate_hz, options = FILES[name]
    planar = np.atleast_2d(samples)
    layout = "mono" if len(planar) == 1 else "stereo"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"  # some muxers read again what they wrote
        with av.open(str(path), "w", format=muxer, options=options) as container:
            container.metadata.update(metadata or {})
            stream = container.add_stream(encoder, rate=rate_hz, layout=layout)
            if not isinstance(stream, AudioStream):
                raise TypeError(f"{encoder} is no encoder of sound")
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz, frame_size=size)
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(planar), format="fltp", layout=layout)
            whole.sample_rate, whole.pts = RATE_HZ, None
            at = 0
            for frame in [*resampler.resample(whole), *resampler.resample(None)]:
                frame.pts, frame.time_base = at, Fraction(1, rate_hz)
                at += frame.samples
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()
