"""The asyncio client: the verbs of `AircheckClient`, to be awaited.

async with AsyncAircheckClient("127.0.0.1:8001") as client:
    verdict = await client.scan("episode.mp3")
    async for window in client.stream("episode.mp3"):
        print(window.action)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from aircheck_client import messages
from aircheck_client.calling import Caller, Upload, check_end
from aircheck_client.client import read_pieces
from aircheck_client.connection import SERVICE
from aircheck_client.ending import Ending
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
from aircheck_client.sources import Source, name_of, opened, read_whole, size_of
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.wire import from_message


class AsyncAircheckClient(Caller):
    """A connection to aircheck servers, for one event loop. Arguments, results and errors are `AircheckClient`'s."""

    _channels = grpc.aio
    _closed = (grpc.aio.UsageError, asyncio.CancelledError)

    async def __aenter__(self) -> AsyncAircheckClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; scans under way end with ScanCancelledError."""
        await self._channel.close()

    async def ready(self) -> bool:
        """Whether the server answers and its models can work. Never raises for an absent server."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """What the server runs: models, policy packs, languages, limits."""
        with self._calling("GetServerInfo", timeout_s) as how:
            return messages.server_info(await self._stub.GetServerInfo(v1.GetServerInfoRequest(), **how))

    async def scan(
        self, source: Source, context: Context | None = None, *, timeout_s: float | None = None, **options: Any
    ) -> Verdict:
        """The verdict on a whole recording of any length."""
        stream = self.stream(source, context, timeout_s=timeout_s, **{"windows": False, **options})
        return [verdict async for verdict in stream][-1]

    def stream(
        self, source: Source, context: Context | None = None, *, timeout_s: float | None = None, **options: Any
    ) -> AsyncVerdictStream:
        """Verdicts as they come: one for each window in order, then the recording's."""
        return AsyncVerdictStream(self._scan(source, Options(context=context or Context(), **options), timeout_s))

    async def scan_clip(
        self, source: Source, context: Context | None = None, *, timeout_s: float | None = None, **options: Any
    ) -> Verdict:
        """The verdict on a clip of at most 30 s, in one message each way."""
        audio = await asyncio.to_thread(read_whole, source, MAX_CLIP_BYTES)
        request = Options(context=context or Context(), **options).clip(audio)
        with self._calling("ScanClip", timeout_s, name_of(source)) as how:
            response = await self._stub.ScanClip(request, **how)
            return from_message(response.verdict, Verdict)

    def listen(
        self,
        audio: AsyncIterable[bytes],
        context: Context | None = None,
        *,
        pcm: Pcm | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> AsyncVerdictStream:
        """Verdicts on live audio while it comes."""
        return AsyncVerdictStream(self._listen(audio, Options(context=context or Context(), **options), pcm, timeout_s))

    async def decide(
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
            return from_message((await self._stub.Decide(request, **how)).verdict, Verdict)

    async def decide_recording(
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
            return from_message((await self._stub.Decide(request, **how)).verdict, Verdict)

    async def _scan(
        self, source: Source, options: Options, timeout_s: float | None
    ) -> AsyncGenerator[Verdict | Progressing, None]:
        with opened(source) as file:
            size_bytes = size_of(file)
            pieces = await asyncio.to_thread(read_pieces, file, source)

            async def upload() -> AsyncIterator[v1.ScanRequest]:
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield piece

            requests = _Upload(upload(), options.scan_start(size_bytes), name_of(source), messages.BROKEN_OFF)
            async with aclosing(self._stream("Scan", requests, timeout_s)) as items:
                async for item in items:
                    yield item

    async def _listen(
        self, audio: AsyncIterable[bytes], options: Options, pcm: Pcm | None, timeout_s: float | None
    ) -> AsyncGenerator[Verdict | Progressing, None]:
        async def upload() -> AsyncIterator[v1.ListenRequest]:
            async for piece in audio:
                yield v1.ListenRequest(audio=piece)

        requests = _Upload(upload(), options.listen_start(pcm), "")
        async with aclosing(self._stream("Listen", requests, timeout_s)) as items:
            async for item in items:
                yield item

    async def _stream(
        self, method: str, upload: _Upload, timeout_s: float | None
    ) -> AsyncGenerator[Verdict | Progressing, None]:
        progressing = Progressing()
        yield progressing
        with self._calling(method, timeout_s, upload.source, progressing, upload) as how:
            call = getattr(self._stub, method)(upload.requests(), **how)
            ending = Ending(call)
            try:
                async for event in call:
                    verdict = progressing.read(event)
                    upload.may_begin.set()
                    if progressing.is_complete and upload.fault is not None:
                        progressing.partial = verdict
                    elif verdict is not None:
                        yield verdict
            except grpc.aio.AioRpcError as error:
                raise await ending.of(error) from None
            finally:
                call.cancel()
        check_end(upload, progressing)

    def _was_closed(self, error: BaseException) -> bool:
        """A cancelled call whose task is not cancelled was ended by the channel's end."""
        task = asyncio.current_task()
        return not (isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling())


class AsyncVerdictStream(AsyncIterator[Verdict]):
    """Verdicts as they come, and what is known of the recording meanwhile."""

    def __init__(self, items: AsyncIterator[Verdict | Progressing]):
        self._items = items
        self.about = Progressing()
        """`scan_id`, `recording` (what the container says), `progress`, and after an error `partial`."""

    async def __anext__(self) -> Verdict:
        while True:
            item = await anext(self._items)
            if isinstance(item, Verdict):
                return item
            self.about = item

    async def aclose(self) -> None:
        """Ends the scan."""
        await self._items.aclose()  # type: ignore[attr-defined]  # a generator


class _Upload(Upload):
    """Until the server has accepted, a call may be made again elsewhere or later."""

    def __init__(self, *of_any: Any):
        super().__init__(*of_any)
        self.may_begin = asyncio.Event()

    async def requests(self) -> AsyncIterator[Any]:
        yield self.start
        await self.may_begin.wait()
        try:
            async for piece in self.pieces:
                yield piece
        except Exception as fault:
            self.fault = fault
            if self.broken_off is not None:
                yield self.broken_off
