"""Recordings of hours, made of a short one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from preprocessing.container import Limits
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, decode

LIMITS = Limits(max_bytes=2**34, max_duration_s=100 * 3600, max_channels=8, max_sample_rate_hz=192_000)
HALF_HOUR_S = 1_800.0


def half_hour_of(path: Path) -> np.ndarray:
    """fp32 [samples] at 16 kHz: the recording, repeated."""
    samples = np.concatenate(list(decode(path.read_bytes(), LIMITS, DecodeReport())))
    return np.resize(samples, round(HALF_HOUR_S * SAMPLE_RATE_HZ))


def encode(samples: np.ndarray, path: Path, muxer: str, encoder: str, layout: str, bit_rate: int) -> None:
    """fp32 [samples] at 16 kHz as a file of 44.1 kHz; the second channel is a little later than the first."""
    rate_hz = 44_100
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate_hz, layout=layout)
        assert isinstance(stream, AudioStream)
        stream.bit_rate = bit_rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz, frame_size=size)
        at = 0
        for first in range(0, len(samples), SAMPLE_RATE_HZ):
            part = samples[first : first + SAMPLE_RATE_HZ]
            planar = np.stack([part, 0.8 * np.roll(part, 5)]) if layout == "stereo" else part[None]
            source = av.AudioFrame.from_ndarray(np.ascontiguousarray(planar), format="fltp", layout=layout)
            source.sample_rate, source.pts = SAMPLE_RATE_HZ, None
            last = first + SAMPLE_RATE_HZ >= len(samples)
            for frame in [*resampler.resample(source), *(resampler.resample(None) if last else [])]:
                frame.pts, frame.time_base = at, Fraction(1, rate_hz)
                at += frame.samples
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def repeat(path: Path, longer: Path, times: int) -> None:
    """The file's packets `times` times, one after another."""
    with av.open(str(path)) as source, av.open(str(longer), "w", format="ipod") as container:
        track = source.streams.audio[0]
        stream = container.add_stream_from_template(track)
        packets = [
            (bytes(packet), packet.dts, packet.duration or 0)
            for packet in source.demux(track)
            if packet.dts is not None
        ]
        packets_base = track.time_base or Fraction(1, 44_100)
        span = packets[-1][1] + packets[-1][2] - packets[0][1]
        for turn in range(times):
            for data, dts, duration in packets:
                packet = av.Packet(data)
                packet.pts = packet.dts = dts + turn * span
                packet.duration, packet.time_base, packet.stream = duration, packets_base, stream
                container.mux(packet)
