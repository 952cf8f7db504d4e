"""The same sound in every container that FFmpeg writes here, for tests of what must not depend on the format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from support.audio import FORMATS, RATE_HZ, encode
from support.containers import Track, frames_of, mux

_MUXED = [  # muxer, encoder, sample rate
    ("mpegts", "mp2", 44_100),
    ("mpegts", "aac", 44_100),
    ("mpeg", "mp2", 44_100),
    ("vob", "ac3", 48_000),
    ("flv", "aac", 44_100),
    ("avi", "libmp3lame", 44_100),
    ("avi", "pcm_s16le", 44_100),
    ("caf", "pcm_s16le", 44_100),
    ("caf", "alac", 44_100),
    ("au", "pcm_s16be", 44_100),
    ("w64", "pcm_s16le", 44_100),
    ("tta", "tta", 44_100),
    ("wv", "wavpack", 44_100),
    ("ac3", "ac3", 48_000),
    ("eac3", "eac3", 48_000),
    ("ogg", "flac", 44_100),
    ("mov", "pcm_s16le", 44_100),
    ("mp4", "alac", 44_100),
    ("mp4", "libmp3lame", 44_100),
    ("3gp", "aac", 22_050),
    ("matroska", "aac", 44_100),
    ("rm", "ac3", 48_000),
    ("voc", "pcm_s16le", 44_100),
    ("amr", "libopencore_amrnb", 8_000),
]
_MP4_OPTIONS = {
    "faststart": {"movflags": "faststart"},
    "fragmented": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"},
    "dash": {"movflags": "dash", "frag_duration": "1000000"},
}


def muxed(
    samples: np.ndarray,
    muxer: str,
    encoder: str,
    rate_hz: int = 44_100,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """fp32 [samples] at 16 kHz as one track; by way of a file, since some muxers read again what they wrote."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with av.open(str(path), "w", format=muxer, options=options or {}) as container:
            container.metadata.update(metadata or {})
            stream = container.add_stream(encoder, rate=rate_hz, layout="mono")
            for frame in frames_of(samples, 0, stream, rate_hz):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


def every_format(samples: np.ndarray) -> dict[str, Callable[[], bytes]]:
    """By name, what makes fp32 [samples] at 16 kHz into a file: one track, several tracks, gaps, and a late start."""
    other = Track([(0.0, samples[::-1].copy())], metadata={"language": "deu"})
    default = Track([(0.0, samples)], default=True)
    half = len(samples) // 2
    late = Track([(5.0, samples[:half]), (8.0 + 2 * half / RATE_HZ, samples[half:])])
    made: dict[str, Callable[[], bytes]] = {name: partial(encode, samples, name) for name in FORMATS}
    for muxer, encoder, rate_hz in _MUXED:
        made[f"{muxer}-{encoder}"] = partial(muxed, samples, muxer, encoder, rate_hz)
    for name, options in _MP4_OPTIONS.items():
        made[f"mp4-{name}"] = partial(muxed, samples, "mp4", "aac", 44_100, options)
    made["rf64"] = partial(muxed, samples, "wav", "pcm_s16le", 44_100, {"rf64": "always"})
    for muxer, encoder, rate_hz in [("matroska", "pcm_s16le", 16_000), ("mp4", "aac", 44_100), ("ogg", "flac", 44_100)]:
        made[f"two-tracks-{muxer}"] = partial(mux, [other, default], muxer, encoder, rate_hz)
        made[f"late-{muxer}"] = partial(mux, [late], muxer, encoder, rate_hz)
    for muxer, encoder in [("mpegts", "mp2"), ("flv", "aac"), ("mpeg", "mp2")]:
        made[f"late-{muxer}"] = partial(mux, [late], muxer, encoder, 44_100)
    made["joined-mp3"] = lambda: encode(samples, "mp3") + encode(samples, "mp3", wanted_hz=22_050)
    return made
