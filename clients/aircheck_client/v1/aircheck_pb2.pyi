from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContentType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTENT_TYPE_UNSPECIFIED: _ClassVar[ContentType]
    CONTENT_TYPE_PODCAST: _ClassVar[ContentType]
    CONTENT_TYPE_AUDIOBOOK: _ClassVar[ContentType]
    CONTENT_TYPE_CLIP: _ClassVar[ContentType]

class Audience(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIENCE_UNSPECIFIED: _ClassVar[Audience]
    AUDIENCE_GENERAL: _ClassVar[Audience]
    AUDIENCE_CHILDREN: _ClassVar[Audience]
    AUDIENCE_ADULT: _ClassVar[Audience]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_NONE: _ClassVar[Severity]
    SEVERITY_LOW: _ClassVar[Severity]
    SEVERITY_MEDIUM: _ClassVar[Severity]
    SEVERITY_HIGH: _ClassVar[Severity]
    SEVERITY_CRITICAL: _ClassVar[Severity]

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_ALLOW: _ClassVar[Action]
    ACTION_LABEL_EXPLICIT: _ClassVar[Action]
    ACTION_LIMIT: _ClassVar[Action]
    ACTION_REVIEW: _ClassVar[Action]
    ACTION_BLOCK: _ClassVar[Action]

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_WINDOW: _ClassVar[Scope]
    SCOPE_EPISODE: _ClassVar[Scope]

class Modality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODALITY_UNSPECIFIED: _ClassVar[Modality]
    MODALITY_TEXT: _ClassVar[Modality]
    MODALITY_ACOUSTIC: _ClassVar[Modality]

class UncheckedKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNCHECKED_KIND_UNSPECIFIED: _ClassVar[UncheckedKind]
    UNCHECKED_KIND_UNDECODED: _ClassVar[UncheckedKind]
    UNCHECKED_KIND_UNTRANSCRIBED: _ClassVar[UncheckedKind]
    UNCHECKED_KIND_UNCLASSIFIED: _ClassVar[UncheckedKind]
CONTENT_TYPE_UNSPECIFIED: ContentType
CONTENT_TYPE_PODCAST: ContentType
CONTENT_TYPE_AUDIOBOOK: ContentType
CONTENT_TYPE_CLIP: ContentType
AUDIENCE_UNSPECIFIED: Audience
AUDIENCE_GENERAL: Audience
AUDIENCE_CHILDREN: Audience
AUDIENCE_ADULT: Audience
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_NORMAL: Priority
PRIORITY_BULK: Priority
SEVERITY_UNSPECIFIED: Severity
SEVERITY_NONE: Severity
SEVERITY_LOW: Severity
SEVERITY_MEDIUM: Severity
SEVERITY_HIGH: Severity
SEVERITY_CRITICAL: Severity
ACTION_UNSPECIFIED: Action
ACTION_ALLOW: Action
ACTION_LABEL_EXPLICIT: Action
ACTION_LIMIT: Action
ACTION_REVIEW: Action
ACTION_BLOCK: Action
SCOPE_UNSPECIFIED: Scope
SCOPE_WINDOW: Scope
SCOPE_EPISODE: Scope
MODALITY_UNSPECIFIED: Modality
MODALITY_TEXT: Modality
MODALITY_ACOUSTIC: Modality
UNCHECKED_KIND_UNSPECIFIED: UncheckedKind
UNCHECKED_KIND_UNDECODED: UncheckedKind
UNCHECKED_KIND_UNTRANSCRIBED: UncheckedKind
UNCHECKED_KIND_UNCLASSIFIED: UncheckedKind

class Context(_message.Message):
    __slots__ = ("content_type", "market", "policy_pack", "audience")
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    POLICY_PACK_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    content_type: ContentType
    market: str
    policy_pack: str
    audience: Audience
    def __init__(self, content_type: _Optional[_Union[ContentType, str]] = ..., market: _Optional[str] = ..., policy_pack: _Optional[str] = ..., audience: _Optional[_Union[Audience, str]] = ...) -> None: ...

class ScanStart(_message.Message):
    __slots__ = ("context", "language", "idempotency_key", "priority", "size_bytes", "omit_windows", "omit_transcript", "include_scores", "include_findings")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OMIT_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    OMIT_TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SCORES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    context: Context
    language: str
    idempotency_key: str
    priority: Priority
    size_bytes: int
    omit_windows: bool
    omit_transcript: bool
    include_scores: bool
    include_findings: bool
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., language: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., size_bytes: _Optional[int] = ..., omit_windows: bool = ..., omit_transcript: bool = ..., include_scores: bool = ..., include_findings: bool = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("start", "chunk", "broken_off")
    START_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    BROKEN_OFF_FIELD_NUMBER: _ClassVar[int]
    start: ScanStart
    chunk: bytes
    broken_off: bool
    def __init__(self, start: _Optional[_Union[ScanStart, _Mapping]] = ..., chunk: _Optional[bytes] = ..., broken_off: bool = ...) -> None: ...

class ScanClipRequest(_message.Message):
    __slots__ = ("context", "language", "idempotency_key", "priority", "audio")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    context: Context
    language: str
    idempotency_key: str
    priority: Priority
    audio: bytes
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., language: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class PcmFormat(_message.Message):
    __slots__ = ("encoding", "sample_rate_hz", "channels")
    class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ENCODING_UNSPECIFIED: _ClassVar[PcmFormat.Encoding]
        ENCODING_S16LE: _ClassVar[PcmFormat.Encoding]
        ENCODING_F32LE: _ClassVar[PcmFormat.Encoding]
    ENCODING_UNSPECIFIED: PcmFormat.Encoding
    ENCODING_S16LE: PcmFormat.Encoding
    ENCODING_F32LE: PcmFormat.Encoding
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    encoding: PcmFormat.Encoding
    sample_rate_hz: int
    channels: int
    def __init__(self, encoding: _Optional[_Union[PcmFormat.Encoding, str]] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ...) -> None: ...

class ListenStart(_message.Message):
    __slots__ = ("context", "language", "idempotency_key", "pcm")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    context: Context
    language: str
    idempotency_key: str
    pcm: PcmFormat
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., language: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., pcm: _Optional[_Union[PcmFormat, _Mapping]] = ...) -> None: ...

class ListenRequest(_message.Message):
    __slots__ = ("start", "audio")
    START_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    start: ListenStart
    audio: bytes
    def __init__(self, start: _Optional[_Union[ListenStart, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("context", "duration_s", "transcript", "text_findings", "acoustic_findings", "warnings", "windows", "undecoded_s")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    ACOUSTIC_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    UNDECODED_S_FIELD_NUMBER: _ClassVar[int]
    context: Context
    duration_s: float
    transcript: Transcript
    text_findings: TextFindings
    acoustic_findings: AcousticFindings
    warnings: _containers.RepeatedScalarFieldContainer[str]
    windows: _containers.RepeatedCompositeFieldContainer[WindowFindings]
    undecoded_s: float
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., duration_s: _Optional[float] = ..., transcript: _Optional[_Union[Transcript, _Mapping]] = ..., text_findings: _Optional[_Union[TextFindings, _Mapping]] = ..., acoustic_findings: _Optional[_Union[AcousticFindings, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., windows: _Optional[_Iterable[_Union[WindowFindings, _Mapping]]] = ..., undecoded_s: _Optional[float] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("scan_id", "idempotency_key")
    SCAN_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    scan_id: str
    idempotency_key: str
    def __init__(self, scan_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("container", "codec", "sample_rate_hz", "channels", "duration_s", "title", "artist", "album", "language", "chapters")
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ARTIST_FIELD_NUMBER: _ClassVar[int]
    ALBUM_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CHAPTERS_FIELD_NUMBER: _ClassVar[int]
    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    title: str
    artist: str
    album: str
    language: str
    chapters: _containers.RepeatedCompositeFieldContainer[Chapter]
    def __init__(self, container: _Optional[str] = ..., codec: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ..., duration_s: _Optional[float] = ..., title: _Optional[str] = ..., artist: _Optional[str] = ..., album: _Optional[str] = ..., language: _Optional[str] = ..., chapters: _Optional[_Iterable[_Union[Chapter, _Mapping]]] = ...) -> None: ...

class Chapter(_message.Message):
    __slots__ = ("start_s", "end_s", "title")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    end_s: float
    title: str
    def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., title: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("checked_s", "recording_s", "received_bytes")
    CHECKED_S_FIELD_NUMBER: _ClassVar[int]
    RECORDING_S_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    checked_s: float
    recording_s: float
    received_bytes: int
    def __init__(self, checked_s: _Optional[float] = ..., recording_s: _Optional[float] = ..., received_bytes: _Optional[int] = ...) -> None: ...

class WindowScores(_message.Message):
    __slots__ = ("start_s", "end_s", "categories", "events")
    class CategoriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class EventsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    end_s: float
    categories: _containers.ScalarMap[str, float]
    events: _containers.ScalarMap[str, float]
    def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., categories: _Optional[_Mapping[str, float]] = ..., events: _Optional[_Mapping[str, float]] = ...) -> None: ...

class WindowFindings(_message.Message):
    __slots__ = ("start_s", "duration_s", "transcript", "text_findings", "acoustic_findings", "warnings", "language", "coverage")
    START_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    ACOUSTIC_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    duration_s: float
    transcript: Transcript
    text_findings: TextFindings
    acoustic_findings: AcousticFindings
    warnings: _containers.RepeatedScalarFieldContainer[str]
    language: str
    coverage: Coverage
    def __init__(self, start_s: _Optional[float] = ..., duration_s: _Optional[float] = ..., transcript: _Optional[_Union[Transcript, _Mapping]] = ..., text_findings: _Optional[_Union[TextFindings, _Mapping]] = ..., acoustic_findings: _Optional[_Union[AcousticFindings, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ...) -> None: ...

class ScanEvent(_message.Message):
    __slots__ = ("accepted", "recording", "window", "progress", "warning", "episode", "partial", "scores", "findings")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    recording: Recording
    window: Verdict
    progress: Progress
    warning: str
    episode: Verdict
    partial: Verdict
    scores: WindowScores
    findings: WindowFindings
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., recording: _Optional[_Union[Recording, _Mapping]] = ..., window: _Optional[_Union[Verdict, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., warning: _Optional[str] = ..., episode: _Optional[_Union[Verdict, _Mapping]] = ..., partial: _Optional[_Union[Verdict, _Mapping]] = ..., scores: _Optional[_Union[WindowScores, _Mapping]] = ..., findings: _Optional[_Union[WindowFindings, _Mapping]] = ...) -> None: ...

class ScanClipResponse(_message.Message):
    __slots__ = ("verdict", "accepted")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    accepted: Accepted
    def __init__(self, verdict: _Optional[_Union[Verdict, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ...) -> None: ...

class ListenEvent(_message.Message):
    __slots__ = ("accepted", "window", "episode", "partial")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    window: Verdict
    episode: Verdict
    partial: Verdict
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., window: _Optional[_Union[Verdict, _Mapping]] = ..., episode: _Optional[_Union[Verdict, _Mapping]] = ..., partial: _Optional[_Union[Verdict, _Mapping]] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("verdict",)
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    def __init__(self, verdict: _Optional[_Union[Verdict, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PolicyPack(_message.Message):
    __slots__ = ("name", "version", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    sha256: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ("max_recording_s", "max_recording_bytes", "max_clip_s", "max_clip_bytes", "max_parallel_scans")
    MAX_RECORDING_S_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIP_S_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIP_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_SCANS_FIELD_NUMBER: _ClassVar[int]
    max_recording_s: float
    max_recording_bytes: int
    max_clip_s: float
    max_clip_bytes: int
    max_parallel_scans: int
    def __init__(self, max_recording_s: _Optional[float] = ..., max_recording_bytes: _Optional[int] = ..., max_clip_s: _Optional[float] = ..., max_clip_bytes: _Optional[int] = ..., max_parallel_scans: _Optional[int] = ...) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server_version", "models", "policy_packs", "languages", "limits")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    POLICY_PACKS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    models: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    policy_packs: _containers.RepeatedCompositeFieldContainer[PolicyPack]
    languages: _containers.RepeatedScalarFieldContainer[str]
    limits: ServerLimits
    def __init__(self, server_version: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., policy_packs: _Optional[_Iterable[_Union[PolicyPack, _Mapping]]] = ..., languages: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[ServerLimits, _Mapping]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("schema_version", "scope", "start_s", "duration_s", "recording_s", "score", "severity", "action", "reason", "findings", "coverage", "unchecked", "segments", "context_sounds", "language", "detected_language", "detected_probability", "warnings", "context", "policy_pack", "policy_version", "policy_sha256", "server_version", "models")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    RECORDING_S_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    UNCHECKED_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SOUNDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_PACK_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_SHA256_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    scope: Scope
    start_s: float
    duration_s: float
    recording_s: float
    score: float
    severity: Severity
    action: Action
    reason: str
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    coverage: Coverage
    unchecked: _containers.RepeatedCompositeFieldContainer[Unchecked]
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    context_sounds: _containers.RepeatedCompositeFieldContainer[EventSpan]
    language: str
    detected_language: str
    detected_probability: float
    warnings: _containers.RepeatedScalarFieldContainer[str]
    context: Context
    policy_pack: str
    policy_version: str
    policy_sha256: str
    server_version: str
    models: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, schema_version: _Optional[int] = ..., scope: _Optional[_Union[Scope, str]] = ..., start_s: _Optional[float] = ..., duration_s: _Optional[float] = ..., recording_s: _Optional[float] = ..., score: _Optional[float] = ..., severity: _Optional[_Union[Severity, str]] = ..., action: _Optional[_Union[Action, str]] = ..., reason: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., unchecked: _Optional[_Iterable[_Union[Unchecked, _Mapping]]] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., context_sounds: _Optional[_Iterable[_Union[EventSpan, _Mapping]]] = ..., language: _Optional[str] = ..., detected_language: _Optional[str] = ..., detected_probability: _Optional[float] = ..., warnings: _Optional[_Iterable[str]] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., policy_pack: _Optional[str] = ..., policy_version: _Optional[str] = ..., policy_sha256: _Optional[str] = ..., server_version: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("category", "score", "severity", "action", "reason", "evidence")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    category: str
    score: float
    severity: Severity
    action: Action
    reason: str
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    def __init__(self, category: _Optional[str] = ..., score: _Optional[float] = ..., severity: _Optional[_Union[Severity, str]] = ..., action: _Optional[_Union[Action, str]] = ..., reason: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("start_s", "end_s", "lead_start_s", "lead_end_s", "modality", "quote", "event", "score", "threshold", "severity", "action", "low_confidence", "note", "model", "model_version")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    LEAD_START_S_FIELD_NUMBER: _ClassVar[int]
    LEAD_END_S_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    LOW_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    end_s: float
    lead_start_s: float
    lead_end_s: float
    modality: Modality
    quote: str
    event: str
    score: float
    threshold: float
    severity: Severity
    action: Action
    low_confidence: bool
    note: str
    model: str
    model_version: str
    def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., lead_start_s: _Optional[float] = ..., lead_end_s: _Optional[float] = ..., modality: _Optional[_Union[Modality, str]] = ..., quote: _Optional[str] = ..., event: _Optional[str] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ..., severity: _Optional[_Union[Severity, str]] = ..., action: _Optional[_Union[Action, str]] = ..., low_confidence: bool = ..., note: _Optional[str] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("speech_s", "transcribed_s", "unread_s", "undecoded_s", "unclassified_s", "dropped_segments")
    SPEECH_S_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIBED_S_FIELD_NUMBER: _ClassVar[int]
    UNREAD_S_FIELD_NUMBER: _ClassVar[int]
    UNDECODED_S_FIELD_NUMBER: _ClassVar[int]
    UNCLASSIFIED_S_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    speech_s: float
    transcribed_s: float
    unread_s: float
    undecoded_s: float
    unclassified_s: float
    dropped_segments: int
    def __init__(self, speech_s: _Optional[float] = ..., transcribed_s: _Optional[float] = ..., unread_s: _Optional[float] = ..., undecoded_s: _Optional[float] = ..., unclassified_s: _Optional[float] = ..., dropped_segments: _Optional[int] = ...) -> None: ...

class Unchecked(_message.Message):
    __slots__ = ("kind", "start_s", "end_s", "seconds", "language", "action")
    KIND_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    kind: UncheckedKind
    start_s: float
    end_s: float
    seconds: float
    language: str
    action: Action
    def __init__(self, kind: _Optional[_Union[UncheckedKind, str]] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., seconds: _Optional[float] = ..., language: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("role", "name", "version")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    role: str
    name: str
    version: str
    def __init__(self, role: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("start_s", "end_s", "text", "language", "avg_logprob", "no_speech_prob", "compression_ratio", "temperature", "words")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    AVG_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    NO_SPEECH_PROB_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_RATIO_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    end_s: float
    text: str
    language: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    words: _containers.RepeatedCompositeFieldContainer[Word]
    def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., avg_logprob: _Optional[float] = ..., no_speech_prob: _Optional[float] = ..., compression_ratio: _Optional[float] = ..., temperature: _Optional[float] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("text", "start_s", "end_s", "probability")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_s: float
    end_s: float
    probability: float
    def __init__(self, text: _Optional[str] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("start_s", "end_s")
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    start_s: float
    end_s: float
    def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ...) -> None: ...

class EventSpan(_message.Message):
    __slots__ = ("event", "start_s", "end_s", "score")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    event: str
    start_s: float
    end_s: float
    score: float
    def __init__(self, event: _Optional[str] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class Transcript(_message.Message):
    __slots__ = ("model", "model_version", "language", "detected_language", "detected_probability", "speech", "segments", "n_dropped")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SPEECH_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    N_DROPPED_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    language: str
    detected_language: str
    detected_probability: float
    speech: _containers.RepeatedCompositeFieldContainer[Span]
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    n_dropped: int
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., language: _Optional[str] = ..., detected_language: _Optional[str] = ..., detected_probability: _Optional[float] = ..., speech: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., n_dropped: _Optional[int] = ...) -> None: ...

class Attribution(_message.Message):
    __slots__ = ("model", "model_version", "note")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    note: str
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class SentenceScores(_message.Message):
    __slots__ = ("text", "start_s", "end_s", "segments", "scores", "attributions")
    class ScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class AttributionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Attribution
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Attribution, _Mapping]] = ...) -> None: ...
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_s: float
    end_s: float
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    scores: _containers.ScalarMap[str, float]
    attributions: _containers.MessageMap[str, Attribution]
    def __init__(self, text: _Optional[str] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., scores: _Optional[_Mapping[str, float]] = ..., attributions: _Optional[_Mapping[str, Attribution]] = ...) -> None: ...

class TextFindings(_message.Message):
    __slots__ = ("model", "model_version", "languages", "sentences", "word_lists")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    SENTENCES_FIELD_NUMBER: _ClassVar[int]
    WORD_LISTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    languages: _containers.RepeatedScalarFieldContainer[str]
    sentences: _containers.RepeatedCompositeFieldContainer[SentenceScores]
    word_lists: ModelVersion
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., languages: _Optional[_Iterable[str]] = ..., sentences: _Optional[_Iterable[_Union[SentenceScores, _Mapping]]] = ..., word_lists: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class AcousticFindings(_message.Message):
    __slots__ = ("model", "model_version", "spans")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    spans: _containers.RepeatedCompositeFieldContainer[EventSpan]
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., spans: _Optional[_Iterable[_Union[EventSpan, _Mapping]]] = ...) -> None: ...
