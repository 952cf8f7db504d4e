"""A recording's format by name, for metrics: one of few, whatever a file or its decoder says."""

from __future__ import annotations

from preprocessing.container import DEMUXERS
from preprocessing.recording_bytes import MP4_FIRST_BOXES

HEAD_BYTES = 12  # that tell a format
UNKNOWN = "unknown"

_KNOWN = frozenset(DEMUXERS.split(","))
_SIGNATURES = (  # FFmpeg's names for what begins so
    (b"ID3", "mp3"),
    (b"\xff\xf1", "aac"),
    (b"\xff\xf9", "aac"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"RIFF", "wav"),
    (b"RF64", "wav"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"FORM", "aiff"),
    (b"caff", "caf"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"\x30\x26\xb2\x75", "asf"),
)


def format_name(container: str, head: bytes) -> str:
    """FFmpeg's name of the container, or what the first bytes look like where that is not known.

    container : as the decoder says, which is not trusted; empty: it could not open the file
    head : the first HEAD_BYTES of the file
    """
    if container:
        return container if container in _KNOWN else UNKNOWN
    if head[4:8] in MP4_FIRST_BOXES:
        return "mov"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), UNKNOWN)
