"""Containers with several tracks, and with timestamps of their own, for tests: made by FFmpeg's muxers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition

from support.audio import RATE_HZ


@dataclass(frozen=True)
class Track:
    """A track of mono 16 kHz samples in pieces, each with the time at which it begins."""

    pieces: Sequence[tuple[float, np.ndarray]]  # start_s, fp32 [samples]
    default: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


def mux(tracks: Sequence[Track], muxer: str = "matroska", encoder: str = "pcm_s16le", rate_hz: int = RATE_HZ) -> bytes:
    """The tracks in one container."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        streams = []
        for track in tracks:
            stream = container.add_stream(encoder, rate=rate_hz, layout="mono")
            stream.metadata.update(track.metadata)
            stream.disposition = Disposition.default if track.default else Disposition(0)
            streams.append(stream)
        for track, stream in zip(tracks, streams, strict=True):
            for start_s, samples in track.pieces:
                for frame in _frames(samples, round(start_s * rate_hz), stream, rate_hz):
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return buffer.getvalue()


def _frames(samples: np.ndarray, first: int, stream: av.AudioStream, rate_hz: int) -> list[av.AudioFrame]:
    size = stream.codec_context.frame_size or 960
    resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate_hz, frame_size=size)
    whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
    whole.sample_rate, whole.pts = RATE_HZ, None
    frames, at = [], first
    for frame in [*resampler.resample(whole), *resampler.resample(None)]:
        frame.pts, frame.time_base = at, Fraction(1, rate_hz)
        at += frame.samples
        frames.append(frame)
    return frames
