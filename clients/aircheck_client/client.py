"""The blocking client.

    with AircheckClient("127.0.0.1:8001") as client:
        verdict = client.scan("episode.mp3", Context(content_type="podcast", market="SE"))
        print(verdict.action, verdict.reason)

One channel, which any number of threads may share. `aircheck_client.aio` has the same verbs for asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from aircheck_client import messages
from aircheck_client.calling import Caller, Upload, check_end
from aircheck_client.connection import DEFAULT_URL, SERVICE, Retry, Tls
from aircheck_client.messages import MAX_CLIP_BYTES, Options, Pcm, Progressing
from aircheck_client.schema import (
    AcousticFindings,
    Context,
    ServerInfo,
    TextFindings,
    Transcript,
    Verdict,
    WindowFindings,
)
from aircheck_client.sources import CHUNK_BYTES, Source, name_of, opened, read, read_whole, size_of
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.wire import from_message

__all__ = ["DEFAULT_URL", "AircheckClient", "Pcm", "Retry", "Tls", "VerdictStream"]


class AircheckClient(Caller):
    """A connection to aircheck servers. Thread-safe; close it, or use it in a `with` block."""

    _channels = grpc
    _closed = ValueError  # gRPC's way to say that the channel was closed under us

    def __enter__(self) -> AircheckClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; scans under way end with ScanCancelledError."""
        self._channel.close()

    def ready(self) -> bool:
        """Whether the server answers and its models can work. Never raises for an absent server."""
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """What the server runs: models, policy packs, languages, limits."""
        with self._calling("GetServerInfo", timeout_s) as how:
            response = self._stub.GetServerInfo(v1.GetServerInfoRequest(), **how)
            return messages.server_info(response)

    def scan(
        self,
        source: Source,
        context: Context | None = None,
        *,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Verdict:
        """The verdict on a whole recording of any length: a path, bytes, an open file, or a URL that fsspec knows.

        options : fields of `Options`: language, idempotency_key, priority, transcript, scores

        Raises InvalidAudioError, UnavailableError, DeadlineError, AuthenticationError, ServerError; the error's
        `partial` is the verdict on what was checked before, if anything was.
        """
        (*_, whole) = self.stream(source, context, timeout_s=timeout_s, **{"windows": False, **options})
        return whole

    def stream(
        self,
        source: Source,
        context: Context | None = None,
        *,
        timeout_s: float | None = None,
        **options: Any,
    ) -> VerdictStream:
        """Verdicts as they come: one for each window in order, then the recording's (`scope == "episode"`).

        Closing the stream ends the scan on the server. Raises as `scan`, while it is read.
        """
        return VerdictStream(self._scan(source, Options(context=context or Context(), **options), timeout_s))

    def scan_clip(
        self,
        source: Source,
        context: Context | None = None,
        *,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Verdict:
        """The verdict on a clip of at most 30 s, in one message each way. Raises as `scan`."""
        audio = read_whole(source, MAX_CLIP_BYTES)
        request = Options(context=context or Context(), **options).clip(audio)
        with self._calling("ScanClip", timeout_s, name_of(source)) as how:
            return from_message(self._stub.ScanClip(request, **how).verdict, Verdict)

    def listen(
        self,
        audio: Iterable[bytes],
        context: Context | None = None,
        *,
        pcm: Pcm | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> VerdictStream:
        """Verdicts on live audio while it comes: windows in order, then that on all of it when `audio` ends.

        audio : pieces of an encoded stream such as MP3 or Ogg; with `pcm`, of raw samples
        """
        return VerdictStream(self._listen(audio, Options(context=context or Context(), **options), pcm, timeout_s))

    def decide(
        self,
        transcript: Transcript,
        text: TextFindings,
        acoustic: AcousticFindings,
        duration_s: float,
        context: Context | None = None,
        *,
        warnings: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> Verdict:
        """The verdict on a window's findings under the context's pack, without any audio."""
        request = messages.decide_request(context or Context(), transcript, text, acoustic, duration_s, warnings)
        with self._calling("Decide", timeout_s) as how:
            return from_message(self._stub.Decide(request, **how).verdict, Verdict)

    def decide_recording(
        self,
        windows: Iterable[WindowFindings],
        duration_s: float,
        context: Context | None = None,
        *,
        undecoded_s: float = 0.0,
        warnings: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> Verdict:
        """The verdict on a whole recording from what a scan found in its windows (`findings=True`), without its audio.

        undecoded_s : as in the coverage of the scan's verdict; warnings : its warnings
        """
        request = messages.decide_recording_request(windows, duration_s, context or Context(), undecoded_s, warnings)
        with self._calling("Decide", timeout_s) as how:
            return from_message(self._stub.Decide(request, **how).verdict, Verdict)

    def _scan(self, source: Source, options: Options, timeout_s: float | None) -> Iterator[Verdict | Progressing]:
        with opened(source) as file:
            size_bytes = size_of(file)
            pieces = read_pieces(file, source)
            upload = _Upload(pieces, options.scan_start(size_bytes), name_of(source), messages.BROKEN_OFF)
            yield from self._stream("Scan", upload, timeout_s)

    def _listen(
        self, audio: Iterable[bytes], options: Options, pcm: Pcm | None, timeout_s: float | None
    ) -> Iterator[Verdict | Progressing]:
        pieces = (v1.ListenRequest(audio=piece) for piece in audio)
        yield from self._stream("Listen", _Upload(pieces, options.listen_start(pcm), ""), timeout_s)

    def _stream(self, method: str, upload: _Upload, timeout_s: float | None) -> Iterator[Verdict | Progressing]:
        progressing = Progressing()
        yield progressing
        with self._calling(method, timeout_s, upload.source, progressing, upload) as how:
            call = getattr(self._stub, method)(iter(upload), **how)
            try:
                for event in call:
                    verdict = progressing.read(event)
                    upload.begin()
                    if progressing.is_complete and upload.fault is not None:
                        progressing.partial = verdict
                    elif verdict is not None:
                        yield verdict
            finally:
                upload.stop()
                call.cancel()
        check_end(upload, progressing)


class VerdictStream(Iterator[Verdict]):
    """Verdicts as they come, and what is known of the recording meanwhile."""

    def __init__(self, items: Iterator[Verdict | Progressing]):
        self._items = items
        self.about = Progressing()
        """`scan_id`, `recording` (what the container says), `progress`, and after an error `partial`."""

    def __next__(self) -> Verdict:
        while True:
            item = next(self._items)
            if isinstance(item, Verdict):
                return item
            self.about = item

    def close(self) -> None:
        """Ends the scan."""
        self._items.close()  # type: ignore[attr-defined]  # a generator


class _Upload(Upload):
    """Requests as gRPC pulls them, on its own thread."""

    def __init__(self, *of_any: Any):
        super().__init__(*of_any)
        self._may_begin, self._is_stopped = threading.Event(), False

    def begin(self) -> None:
        """The server has accepted. Until then a call may be made again, elsewhere or later."""
        self._may_begin.set()

    def stop(self) -> None:
        self._is_stopped = True
        self._may_begin.set()

    def __iter__(self) -> Iterator[Any]:
        yield self.start
        self._may_begin.wait()
        try:
            for piece in self.pieces:
                if self._is_stopped:
                    return
                yield piece
        except Exception as fault:
            self.fault = fault
            if self.broken_off is not None:
                yield self.broken_off


def read_pieces(file: Any, source: Source) -> Iterator[v1.ScanRequest]:
    """A file as messages. Raises InvalidAudioError, at once when it is empty."""
    first = read(file, CHUNK_BYTES, source)
    if not first:
        raise messages.empty(name_of(source))
    return _pieces(first, file, source)


def _pieces(first: bytes, file: Any, source: Source) -> Iterator[v1.ScanRequest]:
    chunk = first
    while chunk:
        yield v1.ScanRequest(chunk=chunk)
        chunk = read(file, CHUNK_BYTES, source)
