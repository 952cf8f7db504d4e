"""How many frames an MP3 has, as its encoder wrote it into the first one (Xing, Info and VBRI headers).

Xing: http://gabriel.mp3-tech.org/mp3infotag.html. VBRI: Fraunhofer's, as in FFmpeg's libavformat/mp3dec.c.
"""

from __future__ import annotations

from preprocessing.recording_bytes import RecordingBytes


def is_mp3(data: RecordingBytes) -> bool:
    """Whether a frame of layer III comes first, or follows an ID3 tag."""
    return _is_frame(data.read(_start(data), 4))


def stated_frames(data: RecordingBytes) -> int | None:
    """The number of frames; None where the first one does not say."""
    frame = data.read(_start(data), 2048)
    for tag in (b"Xing", b"Info"):  # tag, flags (bit 0: the count is there), count
        at = frame.find(tag)
        if at >= 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    at = frame.find(b"VBRI")  # tag, version, delay, quality, bytes, count
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 and len(frame) >= at + 18 else None


def _start(data: RecordingBytes) -> int:
    head = data.read(0, 10)
    tag_bytes = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    return 10 + tag_bytes if head[:3] == b"ID3" else 0


def _is_frame(head: bytes) -> bool:
    return len(head) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # the sync word, and layer III
