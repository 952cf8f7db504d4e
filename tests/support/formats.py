"""The same sound in every container, for tests of what must not depend on the format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.sound_files import FILES, sound_file
from support.audio import RATE_HZ, SNDFILE_FORMATS, encode
from support.containers import Track, mux


def every_format(samples: np.ndarray) -> dict[str, Callable[[], bytes]]:
    """By name, what makes fp32 [samples] at 16 kHz into a file: one track, several tracks, gaps, and a late start."""
    other = Track([(0.0, samples[::-1].copy())], metadata={"language": "deu"})
    default = Track([(0.0, samples)], default=True)
    half = len(samples) // 2
    late = Track([(5.0, samples[:half]), (8.0 + 2 * half / RATE_HZ, samples[half:])])
    made: dict[str, Callable[[], bytes]] = {name: partial(sound_file, samples, name) for name in FILES}
    made |= {f"libsndfile-{name}": partial(encode, samples, name) for name in SNDFILE_FORMATS}
    for muxer, encoder, rate_hz in [("matroska", "pcm_s16le", 16_000), ("mp4", "aac", 44_100), ("ogg", "flac", 44_100)]:
        made[f"two-tracks-{muxer}"] = partial(mux, [other, default], muxer, encoder, rate_hz)
        made[f"late-{muxer}"] = partial(mux, [late], muxer, encoder, rate_hz)
    for muxer, encoder in [("mpegts", "mp2"), ("flv", "aac"), ("mpeg", "mp2")]:
        made[f"late-{muxer}"] = partial(mux, [late], muxer, encoder, 44_100)
    made["joined-mp3"] = lambda: encode(samples, "mp3") + encode(samples, "mp3", wanted_hz=22_050)
    return made
