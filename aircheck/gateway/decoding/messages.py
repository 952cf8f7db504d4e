"""What the gateway and a decoder process say to each other: JSON and bytes, each with its length before it.

Nothing is pickled. The gateway believes nothing of what comes back: sizes are bounded here, and fields are checked
against the types below (pool.py), so that a process that a crafted file has taken over can only answer with rubbish.

The worker asks: NEED bytes up to an offset, and is told how many have ARRIVED. It sends WINDOWs as long as it is owed
any: each that is taken is answered by MORE.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from preprocessing.tags import MAX_CHAPTERS, MAX_TEXT

HEADER = struct.Struct("<II")  # bytes of JSON, bytes that follow it
MAX_JSON_BYTES = 4 * 2**20  # 1,000 chapters whose titles have 200 characters of 4 bytes, escaped
MAX_WARNINGS = 1_000
MAX_MESSAGE = 1_000  # characters of an error or a warning
MAX_CONTROL_BYTES = 4_096  # of a message to or from the zygote
EXIT_MEMORY, EXIT_FAULT = 77, 78  # how a worker ends that has no memory left; that met a fault of ours
WINDOWS_AHEAD = 2  # that a worker may send before the first is taken


class Kind(StrEnum):
    """What a message is."""

    START = "start"  # gateway: a recording, whose file comes with the message, and how much of it is there
    ARRIVED = "arrived"  # gateway: so many bytes are there
    MORE = "more"  # gateway: one more window may be sent
    NEED = "need"  # worker: waits for bytes
    FOUND = "found"  # worker: what the file holds
    WINDOW = "window"  # worker: a window, its WAVE file behind the message
    DONE = "done"  # worker: all windows have been sent
    FAILED = "failed"  # worker: no more windows, the audio is bad


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Message = Annotated[str, Field(max_length=MAX_MESSAGE)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]


@dataclass(frozen=True)
class ChapterInfo:
    """A chapter, in the recording's time."""

    start_s: Seconds
    end_s: Seconds
    title: Text


@dataclass(frozen=True)
class RecordingInfo:
    """What the file says of itself; texts are empty where it says nothing."""

    container: Text
    codec: Text
    sample_rate_hz: Annotated[int, Field(ge=0)]
    channels: Annotated[int, Field(ge=0)]
    duration_s: Seconds | None
    title: Text
    artist: Text
    album: Text
    language: Text
    chapters: Annotated[tuple[ChapterInfo, ...], Field(max_length=MAX_CHAPTERS)]


@dataclass(frozen=True)
class Summary:
    """What is known of a recording when all of it has been read."""

    recording: RecordingInfo  # also what only the end of the file tells
    warnings: Annotated[tuple[Message, ...], Field(max_length=MAX_WARNINGS)]
    undecoded_s: Seconds
    decoded_s: Seconds

    @property
    def duration_s(self) -> float | None:
        """What the file states."""
        return self.recording.duration_s


@dataclass(frozen=True)
class WindowHeader:
    """A window without its samples."""

    start_s: Seconds
    duration_s: Seconds
    own_s: tuple[Seconds, Seconds] | None  # preprocessing.windows.Window
    position_s: Seconds  # how far the recording has been decoded
    read_bytes: Annotated[int, Field(ge=0)]  # and how far its file has been read


@dataclass(frozen=True)
class Failure:
    """Bad audio, or a fault of the worker's, after which it ends."""

    error: Text  # the name of a class, in preprocessing.errors for bad audio
    message: Message
    position_s: Seconds


def pack(kind: Kind, fields: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    """A message as bytes, without its payload, which follows it."""
    body = json.dumps({"kind": kind, **(fields or {})}, allow_nan=False).encode()
    return HEADER.pack(len(body), len(payload)) + body


def receive(connection: socket.socket) -> tuple[Kind, dict[str, Any], list[int]]:
    """The worker's side: the next message and the files that came with it; waits. Raises EOFError at the end."""
    head, files, _, _ = socket.recv_fds(connection, HEADER.size, 1)
    while head and len(head) < HEADER.size:
        head += connection.recv(HEADER.size - len(head)) or _raise_eof()
    if not head:
        _raise_eof()
    json_bytes, _ = HEADER.unpack(head)
    body = bytearray()
    while len(body) < json_bytes:
        body += connection.recv(json_bytes - len(body)) or _raise_eof()
    fields = json.loads(body)
    return Kind(fields.pop("kind")), fields, list(files)


def _raise_eof() -> bytes:
    raise EOFError
