"""Scores items by one model in this process, through the functions that the server's models call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from aircheck.evaluation.items import CATEGORIES, EVENTS, Item, Kind, Result, Span
from aircheck.evaluation.mixtures import SAMPLE_RATE, SPEECH_LOUDER_DB, under_speech
from aircheck.evaluation.public_data import SPEECH
from aircheck.evaluation.transcribe import LIMITS, clips, transcribe
from aircheck.inference import acoustic_safety
from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES
from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, EmbeddedAcousticClassifier
from aircheck.inference.device import cpu_threads, select_device
from aircheck.inference.text_safety import service as text_safety
from aircheck.inference.text_safety.embedded import HEAD, EmbeddedTextClassifier
from aircheck.inference.text_safety.profanity import Profanity
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, select_dtype
from aircheck.inference.whisper.weights.checkpoint import load as load_whisper
from aircheck.policy.coverage import with_languages
from aircheck.policy.taxonomy import Event
from aircheck.settings import Settings
from aircheck_client.schema import Segment, Transcript
from aircheck_client.schema import Span as SpeechSpan
from preprocessing.clip import ClipDecoder
from preprocessing.errors import AudioError

WORDS_PER_S = 2.5  # nominal times of texts: about 150 words a minute
_TEXTS_AT_ONCE = 256
_EMBEDDED = "embedded"


class Scorer(Protocol):
    """Makes results of items, in any order; an item that fails is a result with an error."""

    @property
    def conditions(self) -> Mapping[str, str]:
        """What results depend on."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that the text classifier was trained on; empty for any."""
        ...

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]: ...


class TextScorer:
    """The text classifier on texts, as if they had been transcribed without an error."""

    def __init__(self, settings: Settings, head: Path | None, device: torch.device) -> None:
        if head is None:
            self._classifier = text_safety.load(settings.text_classifier, settings.text_labels, device)
        else:
            self._classifier = EmbeddedTextClassifier(device, head)
        embedded = settings.text_classifier == _EMBEDDED or head is not None
        self._profanity = Profanity(settings.profanity_dir)
        named = f"{self._classifier.name} {self._classifier.version}"
        self.conditions = {
            "text_safety": named + (_digest(head or HEAD) if embedded else ""),
            "profanity": self._profanity.model.version,
        }
        self.languages = tuple(self._classifier.languages)

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        for first in range(0, len(items), _TEXTS_AT_ONCE):
            batch = items[first : first + _TEXTS_AT_ONCE]
            windows = [with_languages(transcript(item)) for item in batch]
            found = text_safety.classify(self._classifier, windows, self._profanity)
            for item, findings in zip(batch, found, strict=True):
                scores = by_name(CATEGORIES, text_safety.window_scores(findings))
                yield Result(id=item.id, fingerprint=item.fingerprint(), scores=scores)


class SoundScorer:
    """The acoustic classifier on recordings."""

    languages: tuple[str, ...] = ()

    def __init__(self, settings: Settings, head: Path | None, device: torch.device) -> None:
        if head is None:
            self._classifier = acoustic_safety.load(settings.acoustic_classifier, settings.acoustic_labels, device)
        else:
            self._classifier = EmbeddedAcousticClassifier.load(device, head)
        embedded = settings.acoustic_classifier == _EMBEDDED or head is not None
        named = f"{self._classifier.name} {self._classifier.version}"
        self.conditions = {"acoustic_safety": named + (_digest(head or WEIGHTS_PATH) if embedded else "")}
        self._decoder = ClipDecoder(80, LIMITS, max_batch_size=1, threads=1)

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        for item in items:
            try:
                yield self._result(item)
            except (AudioError, OSError) as error:
                yield Result(id=item.id, fingerprint="", error=f"{item.audio}: {error}")

    def under_speech(self, items: Sequence[Item]) -> dict[float, tuple[list[Item], list[Result]]]:
        """The items that hold an event, each under speech of the others: by how much louder the speech is, dB.

        Empty where the items hold no event, or no speech. Items that cannot be read are left out, as `__call__` has
        named them.
        """
        events = [item for item in items if any(item.truth.get(event) for event in EVENTS)]
        spoken = [item for item in items if item.slices.get("kind") == SPEECH]
        if not events or not spoken:
            return {}
        sounds, voices = (
            [(item, audio) for item in part if len(audio := self._audio(item))] for part in (events, spoken)
        )
        found: dict[float, tuple[list[Item], list[Result]]] = {}
        for louder_db in SPEECH_LOUDER_DB:
            mixtures = under_speech([audio for _, audio in sounds], [audio for _, audio in voices], louder_db)
            mixed = [item for item, _ in sounds]
            found[louder_db] = (mixed, [self._heard(*pair) for pair in zip(mixed, mixtures, strict=True)])
        return found

    def _audio(self, item: Item) -> NDArray[np.float32]:
        """The first window of a recording, without what pads it; empty where it cannot be read."""
        try:
            clip = next(clip for _, clip in clips(self._decoder, str(item.audio)))
        except (AudioError, OSError, StopIteration):
            return np.zeros(0, np.float32)
        return clip.waveform[: round(clip.duration_s * SAMPLE_RATE)]

    def _heard(self, item: Item, audio: NDArray[np.float32]) -> Result:
        """Of what fits into one window."""
        window = np.zeros((1, WINDOW_SAMPLES), np.float32)
        window[0, : len(audio)] = audio
        return self._of(item, [(0.0, window, len(audio) / SAMPLE_RATE)])

    def _result(self, item: Item) -> Result:
        windows = clips(self._decoder, str(item.audio))
        return self._of(item, ((start_s, clip.waveform[None], clip.duration_s) for start_s, clip in windows))

    def _of(self, item: Item, windows: Iterable[tuple[float, NDArray[np.float32], float]]) -> Result:
        """Of windows: where each begins, its waveform, its length in s."""
        highest = np.zeros(len(Event), np.float32)
        spans: list[Span] = []
        total_s = 0.0
        for start_s, waveform, duration_s in windows:
            heard = self._classifier.classify(waveform, [duration_s])
            highest = np.maximum(highest, heard.scores[0])
            total_s += duration_s
            spans += [
                Span(target=one.event, start_s=start_s + one.start_s, end_s=start_s + one.end_s, score=one.score)
                for one in heard.findings[0].spans
                if one.event in EVENTS
            ]
        known = by_name(tuple(Event), highest)
        return Result(
            id=item.id,
            fingerprint=item.fingerprint(),
            duration_s=total_s,
            scores={name: known[name] for name in EVENTS if name in self._classifier.events},
            spans=tuple(spans),
        )


class SpeechScorer:
    """Whisper's transcripts of recordings."""

    languages: tuple[str, ...] = ()

    def __init__(self, settings: Settings, device: torch.device) -> None:
        dtype = select_dtype(settings.whisper_dtype, device)
        loaded = load_whisper(settings.whisper, device, dtype)
        threads = cpu_threads(settings.cpu_threads)
        self._engine = WhisperEngine(
            loaded, DecodingOptions.of(settings), quantization=settings.whisper_quantization, threads=threads
        )
        torch.set_num_threads(1)  # of the front end, on this thread
        self.conditions = {
            "whisper": f"{settings.whisper}, {str(dtype).removeprefix('torch.')}, "
            f"quantization {settings.whisper_quantization}"
        }

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        found = transcribe(self._engine, [str(item.audio) for item in items])
        for item, one in zip(items, found, strict=True):
            yield Result(id=item.id, fingerprint=item.fingerprint(), transcript=one.text, language=one.language)


def load(kind: Kind, settings: Settings, head: Path | None) -> Scorer:
    """The scorer of one kind of data. `head`: other weights of the embedded classifier.

    Raises what loading the model raises.
    """
    gpu = {"model_instance_kind": "GPU", "model_instance_device_id": "0"}  # as Triton would give it
    device = select_device(settings.device, gpu if torch.cuda.is_available() else {})
    torch.set_num_threads(cpu_threads(settings.cpu_threads))
    if kind is Kind.TEXT:
        return TextScorer(settings, head, device)
    if kind is Kind.SOUNDS:
        return SoundScorer(settings, head, device)
    return SpeechScorer(settings, device)


def transcript(item: Item) -> Transcript:
    """A text as Whisper would have returned it: at nominal times, heard without doubt."""
    segments: list[Segment] = []
    end_s = 0.0
    for text in item.texts:
        start_s, end_s = end_s, end_s + max(1, len(text.split())) / WORDS_PER_S
        segments.append(
            Segment(start_s=start_s, end_s=end_s, text=text, avg_logprob=0.0, no_speech_prob=0.0, compression_ratio=1.0)
        )
    speech = tuple(SpeechSpan(start_s=segment.start_s, end_s=segment.end_s) for segment in segments)
    return Transcript(
        model="none", model_version="0", language=item.language or "en", speech=speech, segments=tuple(segments)
    )


def by_name(names: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    """Scores by target, to six decimals."""
    return {str(name): round(float(score), 6) for name, score in zip(names, scores, strict=True)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f" (sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:12]})"
