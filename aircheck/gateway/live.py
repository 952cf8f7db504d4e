"""Raw samples as a stream that the decoder knows: a WAVE file whose end nobody knows yet."""

from __future__ import annotations

import struct

from aircheck.policy.errors import RequestError
from aircheck_client.v1 import aircheck_pb2 as v1

MAX_CHANNELS, MAX_RATE_HZ = 8, 192_000
_UNKNOWN_BYTES = 0xFFFF_FFFF  # what writers leave that cannot seek back: preprocessing.wave_file
_FORMATS = {v1.PcmFormat.ENCODING_S16LE: (1, 2), v1.PcmFormat.ENCODING_F32LE: (3, 4)}  # WAVE's tag, bytes a sample


def wave_header(pcm: v1.PcmFormat) -> bytes:
    """The header that belongs before the samples. Raises RequestError for a format that cannot be taken."""
    if pcm.encoding not in _FORMATS:
        raise RequestError("pcm.encoding: use ENCODING_S16LE or ENCODING_F32LE")
    if not 1 <= pcm.channels <= MAX_CHANNELS:
        raise RequestError(f"pcm.channels: {pcm.channels} is not between 1 and {MAX_CHANNELS}")
    if not 1 <= pcm.sample_rate_hz <= MAX_RATE_HZ:
        raise RequestError(f"pcm.sample_rate_hz: {pcm.sample_rate_hz} is not between 1 and {MAX_RATE_HZ}")
    tag, width = _FORMATS[pcm.encoding]
    frame = width * pcm.channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", _UNKNOWN_BYTES, b"WAVE", b"fmt ", 16),
        *(tag, pcm.channels, pcm.sample_rate_hz, frame * pcm.sample_rate_hz, frame, 8 * width),
        *(b"data", _UNKNOWN_BYTES),
    )
