"""A decoder process: one recording at a time, from the file that it is handed to windows, for the gateway to read."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import socket
from dataclasses import asdict
from typing import Any

import av
import numpy as np

from aircheck.gateway.decoding.messages import (
    MAX_MESSAGE,
    MAX_WARNINGS,
    WINDOWS_AHEAD,
    Failure,
    Kind,
    RecordingInfo,
    Summary,
    WindowHeader,
    pack,
    receive,
)
from preprocessing.container import AudioInfo, Limits
from preprocessing.cutting import window_end
from preprocessing.errors import AudioError
from preprocessing.recording_bytes import BUFFER_BYTES
from preprocessing.tags import bounded
from preprocessing.wave_file import wave_bytes
from preprocessing.windows import Episode

_LIVE_BUFFER_BYTES = 1_024  # 64 ms of 128 kbit/s: what is read waits for no more than that
_WHOLE = 2**62  # an offset behind the end of any file


class Worker:
    """The far end of a connection to the gateway."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._windows_owed = 0
        self._file = _SpooledFile(self, -1, 0, True, BUFFER_BYTES)

    def serve(self) -> None:
        """Recordings until the gateway hangs up."""
        while True:
            try:
                kind, fields, files = receive(self._connection)
            except EOFError:
                return
            if kind is not Kind.START:
                continue  # a window that was taken after the last one of a recording had been sent
            try:
                buffer_bytes = _LIVE_BUFFER_BYTES if fields["is_live"] else BUFFER_BYTES
                self._file = _SpooledFile(self, files[0], fields["size"], fields["is_complete"], buffer_bytes)
                self._decode(Limits(**fields["limits"]), fields["window_max_s"], fields["is_live"])
            finally:
                os.close(files[0])
            gc.collect()

    def _decode(self, limits: Limits, window_max_s: float, is_live: bool) -> None:
        self._windows_owed = WINDOWS_AHEAD
        episode = None
        try:
            episode = Episode(self._file, limits)
            self._send(Kind.FOUND, asdict(_recording(episode.info)))
            for window in episode.live_windows(window_max_s) if is_live else episode.windows(window_max_s):
                while not self._windows_owed:
                    self._receive()
                self._windows_owed -= 1
                header = WindowHeader(
                    window.start_s, window.duration_s, window.own_s, episode.report.decoded_s, self._file.read_bytes
                )
                self._send(Kind.WINDOW, asdict(header), window.wav())
            warnings = tuple(text[:MAX_MESSAGE] for text in episode.warnings()[:MAX_WARNINGS])
            summary = Summary(_recording(episode.info), warnings, episode.undecoded_s(), episode.report.decoded_s)
            self._send(Kind.DONE, asdict(summary))
        except EOFError:
            raise
        except Exception as error:
            position_s = episode.report.decoded_s if episode else 0.0
            is_bad_audio = isinstance(error, AudioError)
            text = str(error)[:MAX_MESSAGE] if is_bad_audio else ""  # else it may quote the file
            name = MemoryError.__name__ if _is_out_of_memory(error) else type(error).__name__
            self._send(Kind.FAILED, asdict(Failure(name, text, position_s)))
            if not is_bad_audio:
                raise

    def need(self, end: int) -> tuple[int, bool]:
        """Waits for the bytes before `end`: how many there are then, and whether that is all of them."""
        self._send(Kind.NEED, {"end": end})
        while (fields := self._receive()) is None:
            pass
        return fields["size"], fields["is_complete"]

    def _receive(self) -> dict[str, Any] | None:
        """The next message: what has ARRIVED, or None where a window was taken."""
        kind, fields, _ = receive(self._connection)
        if kind is Kind.MORE:
            self._windows_owed += 1
            return None
        return fields

    def _send(self, kind: Kind, fields: dict[str, Any], payload: bytes = b"") -> None:
        self._connection.sendall(pack(kind, fields, payload))
        if payload:
            self._connection.sendall(payload)


class _SpooledFile:
    """RecordingBytes over a file that still grows."""

    def __init__(self, worker: Worker, file: int, arrived: int, is_complete: bool, buffer_bytes: int) -> None:
        self._worker, self._file, self.buffer_bytes = worker, file, buffer_bytes
        self._arrived, self._is_complete = arrived, is_complete
        self.read_bytes = 0
        """The end of what has been read."""

    @property
    def size(self) -> None:
        """Not to be asked: preprocessing.file_objects."""
        return None

    def read(self, at: int, size: int) -> bytes:
        end = at + size
        if end > self._arrived and not self._is_complete:
            self._arrived, self._is_complete = self._worker.need(min(end, _WHOLE))
        self.read_bytes = max(self.read_bytes, min(end, self._arrived))
        return _read(self._file, at, min(end, self._arrived))

    def complete(self) -> _WholeFile:
        if not self._is_complete:
            self._arrived, self._is_complete = self._worker.need(_WHOLE)
        return _WholeFile(self._file, self._arrived)


class _WholeFile:
    """RecordingBytes over a file that is all there."""

    buffer_bytes = BUFFER_BYTES

    def __init__(self, file: int, size: int) -> None:
        self._file, self.size = file, size

    def read(self, at: int, size: int) -> bytes:
        return _read(self._file, at, min(at + size, self.size))

    def complete(self) -> _WholeFile:
        return self


def _read(file: int, at: int, end: int) -> bytes:
    """A regular file gives less than it is asked for at its end only."""
    return os.pread(file, end - at, at) if end > at else b""


def _recording(info: AudioInfo) -> RecordingInfo:
    tags = asdict(info.tags)
    return RecordingInfo(
        container=bounded(info.container),
        codec=bounded(info.codec),
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        duration_s=max(0.0, info.duration_s) if info.duration_s is not None else None,
        **tags,
    )


def _is_out_of_memory(error: Exception) -> bool:
    """torch has no error of its own for it."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def warm_up() -> None:
    """Loads and runs everything once, since later no file can be opened.

    PyAV imports its modules when it meets the first track that needs them, so all are imported.
    """
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name != "av.__main__":
            importlib.import_module(module.name)
    limits = Limits(max_bytes=2**24, max_duration_s=60.0, max_channels=8, max_sample_rate_hz=192_000)
    noise = np.random.default_rng(0).standard_normal((2, 60 * 100)).astype(np.float32) / 8
    episode = Episode(wave_bytes(noise, 8_000), limits)
    for window in episode.windows(10.0):
        window.wav()
    episode.warnings()
    window_end(np.resize(noise, 40 * 16_000), 30 * 16_000)
    with contextlib.suppress(AudioError):
        Episode(b"no audio", limits)
