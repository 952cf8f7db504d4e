"""The file that FFmpeg reads a recording from.

FFmpeg must not see how much of an arriving file is there, or the same bytes would be decoded otherwise on another day.
It gets a file of unknown size, therefore, whose reads wait for what has not come yet; and one that cannot be sought in
where it would use that to read the file's tail before the first sample, as it does for tags and indexes in most formats
(FFmpeg's wavdec.c, matroskadec.c, mov.c).
"""

from __future__ import annotations

import os

from preprocessing.mp3_header import is_mp3
from preprocessing.recording_bytes import MP4_FIRST_BOXES, RecordingBytes, boxes

_READ_THROUGH = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"\x1aE\xdf\xa3", b".RMF", b"DSD ", b"MPCK")


class ReadThrough:
    """A file that can only be read on. No more of it is copied than is read."""

    def __init__(self, data: RecordingBytes):
        self._data, self._at = data, 0

    def read(self, size: int) -> bytes:
        part = self._data.read(self._at, size)
        self._at += len(part)
        return part


class Seekable(ReadThrough):
    """A file that can be sought in; seeking to its end fails where `size` is None."""

    def __init__(self, data: RecordingBytes, size: int | None):
        super().__init__(data)
        self._size = size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END and self._size is None:
            return -1  # FFmpeg's sign of failure; an exception would be kept, and raised by the next call
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size or 0}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def file_object(data: RecordingBytes) -> ReadThrough:
    """What FFmpeg reads `data` from.

    An MP3 never has a size: where it is about what the first frame states, FFmpeg cuts off the encoder's padding (a few
    ms, of silence), and by that count it also cuts into what has been joined behind it.
    """
    if is_mp3(data):
        return Seekable(data, None)
    return Seekable(data, data.size) if data.size is not None or needs_seeking(data) else ReadThrough(data)


def needs_seeking(data: RecordingBytes) -> bool:
    """Whether an arriving file must be seekable: where an index follows the sound, and in formats of no known tail."""
    head = data.read(0, 40)
    if head[4:8] in MP4_FIRST_BOXES:
        return next((name == b"mdat" for name, *_ in boxes(data) if name in (b"moov", b"mdat")), True)
    if head[:4] == b"caff":  # a description comes first; packets of no fixed size have a table behind the sound
        return head[36:40] == bytes(4)
    return not head.startswith(_READ_THROUGH)
