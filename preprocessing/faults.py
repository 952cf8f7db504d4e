"""Why bytes cannot be used, where FFmpeg only says "invalid data": incomplete or encrypted MP4, and no audio at all.

MP4's boxes: ISO/IEC 14496-12. Protected sample entries and scheme types: ISO/IEC 23001-7 (Common Encryption).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MP4_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot", b"sidx")
_PROTECTED_ENTRIES = {b"enca": "CENC", b"drms": "FairPlay", b"aavd": "Audible"}
_COMMON_ENCRYPTION = (b"cenc", b"cens", b"cbc1", b"cbcs")
_OTHER_FILES = (  # what callers send by mistake, by its first bytes
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"#EXTM3U", "an HLS playlist"),
    (b"{", "JSON text"),
)


def other_file(data: bytes | memoryview) -> str | None:
    """What the bytes look like, if not like audio; None where that cannot be told."""
    head = bytes(data[:512])
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<"):
        return "XML text"
    return next((name for magic, name in _OTHER_FILES if head.startswith(magic)), None)


def missing_mp4_index(data: bytes | memoryview) -> str | None:
    """What an MP4 lacks of its index (moov), which a recorder writes at the end; None if nothing, or if no MP4."""
    if bytes(data[4:8]) not in _MP4_FIRST_BOXES:
        return None
    for name, start, end in _boxes(data, 0, len(data)):
        if name == b"moov":
            return None if end <= len(data) else f"the moov atom breaks off after {len(data) - start} bytes"
    return "no moov atom"


def mp4_protection(data: bytes | memoryview, audio_track: int) -> str | None:
    """How the audio track at position `audio_track` (from 0, among the audio tracks) is encrypted; None if it is not.

    FFmpeg takes an encrypted track for a plain one: what it decodes is noise or nothing.
    """
    if bytes(data[4:8]) not in _MP4_FIRST_BOXES:
        return None
    entries = [
        (data, start, end)
        for moov in _children(data, 0, len(data), b"moov")
        for trak in _children(data, *moov, b"trak")
        for media in _children(data, *trak, b"mdia")
        if any(bytes(data[start + 8 : start + 12]) == b"soun" for start, _ in _children(data, *media, b"hdlr"))
        for information in _children(data, *media, b"minf")
        for table in _children(data, *information, b"stbl")
        for start, end in _children(data, *table, b"stsd")
    ]
    if audio_track >= len(entries):
        return None
    _, start, end = entries[audio_track]
    for name, body, body_end in _boxes(data, start + 8, end):  # 8: version, flags, number of entries
        if name not in _PROTECTED_ENTRIES:
            continue
        entry = bytes(data[body : min(body_end, body + 4096)])
        at = entry.find(b"schm")
        scheme = entry[at + 8 : at + 12] if at >= 0 else b""
        if scheme in _COMMON_ENCRYPTION and scheme != b"cenc":
            return f"CENC, scheme {scheme.decode()}"
        return _PROTECTED_ENTRIES[name]
    return None


def _boxes(data: bytes | memoryview, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two offsets: type, start and end of what each holds; an end may lie beyond the data."""
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1 and at + 16 <= end:  # the size follows in 64 bits
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:  # to the end of the file
            size = end - at
        if size < body - at:
            return
        yield name, body, at + size
        at += size


def _children(data: bytes | memoryview, start: int, end: int, wanted: bytes) -> list[tuple[int, int]]:
    end = min(end, len(data))
    return [(body, min(stop, end)) for name, body, stop in _boxes(data, start, end) if name == wanted]
