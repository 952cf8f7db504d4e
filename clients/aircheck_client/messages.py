"""Requests and answers of `aircheck.v1` as both clients make and read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from aircheck_client.errors import InvalidAudioError
from aircheck_client.schema import (
    AcousticFindings,
    Context,
    Progress,
    RecordingInfo,
    ServerInfo,
    TextFindings,
    Transcript,
    Verdict,
    WindowFindings,
    WindowScores,
)
from aircheck_client.v1 import aircheck_pb2 as v1
from aircheck_client.wire import from_message, to_message

Priority = Literal["", "interactive", "normal", "bulk"]
MAX_CLIP_BYTES = 200 * 2**20

_PRIORITIES = {
    "": v1.PRIORITY_UNSPECIFIED,
    "interactive": v1.PRIORITY_INTERACTIVE,
    "normal": v1.PRIORITY_NORMAL,
    "bulk": v1.PRIORITY_BULK,
}
_ENCODINGS = {"s16le": v1.PcmFormat.ENCODING_S16LE, "f32le": v1.PcmFormat.ENCODING_F32LE}


@dataclass(frozen=True)
class Pcm:
    """Raw interleaved samples, as `listen` takes them."""

    sample_rate_hz: int = 16_000
    channels: int = 1
    encoding: Literal["s16le", "f32le"] = "s16le"

    def message(self) -> v1.PcmFormat:
        return v1.PcmFormat(
            encoding=_ENCODINGS[self.encoding], sample_rate_hz=self.sample_rate_hz, channels=self.channels
        )


@dataclass(frozen=True)
class Options:
    """What a scan asks for beside the audio.

    language : ISO 639-1 code to transcribe in; empty: detected
    idempotency_key : a name of yours for the work, which stands in the server's log; a repeat is checked anew
    priority : empty: clips before recordings; "bulk" comes after everything else
    transcript : whether verdicts carry all that was said; evidence always quotes what it rests on
    windows : whether the windows' verdicts are sent, or the recording's alone
    scores : whether the scores of all categories come with each window, also those below the pack's thresholds
    findings : whether all that the classifiers found comes with each window, to decide it again by another pack
    """

    context: Context = field(default_factory=Context)
    language: str = ""
    idempotency_key: str = ""
    priority: Priority = ""
    transcript: bool = True
    windows: bool = True
    scores: bool = False
    findings: bool = False

    def __post_init__(self) -> None:
        if self.priority not in _PRIORITIES:
            raise ValueError(f"priority: {self.priority!r} is none of {', '.join(filter(None, _PRIORITIES))}")

    def scan_start(self, size_bytes: int) -> v1.ScanRequest:
        return v1.ScanRequest(
            start=v1.ScanStart(
                context=to_message(self.context, v1.Context()),
                language=self.language,
                idempotency_key=self.idempotency_key,
                priority=_PRIORITIES[self.priority],
                size_bytes=size_bytes,
                omit_windows=not self.windows,
                omit_transcript=not self.transcript,
                include_scores=self.scores,
                include_findings=self.findings,
            )
        )

    def clip(self, audio: bytes) -> v1.ScanClipRequest:
        """Raises ValueError for an option that clips do not have."""
        self._refuse("transcript", "windows", "scores", "findings")
        return v1.ScanClipRequest(
            context=to_message(self.context, v1.Context()),
            language=self.language,
            idempotency_key=self.idempotency_key,
            priority=_PRIORITIES[self.priority],
            audio=audio,
        )

    def listen_start(self, pcm: Pcm | None) -> v1.ListenRequest:
        """Raises ValueError for an option that live audio does not have."""
        self._refuse("priority", "transcript", "windows", "scores", "findings")
        start = v1.ListenStart(
            context=to_message(self.context, v1.Context()),
            language=self.language,
            idempotency_key=self.idempotency_key,
            pcm=pcm.message() if pcm else None,
        )
        return v1.ListenRequest(start=start)

    def _refuse(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) != getattr(Options, name):
                raise ValueError(f"{name}: is an option of scan and stream alone")


def decide_request(
    context: Context,
    transcript: Transcript,
    text: TextFindings,
    acoustic: AcousticFindings,
    duration_s: float,
    warnings: tuple[str, ...],
) -> v1.DecideRequest:
    return v1.DecideRequest(
        context=to_message(context, v1.Context()),
        duration_s=duration_s,
        transcript=to_message(transcript, v1.Transcript()),
        text_findings=to_message(text, v1.TextFindings()),
        acoustic_findings=to_message(acoustic, v1.AcousticFindings()),
        warnings=warnings,
    )


def decide_recording_request(
    windows: Iterable[WindowFindings],
    duration_s: float,
    context: Context,
    undecoded_s: float,
    warnings: tuple[str, ...],
) -> v1.DecideRequest:
    """Raises ValueError where there are no windows: the request would be that of a window."""
    if not (windows := tuple(windows)):
        raise ValueError("windows: are none; give all that the scan found")
    return v1.DecideRequest(
        context=to_message(context, v1.Context()),
        duration_s=duration_s,
        windows=[to_message(window, v1.WindowFindings()) for window in windows],
        undecoded_s=undecoded_s,
        warnings=warnings,
    )


@dataclass
class Progressing:
    """What is known of a scan, or of live audio, while its verdicts come."""

    scan_id: str = ""
    recording: RecordingInfo | None = None
    progress: Progress = field(default_factory=Progress)
    warnings: list[str] = field(default_factory=list)
    """Of the windows so far; the recording's verdict has all of them."""
    scores: list[WindowScores] = field(default_factory=list)
    """Of each window so far, where they were asked for."""
    findings: list[WindowFindings] = field(default_factory=list)
    """The same."""
    partial: Verdict | None = None
    """Where it failed midway: the verdict on what was checked."""
    is_complete: bool = False

    def read(self, event: v1.ScanEvent | v1.ListenEvent) -> Verdict | None:
        """The verdict that an event brings, if it brings one; the rest is kept here."""
        kind = event.WhichOneof("event")
        if kind == "accepted":
            self.scan_id = event.accepted.scan_id
        elif kind == "recording":
            self.recording = from_message(event.recording, RecordingInfo)
        elif kind == "warning":
            self.warnings.append(event.warning)
        elif kind == "scores":
            self.scores.append(from_message(event.scores, WindowScores))
        elif kind == "findings":
            self.findings.append(from_message(event.findings, WindowFindings))
        elif kind == "progress":
            self.progress = from_message(event.progress, Progress)
        elif kind == "partial":
            self.partial = from_message(event.partial, Verdict)
        elif kind == "window":
            return from_message(event.window, Verdict)
        elif kind == "episode":
            self.is_complete = True
            return from_message(event.episode, Verdict)
        return None  # also for what a newer server sends and this client does not know


BROKEN_OFF = v1.ScanRequest(broken_off=True)


def server_info(response: v1.GetServerInfoResponse) -> ServerInfo:
    return from_message(response, ServerInfo)


def empty(source: str) -> InvalidAudioError:
    return InvalidAudioError("the audio has 0 bytes; was the upload cut off?", source)
