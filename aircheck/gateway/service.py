"""The service `aircheck.v1.Aircheck`: what each call does, from its messages to its status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TypeVar

import grpc.aio
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from aircheck.gateway import live
from aircheck.gateway.answers import Answer
from aircheck.gateway.calls import Call, Calls
from aircheck.gateway.decoding import Decoding, RecordingInfo
from aircheck.gateway.errors import OverloadedError
from aircheck.gateway.scan import PartialError, Parts, RecordingScan, Request, decoded_clip
from aircheck.gateway.scheduling import Priority
from aircheck.gateway.statuses import field_fault
from aircheck.gateway.triton_link import Served
from aircheck.policy import provenance
from aircheck.policy.errors import RequestError
from aircheck.policy.service import PolicyService
from aircheck_client.schema import AcousticFindings, Context, TextFindings, Transcript, Verdict, WindowFindings
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.v1 import aircheck_pb2_grpc
from aircheck_client.wire import from_message, to_message
from preprocessing.decoding import CLIP_S
from preprocessing.errors import CorruptAudioError

LONGEST_KEY = 200  # characters of an idempotency key
LONGEST_WAIT_S = 60.0  # of a clip for its turn, where the caller gave no deadline
RETRY_SCAN_AFTER_S = 5.0

_PRIORITIES = {
    v1.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    v1.PRIORITY_NORMAL: Priority.NORMAL,
    v1.PRIORITY_BULK: Priority.BULK,
}
_Model = TypeVar("_Model", bound=BaseModel)


class AircheckService(aircheck_pb2_grpc.AircheckServicer):
    """Every call is bounded, counted, logged under an id, and ends all its work when its caller is gone."""

    def __init__(self, parts: Parts, policy: PolicyService, calls: Calls, served: Callable[[], Served]) -> None:
        """served : what the models are now"""
        self._parts, self._policy, self._calls, self._served = parts, policy, calls, served
        self._n_scans = 0
        self._n_clips_before = 0  # that are not decoded yet

    async def Scan(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[v1.ScanRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[v1.ScanEvent]:
        async with self._calls.call(context, "Scan") as call:
            with self._room():
                start = await _start(requests)
                request = self._request(start, Priority.NORMAL)
                call.named(start.idempotency_key)
                try:
                    yield v1.ScanEvent(accepted=_accepted(call, start))
                    scan = RecordingScan(self._parts, request, call)
                    async with aclosing(scan.run(_chunks(requests))) as events:
                        async for event in events:
                            for message in self._events(event, scan, start):
                                yield message
                except PartialError as partial:
                    yield v1.ScanEvent(partial=_verdict(partial.verdict, start.omit_transcript))
                    raise partial.cause from None

    async def Listen(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[v1.ListenRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[v1.ListenEvent]:
        async with self._calls.call(context, "Listen") as call:
            with self._room():
                first = await anext(requests, None)
                if first is None or first.WhichOneof("message") != "start":
                    raise RequestError("start: the first message holds it, and comes before the audio")
                start = first.start
                header = live.wave_header(start.pcm) if start.HasField("pcm") else b""
                request = self._request(start, Priority.INTERACTIVE)
                call.named(start.idempotency_key)
                yield v1.ListenEvent(accepted=_accepted(call, start))
                scan = RecordingScan(self._parts, request, call, is_live=True)
                try:
                    async with aclosing(scan.run(_heard(requests, header))) as events:
                        async for event in events:
                            if isinstance(event, Answer):
                                yield v1.ListenEvent(window=_verdict(event.verdict))
                            elif isinstance(event, Verdict):
                                yield v1.ListenEvent(episode=_verdict(event))
                except PartialError as partial:
                    yield v1.ListenEvent(partial=_verdict(partial.verdict))
                    raise partial.cause from None

    async def ScanClip(  # noqa: N802  # the contract's name
        self, request: v1.ScanClipRequest, context: grpc.aio.ServicerContext
    ) -> v1.ScanClipResponse:
        async with self._calls.call(context, "ScanClip") as call:
            asked = self._request(request, Priority.INTERACTIVE)
            call.named(request.idempotency_key)
            left_s = LONGEST_WAIT_S if call.deadline_s is None else context.time_remaining()
            self._parts.scheduler.refuse_late(asked.priority, min(left_s, LONGEST_WAIT_S), self._n_clips_before)
            self._n_clips_before += 1
            try:
                clip = await decoded_clip(self._parts, request.audio)
            finally:
                self._n_clips_before -= 1
            verdict = await clip.check(self._parts, asked, call)
            return v1.ScanClipResponse(verdict=_verdict(verdict), accepted=_accepted(call, request))
        raise AssertionError("unreachable: the call returns or raises")

    async def Decide(  # noqa: N802  # the contract's name
        self, request: v1.DecideRequest, context: grpc.aio.ServicerContext
    ) -> v1.DecideResponse:
        async with self._calls.call(context, "Decide"):
            if request.windows:
                whole = await asyncio.to_thread(self._decide_recording, request)
                return v1.DecideResponse(verdict=to_message(whole, v1.Verdict()))
            verdict = self._policy.decide(
                transcript_json=_json(request.transcript, Transcript, "transcript"),
                text_findings_json=_json(request.text_findings, TextFindings, "text_findings"),
                acoustic_findings_json=_json(request.acoustic_findings, AcousticFindings, "acoustic_findings"),
                duration_s=request.duration_s,
                warnings_json=json.dumps(list(request.warnings)).encode(),
                context_json=_json(request.context, Context, "context"),
            )
            return v1.DecideResponse(verdict=to_message(verdict, v1.Verdict()))
        raise AssertionError("unreachable: the call returns or raises")

    async def GetServerInfo(  # noqa: N802  # the contract's name
        self, request: v1.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> v1.GetServerInfoResponse:
        async with self._calls.call(context, "GetServerInfo"):
            settings, served = self._parts.settings, self._served()
            return v1.GetServerInfoResponse(
                server_version=provenance.server_version(),
                models=[to_message(model, v1.ModelVersion()) for model in served.models],
                policy_packs=[
                    v1.PolicyPack(name=pack.name, version=pack.version, sha256=pack.sha256)
                    for pack in self._policy.packs
                ],
                languages=served.languages,
                limits=v1.ServerLimits(
                    max_recording_s=settings.max_episode_s,
                    max_recording_bytes=settings.max_episode_bytes,
                    max_clip_s=CLIP_S,
                    max_clip_bytes=settings.max_clip_bytes,
                    max_parallel_scans=settings.max_parallel_episodes,
                ),
            )
        raise AssertionError("unreachable: the call returns or raises")

    def _decide_recording(self, request: v1.DecideRequest) -> Verdict:
        windows = [_model(window, WindowFindings, "windows") for window in request.windows]
        context = _model(request.context, Context, "context")
        verdict = self._policy.decide_recording(windows, request.duration_s, context, request.undecoded_s)
        warnings = tuple(dict.fromkeys((*request.warnings, *verdict.warnings)))
        return verdict.model_copy(update={"warnings": warnings, "recording_s": request.duration_s})

    @contextmanager
    def _room(self) -> Iterator[None]:
        """One of the recordings that are worked on at a time. Raises OverloadedError when there are enough."""
        if self._n_scans >= self._parts.settings.max_parallel_episodes:
            raise OverloadedError(f"{self._n_scans} recordings are scanned at once, the limit", RETRY_SCAN_AFTER_S)
        self._n_scans += 1
        try:
            yield
        finally:
            self._n_scans -= 1

    def _request(self, message: v1.ScanStart | v1.ScanClipRequest | v1.ListenStart, priority: Priority) -> Request:
        context = _model(message.context, Context, "context")
        if len(message.idempotency_key) > LONGEST_KEY:
            raise RequestError(f"idempotency_key: has more than {LONGEST_KEY} characters")
        language = message.language or self._parts.settings.language
        if language != "auto" and not (language.isascii() and language.isalpha() and 2 <= len(language) <= 3):
            raise RequestError(
                f"language: {language!r:.20} is no ISO 639-1 code such as 'en'; leave it empty to detect"
            )
        return Request(
            context=context,
            rules=self._policy.rules_for(context),
            language="" if language == "auto" else language,
            priority=priority if isinstance(message, v1.ListenStart) else _PRIORITIES.get(message.priority, priority),
        )

    def _events(
        self, event: Decoding | Answer | Verdict, scan: RecordingScan, start: v1.ScanStart
    ) -> Iterator[v1.ScanEvent]:
        if isinstance(event, Decoding):
            yield v1.ScanEvent(recording=_recording(event.recording))
        elif isinstance(event, Verdict):
            yield v1.ScanEvent(episode=_verdict(event, start.omit_transcript))
        else:
            window = event.verdict
            for warning in window.warnings:
                yield v1.ScanEvent(warning=warning)
            if start.include_scores:
                scores = v1.WindowScores(start_s=window.start_s, end_s=window.end_s)
                scores.categories.update(event.categories)
                scores.events.update(event.events)
                yield v1.ScanEvent(scores=scores)
            if start.include_findings:
                findings = WindowFindings.model_validate_json(event.findings_json)
                findings = findings.model_copy(update={"start_s": window.start_s, "coverage": window.coverage})
                yield v1.ScanEvent(findings=to_message(findings, v1.WindowFindings()))
            if not start.omit_windows:
                yield v1.ScanEvent(window=_verdict(window, start.omit_transcript))
            progress = v1.Progress(checked_s=window.end_s, received_bytes=scan.received_bytes)
            if window.recording_s is not None:
                progress.recording_s = window.recording_s
            yield v1.ScanEvent(progress=progress)


async def _start(requests: AsyncIterator[v1.ScanRequest]) -> v1.ScanStart:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("message") != "start":
        raise RequestError("start: the first message of a scan holds it, and comes before the audio")
    return first.start


async def _chunks(requests: AsyncIterator[v1.ScanRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("message") == "broken_off":
            raise CorruptAudioError("the rest could not be read where it comes from")
        if request.WhichOneof("message") != "chunk":
            raise RequestError("chunk: all messages after the first hold one")
        yield request.chunk


async def _heard(requests: AsyncIterator[v1.ListenRequest], header: bytes) -> AsyncIterator[bytes]:
    if header:
        yield header
    async for request in requests:
        if request.WhichOneof("message") != "audio":
            raise RequestError("audio: all messages after the first hold some")
        yield request.audio


def _accepted(call: Call, message: v1.ScanStart | v1.ScanClipRequest | v1.ListenStart) -> v1.Accepted:
    return v1.Accepted(scan_id=call.id, idempotency_key=message.idempotency_key)


def _verdict(verdict: Verdict, omit_transcript: bool = False) -> v1.Verdict:
    shown = verdict.model_copy(update={"segments": ()}) if omit_transcript else verdict
    return to_message(shown, v1.Verdict())


def _recording(info: RecordingInfo) -> v1.Recording:
    return v1.Recording(
        container=info.container,
        codec=info.codec,
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        duration_s=info.duration_s,
        title=info.title,
        artist=info.artist,
        album=info.album,
        language=info.language,
        chapters=[
            v1.Chapter(start_s=chapter.start_s, end_s=chapter.end_s, title=chapter.title) for chapter in info.chapters
        ],
    )


def _model(message: Message, model: type[_Model], where: str) -> _Model:
    try:
        return from_message(message, model)
    except ValidationError as error:
        raise field_fault(error, where) from None


def _json(message: Message, model: type[_Model], where: str) -> bytes:
    return _model(message, model, where).model_dump_json().encode()
