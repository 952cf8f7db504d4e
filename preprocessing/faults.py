"""Why bytes cannot be used, where FFmpeg only says "invalid data": incomplete or encrypted MP4, and no audio at all.

MP4's boxes: ISO/IEC 14496-12. Protected sample entries and scheme types: ISO/IEC 23001-7 (Common Encryption).
"""

from __future__ import annotations

from preprocessing.recording_bytes import MP4_FIRST_BOXES, RecordingBytes, boxes, children

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


def other_file(data: RecordingBytes) -> str | None:
    """What the bytes look like, if not like audio; None where that cannot be told."""
    head = data.read(0, 512)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<"):
        return "XML text"
    return next((name for magic, name in _OTHER_FILES if head.startswith(magic)), None)


def missing_mp4_index(data: RecordingBytes) -> str | None:
    """What an MP4 lacks of its index (moov), which a recorder writes at the end; None if nothing, or if no MP4."""
    if data.read(4, 4) not in MP4_FIRST_BOXES:
        return None
    data = data.complete()
    size = data.size or 0
    for name, start, end in boxes(data):
        if name == b"moov":
            return None if end <= size else f"the moov atom breaks off after {size - start} bytes"
    return "no moov atom"


def mp4_protection(data: RecordingBytes, audio_track: int) -> str | None:
    """How the audio track at position `audio_track` (from 0, among the audio tracks) is encrypted; None if it is not.

    FFmpeg takes an encrypted track for a plain one: what it decodes is noise or nothing.
    """
    if data.read(4, 4) not in MP4_FIRST_BOXES:
        return None
    # the first is the one that FFmpeg reads, and looking for another would be waiting for the end of an arriving file
    moov = next(((start, end) for name, start, end in boxes(data) if name == b"moov"), None)
    entries = [
        (start, end)
        for trak in (children(data, *moov, b"trak") if moov else ())
        for media in children(data, *trak, b"mdia")
        if any(data.read(start + 8, 4) == b"soun" for start, _ in children(data, *media, b"hdlr"))
        for information in children(data, *media, b"minf")
        for table in children(data, *information, b"stbl")
        for start, end in children(data, *table, b"stsd")
    ]
    if audio_track >= len(entries):
        return None
    start, end = entries[audio_track]
    for name, body, body_end in boxes(data, start + 8, end):  # 8: version, flags, number of entries
        if name not in _PROTECTED_ENTRIES:
            continue
        entry = data.read(body, min(body_end - body, 4096))
        at = entry.find(b"schm")
        scheme = entry[at + 8 : at + 12] if at >= 0 else b""
        if scheme in _COMMON_ENCRYPTION and scheme != b"cenc":
            return f"CENC, scheme {scheme.decode()}"
        return _PROTECTED_ENTRIES[name]
    return None
