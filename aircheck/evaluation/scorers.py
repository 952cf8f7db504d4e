"""Scores items: by one model in this process, through the functions that the server's models call, or end to end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from aircheck.evaluation.items import CATEGORIES, EVENTS, Item, Kind, Result, Span, UsageError
from aircheck.evaluation.mixtures import SAMPLE_RATE, SPEECH_LOUDER_DB, Audio, under_speech
from aircheck.evaluation.readers import SPEECH
from aircheck.evaluation.transcribe import LIMITS, clips, transcribe
from aircheck.inference import acoustic_safety
from aircheck.inference.acoustic_safety.classifier import WINDOW_SAMPLES, AcousticClassifier
from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, EmbeddedAcousticClassifier
from aircheck.inference.device import cpu_threads, select_device, side_threads
from aircheck.inference.text_safety import service as text_safety
from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.embedded import HEAD, EmbeddedTextClassifier
from aircheck.inference.text_safety.profanity import Profanity
from aircheck.inference.text_safety.rows import sha256
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, select_dtype
from aircheck.inference.whisper.weights.checkpoint import load as load_whisper
from aircheck.policy.taxonomy import HARM_EVENTS, Event
from aircheck.settings import Settings
from aircheck_client.client import AircheckClient, VerdictStream
from aircheck_client.errors import (
    AircheckError,
    AuthenticationError,
    OverloadedError,
    ScanCancelledError,
    UnavailableError,
)
from aircheck_client.schema import Context, Segment, Verdict
from preprocessing.clip import ClipDecoder
from preprocessing.errors import AudioError

_TEXTS_AT_ONCE = 256
_EMBEDDED = "embedded"
_TIMEOUT_S = 600.0
_PATIENCE_S = 1800.0
_SERVER_GONE = (UnavailableError, AuthenticationError, ScanCancelledError)  # the run ends, and can be taken up again


class Scorer(Protocol):
    """Makes results of items, in any order; an item that fails is a result with an error.

    Attributes:
        conditions: what results depend on.
        languages: those that the text classifier was trained on; empty for any.
    """

    conditions: Mapping[str, str]
    languages: tuple[str, ...] = ()

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]: ...


class TextScorer(Scorer):
    """The text classifier on texts, as if they had been transcribed without an error."""

    def __init__(self, settings: Settings, head: Path | None, device: torch.device) -> None:
        if head is None:
            self._classifier = text_safety.load(settings.text_classifier, settings.text_labels, device)
        else:
            self._classifier = EmbeddedTextClassifier(device, head)
        self._profanity = Profanity(settings.profanity_dir)
        weights = head or (HEAD if settings.text_classifier == _EMBEDDED else None)
        self.conditions = {
            "text_safety": _named(self._classifier, weights),
            "profanity": self._profanity.model.version,
        }
        self.languages = tuple(self._classifier.languages)

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        for first in range(0, len(items), _TEXTS_AT_ONCE):
            batch = items[first : first + _TEXTS_AT_ONCE]
            found = text_safety.classify(self._classifier, [_segments(item) for item in batch], self._profanity)
            for item, findings in zip(batch, found, strict=True):
                scores = dict(zip(CATEGORIES, text_safety.window_scores(findings), strict=True))
                yield item.result(scores=rounded(scores))


class SoundScorer(Scorer):
    """The acoustic classifier on recordings."""

    def __init__(self, settings: Settings, head: Path | None, device: torch.device) -> None:
        if head is None:
            self._classifier = acoustic_safety.load(settings.acoustic_classifier, settings.acoustic_labels, device)
        else:
            self._classifier = EmbeddedAcousticClassifier.load(device, head)
        weights = head or (WEIGHTS_PATH if settings.acoustic_classifier == _EMBEDDED else None)
        self.conditions = {"acoustic_safety": _named(self._classifier, weights)}
        self._decoder = ClipDecoder(80, LIMITS, max_batch_size=1, threads=1)

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        for item in items:
            try:
                yield self._result(item, self._windows(item))
            except (AudioError, OSError) as error:
                yield Result(id=item.id, error=f"{item.audio}: {error}")

    def under_speech(self, items: Sequence[Item]) -> dict[float, tuple[list[Item], list[Result]]]:
        """The items that hold an event, each under speech of the others: by how much louder the speech is, dB.

        Empty where the items hold no event, or no speech. Items that cannot be read are left out, as `__call__` has
        named them.
        """
        events = [item for item in items if any(item.truth.get(event) for event in EVENTS)]
        spoken = [item for item in items if item.slices.get("kind") == SPEECH]
        sounds, voices = (self._first_windows(part) if events and spoken else [] for part in (events, spoken))
        if not sounds or not voices:
            return {}
        found: dict[float, tuple[list[Item], list[Result]]] = {}
        for louder_db in SPEECH_LOUDER_DB:
            mixtures = under_speech([audio for _, audio in sounds], [audio for _, audio in voices], louder_db)
            mixed = [self._result(item, [(0.0, audio)]) for (item, _), audio in zip(sounds, mixtures, strict=True)]
            found[louder_db] = [item for item, _ in sounds], mixed
        return found

    def _windows(self, item: Item) -> Iterator[tuple[float, Audio]]:
        """Each window's start in s, and its samples without what pads them. Raises AudioError, OSError."""
        for start_s, clip in clips(self._decoder, str(item.audio)):
            yield start_s, clip.waveform[: round(clip.duration_s * SAMPLE_RATE)]

    def _first_windows(self, items: Iterable[Item]) -> list[tuple[Item, Audio]]:
        """Of the items that can be read and are not empty."""
        found = []
        for item in items:
            with suppress(AudioError, OSError):
                found += [(item, audio) for _, audio in islice(self._windows(item), 1) if len(audio)]
        return found

    def _result(self, item: Item, windows: Iterable[tuple[float, Audio]]) -> Result:
        """Of windows as `_windows` gives them."""
        highest = np.zeros(len(Event), np.float32)
        spans: list[Span] = []
        total_s = 0.0
        for start_s, audio in windows:
            padded = np.zeros((1, WINDOW_SAMPLES), np.float32)
            padded[0, : len(audio)] = audio
            heard = self._classifier.classify(padded, [len(audio) / SAMPLE_RATE])
            highest = np.maximum(highest, heard.scores[0])
            total_s += len(audio) / SAMPLE_RATE
            spans += [
                Span(target=one.event, start_s=start_s + one.start_s, end_s=start_s + one.end_s, score=one.score)
                for one in heard.findings[0].spans
                if one.event in EVENTS
            ]
        scores = dict(zip(Event, highest, strict=True))
        return item.result(
            duration_s=total_s,
            scores=rounded({event: scores[event] for event in HARM_EVENTS if event in self._classifier.events}),
            spans=tuple(spans),
        )


class SpeechScorer(Scorer):
    """Whisper's transcripts of recordings."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        dtype, quantization = select_dtype(settings.whisper_dtype, device), settings.whisper_quantization
        loaded, options = load_whisper(settings.whisper, device, dtype), DecodingOptions.of(settings)
        threads = cpu_threads(settings.cpu_threads)
        self._engine = WhisperEngine(loaded, options, quantization=quantization, threads=threads)
        torch.set_num_threads(1)  # of the front end, on this thread
        dtype_name = str(dtype).removeprefix("torch.")
        self.conditions = {"whisper": f"{settings.whisper}, {dtype_name}, quantization {quantization}"}

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        by_path, faults = {str(item.audio): item for item in items}, dict[str, Exception]()
        for found in transcribe(self._engine, by_path, faults):
            yield by_path[found.path].result(transcript=found.text, language=found.language)
        for path, error in faults.items():
            yield Result(id=by_path[path].id, error=f"{path}: {error}")


class ServerScorer(Scorer):
    """Every item through the whole server and the client that everybody uses, `in_flight` at a time.

    The verdict is the server's; the scores below the pack's thresholds, which verdicts leave out, come with it. Texts
    have no audio to send: they are scored by the text classifier in this process.
    """

    def __init__(self, client: AircheckClient, context: Context, in_flight: int, texts: Scorer):
        """texts : scores items without audio; of the same text classifier as the server's

        Raises UsageError when the server does not have the pack, AircheckError when it does not answer.
        """
        self._client, self._context, self._in_flight, self._texts = client, context, in_flight, texts
        info = client.info(timeout_s=_TIMEOUT_S)
        packs = {pack.name: pack for pack in info.policy_packs}
        if context.policy_pack not in packs:
            raise UsageError(f"the server has no policy pack {context.policy_pack!r}; available: {', '.join(packs)}")
        pack = packs[context.policy_pack]
        self.conditions = {
            **{model.role: f"{model.name} {model.version}" for model in info.models},
            "server": info.server_version,
            "pack": f"{pack.name} {pack.version} (sha256 {pack.sha256[:12]})",
            "context": f"{context.content_type}, market {context.market}",
        }
        self.languages = info.languages

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        """Raises AircheckError when the server is gone; what was scored by then has been given."""
        if texts := [item for item in items if item.audio is None]:
            here, there = self._texts.conditions["text_safety"], self.conditions["text_safety"]
            if not here.startswith(there):
                raise UsageError(
                    f"{texts[0].id}: a server takes audio; texts are scored here, by {here}, but it has {there}: "
                    "leave out --url, or choose the same --text-classifier in the settings"
                )
            yield from self._texts(texts)
        with ThreadPoolExecutor(self._in_flight, thread_name_prefix="item") as pool:
            try:
                scans = [pool.submit(self._result, item, item.audio) for item in items if item.audio is not None]
                for done in as_completed(scans):
                    yield done.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _scan(self, audio: Path) -> tuple[Verdict, VerdictStream]:
        """Waits while others have the server, _PATIENCE_S at most. Raises AircheckError."""
        given_up_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                stream = self._client.stream(audio, self._context, timeout_s=_TIMEOUT_S, scores=True)
                *_, verdict = stream
                return verdict, stream
            except OverloadedError as error:
                if time.monotonic() > given_up_s:
                    raise
                time.sleep(error.retry_after_s or 1.0)

    def _result(self, item: Item, audio: Path) -> Result:
        try:
            verdict, stream = self._scan(audio)
        except _SERVER_GONE:
            raise
        except AircheckError as error:
            return Result(id=item.id, error=str(error))
        highest: dict[str, float] = defaultdict(float)
        for window in stream.about.scores:
            for name, score in (window.categories | {event: window.events.get(event, 0.0) for event in EVENTS}).items():
                highest[name] = max(highest[name], score)
        return item.result(
            duration_s=verdict.duration_s,
            transcript=" ".join(segment.text for segment in verdict.segments),
            language=verdict.language,
            scores=rounded(highest),
            spans=tuple(
                Span(target=finding.category, start_s=one.start_s, end_s=one.end_s, score=one.score)
                for finding in verdict.findings
                if finding.category in EVENTS
                for one in finding.evidence
            ),
        )


def load(kind: Kind, settings: Settings, head: Path | None) -> Scorer:
    """The scorer of one kind of data. `head`: other weights of the embedded classifier.

    Raises what loading the model raises.
    """
    gpu = {"model_instance_kind": "GPU", "model_instance_device_id": "0"}  # as Triton would give it
    device = select_device(settings.device, gpu if torch.cuda.is_available() else {})
    if kind is Kind.TEXT:  # matmuls of few rows, which more threads do no sooner, and on busy cores far later
        torch.set_num_threads(side_threads(settings.cpu_threads, device))
        return TextScorer(settings, head, device)
    torch.set_num_threads(cpu_threads(settings.cpu_threads))
    return SpeechScorer(settings, device) if kind is Kind.SPEECH else SoundScorer(settings, head, device)


def _segments(item: Item) -> list[Segment]:
    """A text as Whisper would have returned it, heard without doubt and without a pause."""
    sure = {"start_s": 0.0, "end_s": 0.0, "avg_logprob": 0.0, "no_speech_prob": 0.0, "compression_ratio": 1.0}
    return [Segment(text=text, language=item.language or "en", **sure) for text in item.texts]


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores by target, to six decimals."""
    return {str(target): round(float(score), 6) for target, score in scores.items()}


def _named(classifier: TextClassifier | AcousticClassifier, weights: Path | None) -> str:
    """Name and version; of the embedded classifier, also the hash of its weights."""
    named = f"{classifier.name} {classifier.version}"
    return f"{named} (sha256 {sha256(weights)[:12]})" if weights else named
