"""What crosses the wire as JSON: the request's context, the models' findings, and verdicts.

The server builds these and the client reads them, so there is one definition and it lives here, in the small package
that both install. Times are seconds from the start of the audio named by the object's scope (a window for the models'
findings; the whole recording for what a server answers).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Score = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]


def clock(seconds: float) -> str:
    """`00:41`, or `1:02:03` from an hour on; whole seconds, rounded down."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


class _Ordered(StrEnum):
    """A string enumeration whose members compare by their order of definition, mildest first."""

    @cached_property  # one of the most frequent calls where verdicts are made
    def rank(self) -> int:
        return list(type(self)).index(self)

    def __lt__(self, other: object) -> bool:
        return self.rank < other.rank if type(other) is type(self) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.rank <= other.rank if type(other) is type(self) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.rank > other.rank if type(other) is type(self) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.rank >= other.rank if type(other) is type(self) else NotImplemented


class Severity(_Ordered):
    """How bad a finding is, by the policy pack's judgement of a classifier's score."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Action(_Ordered):
    """What to do with the audio, mildest first."""

    ALLOW = "allow"
    LABEL_EXPLICIT = "label_explicit"
    LIMIT = "limit"
    REVIEW = "review"
    BLOCK = "block"


class ExitCode(IntEnum):
    """Exit codes of `aircheck scan`; what could not be checked counts as found."""

    CLEAN = 0
    FOUND = 1
    ERROR = 2


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Context(_Model):
    """What the caller knows about the audio; it selects the policy that applies. An empty text is the default."""

    content_type: Literal["podcast", "audiobook", "clip"] = "podcast"
    market: str = Field(default="*", pattern=r"^(\*|[A-Z]{2})$", description="ISO 3166-1 alpha-2 code, or * for any")
    policy_pack: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    audience: Literal["general", "children", "adult"] = Field(default="general", description="whom it is offered to")

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: object) -> object:
        return {key: value for key, value in data.items() if value != ""} if isinstance(data, dict) else data


class Word(_Model):
    """A word of a transcript, with the white space and punctuation it is written with."""

    text: str
    start_s: Seconds
    end_s: Seconds
    probability: Score


class Span(_Model):
    """A stretch of audio."""

    start_s: Seconds
    end_s: Seconds


class Segment(_Model):
    """A stretch of transcript, with the confidence measures openai-whisper defines for it."""

    start_s: Seconds
    end_s: Seconds
    text: str
    language: str = Field(default="", description="ISO 639-1 code of the language it was transcribed in")
    avg_logprob: float = Field(allow_inf_nan=False, description="mean log-probability of the decoded tokens")
    no_speech_prob: Score
    compression_ratio: float = Field(ge=0.0, description="zlib ratio of the text; repetition loops exceed 2.4")
    temperature: float = Field(default=0.0, ge=0.0)
    words: tuple[Word, ...] = Field(default=(), description="where the server was told to find them")


class Transcript(_Model):
    """`TRANSCRIPT`: what Whisper made of one window."""

    model: str
    model_version: str
    language: str = Field(default="", description="ISO 639-1 code of the words; empty where there are none")
    detected_language: str = Field(default="", description="the likeliest one, whichever was asked for")
    detected_probability: Score = 0.0
    speech: tuple[Span, ...] = Field(default=(), description="where speech was found in the window")
    segments: tuple[Segment, ...] = ()
    n_dropped: int = Field(default=0, ge=0, description="segments left out, since nobody speaks where they lie")

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


class ModelVersion(_Model):
    """A model that a verdict rests on."""

    role: Literal["speech_activity", "transcription", "text_safety", "profanity", "acoustic_safety", "policy_judge"]
    name: str
    version: str


class Attribution(_Model):
    """Who else than the text classifier gave a score, and on what ground."""

    model: str
    model_version: str
    note: str


class SentenceScores(_Model):
    """Text classifier output for one sentence: a probability for every category of the taxonomy."""

    text: str
    start_s: Seconds
    end_s: Seconds
    segments: tuple[Segment, ...] = Field(min_length=1, description="those that it lies in, without their words")
    scores: dict[str, Score]
    attributions: dict[str, Attribution] = Field(
        default_factory=dict, description="by category, for scores that are not the classifier's"
    )


class TextFindings(_Model):
    """`TEXT_FINDINGS`: what the text classifier made of one window."""

    model: str
    model_version: str
    languages: tuple[str, ...] = Field(
        default=(), description="ISO 639-1 codes of the languages that it covers; empty for any"
    )
    sentences: tuple[SentenceScores, ...] = ()
    word_lists: ModelVersion | None = Field(default=None, description="of swear words, where they took part")


class EventSpan(_Model):
    """A sound event and where it is heard; `score` is its highest frame probability within the span."""

    event: str
    start_s: Seconds
    end_s: Seconds
    score: Score


class AcousticFindings(_Model):
    """`ACOUSTIC_FINDINGS`: what the acoustic classifier made of one window."""

    model: str
    model_version: str
    spans: tuple[EventSpan, ...] = ()


class Evidence(_Model):
    """Where and why: the quote or the sound that a finding rests on, and which model gave its score.

    Evidence of an episode may be a longer passage; quote, score and threshold are then those of the part that decided.
    """

    start_s: Seconds
    end_s: Seconds
    lead_start_s: Seconds = Field(description="where the part that decided begins")
    lead_end_s: Seconds
    modality: Literal["text", "acoustic"]
    quote: str | None = Field(default=None, description="the words, for text")
    event: str | None = Field(default=None, description="the sound event, for acoustic evidence")
    score: Score
    threshold: Score = Field(description="the level of the policy pack that the score reached")
    severity: Severity = Field(description="that level's severity")
    action: Action = Field(description="the most that this evidence may lead to by itself")
    low_confidence: bool = Field(default=False, description="the transcript here failed Whisper's own confidence tests")
    note: str = Field(default="", description="what a reader must know to understand threshold and action")
    model: str
    model_version: str


class Finding(_Model):
    """One category (or sound event) found in the audio. Score, severity and action are three separate things."""

    category: str
    score: Score
    severity: Severity
    action: Action
    reason: str
    evidence: tuple[Evidence, ...] = Field(min_length=1)


class Coverage(_Model):
    """How much of the audio was checked, in seconds to the millisecond; an episode's is the sum of its windows'.

    Only speech is counted: music and noise hold no words that could be missed, and are heard by the acoustic model.
    """

    speech_s: Seconds = Field(default=0.0, description="in which speech activity was found")
    transcribed_s: Seconds = Field(default=0.0, description="of speech_s, those within 0.3 s of a segment of text")
    unread_s: Seconds = Field(default=0.0, description="of speech without text, and undecoded_s")
    undecoded_s: Seconds = Field(
        default=0.0, description="of the recording that could not be decoded: damaged packets, a missing end"
    )
    unclassified_s: Seconds = Field(
        default=0.0, description="of segments in a language that the text classifier does not cover, or not sure"
    )
    dropped_segments: int = Field(default=0, ge=0, description="segments left out, since nobody speaks where they lie")

    @property
    def untranscribed_s(self) -> float:
        """Seconds of speech without text."""
        return round(self.unread_s - self.undecoded_s, 3)

    def __add__(self, other: Coverage) -> Coverage:
        # rounded after each addition, so that the sum does not depend on the order
        return Coverage(
            speech_s=round(self.speech_s + other.speech_s, 3),
            transcribed_s=round(self.transcribed_s + other.transcribed_s, 3),
            unread_s=round(self.unread_s + other.unread_s, 3),
            undecoded_s=round(self.undecoded_s + other.undecoded_s, 3),
            unclassified_s=round(self.unclassified_s + other.unclassified_s, 3),
            dropped_segments=self.dropped_segments + other.dropped_segments,
        )


class Unchecked(_Model):
    """A stretch of audio in which the pack tolerates no more of what nobody could check; somebody should listen.

    undecoded : the audio could not be decoded
    untranscribed : speech activity was found, and no text
    unclassified : the words are in `language`, which the text classifier does not cover, or in one that is not sure
        (`language` is empty)
    """

    kind: Literal["undecoded", "untranscribed", "unclassified"]
    start_s: Seconds
    end_s: Seconds
    seconds: Seconds = Field(description="how many of these could not be checked")
    language: str = ""
    action: Action = Field(description="what the pack asks for")


class Verdict(_Model):
    """The decision on a window or on a whole episode, with everything needed to audit it.

    The action is the most severe of the findings' and of what could not be checked; score and severity are the
    findings' alone.
    """

    schema_version: Literal[2] = 2
    scope: Literal["window", "episode"]
    start_s: Seconds = 0.0
    duration_s: Seconds
    recording_s: Seconds | None = Field(
        default=None, description="length of the whole recording, where its header says"
    )
    score: Score = Field(description="the highest score among the findings; 0 when there are none")
    severity: Severity
    action: Action
    reason: str
    findings: tuple[Finding, ...] = ()
    coverage: Coverage = Coverage()
    unchecked: tuple[Unchecked, ...] = Field(
        default=(), description="where more could not be checked than the pack tolerates"
    )
    segments: tuple[Segment, ...] = ()
    context_sounds: tuple[EventSpan, ...] = Field(
        default=(), description="where speech, music or silence was heard that a composition of the pack speaks of"
    )
    language: str = Field(default="", description="of most of the words, in seconds; empty where there are none")
    detected_language: str = Field(
        default="", description="a window's likeliest language, whatever it was transcribed in; empty in an episode's"
    )
    detected_probability: Score = 0.0
    warnings: tuple[str, ...] = Field(
        default=(), description="what was damaged or unknown and therefore not, or not fully, checked"
    )
    context: Context = Context()
    policy_pack: str
    policy_version: str
    policy_sha256: str = Field(description="SHA-256 of the pack's file")
    server_version: str
    models: tuple[ModelVersion, ...] = Field(description="all that took part, whether or not they found anything")

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


class Chapter(_Model):
    """A chapter of a recording, as its container says."""

    start_s: float
    end_s: float
    title: str = ""


class RecordingInfo(_Model):
    """What a container says of its recording; `language` is the tag's, not what is heard."""

    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None = None
    title: str = ""
    artist: str = ""
    album: str = ""
    language: str = ""
    chapters: tuple[Chapter, ...] = ()


class WindowScores(_Model):
    """The highest score of each category and sound event in a window, below the pack's thresholds too."""

    start_s: Seconds
    end_s: Seconds
    categories: dict[str, Score] = Field(default_factory=dict)
    events: dict[str, Score] = Field(default_factory=dict)


class WindowFindings(_Model):
    """What the classifiers found in a window, from which it can be decided again, by any pack, without its audio.

    The times in `transcript`, `text_findings` and `acoustic_findings` count from the window's start.
    """

    start_s: Seconds = Field(description="of the window, in the recording")
    duration_s: Seconds
    transcript: Transcript
    text_findings: TextFindings
    acoustic_findings: AcousticFindings
    warnings: tuple[str, ...] = Field(default=(), description="of the decoder")
    language: str = Field(default="", description="that of all audio, by the server's settings; empty: detected")
    coverage: Coverage = Coverage()


class Progress(_Model):
    """How far a scan is. Windows up to `checked_s` have their verdicts."""

    checked_s: Seconds = 0.0
    recording_s: Seconds | None = None
    received_bytes: int = 0


class PackVersion(_Model):
    """A policy pack that a server has."""

    name: str
    version: str
    sha256: str


class ServerLimits(_Model):
    """What a server takes at most."""

    max_recording_s: float
    max_recording_bytes: int
    max_clip_s: float
    max_clip_bytes: int
    max_parallel_scans: int


class ServerInfo(_Model):
    """What a server says of itself."""

    server_version: str
    models: tuple[ModelVersion, ...] = ()
    policy_packs: tuple[PackVersion, ...] = ()
    languages: tuple[str, ...] = Field(default=(), description="ISO 639-1 codes in which words are classified")
    limits: ServerLimits
