"""Scores items by one model alone, in this process: no server, no ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aircheck.inference.acoustic_safety import load as load_acoustic
from aircheck.inference.acoustic_safety.classifier import AcousticClassifier
from aircheck.inference.device import cpu_threads, select_device
from aircheck.inference.text_safety.classifier import TextClassifier
from aircheck.inference.text_safety.service import classify, window_scores
from aircheck.inference.text_safety.service import load as load_text
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, select_dtype
from aircheck.inference.whisper.weights.checkpoint import load as load_whisper
from aircheck.inference.whisper.weights.checkpoint import n_mels
from aircheck.policy.decide import decide_window
from aircheck.policy.fold import fold, shift
from aircheck.policy.packs import Rules
from aircheck.policy.taxonomy import Event
from aircheck.settings import Settings
from aircheck_client.schema import AcousticFindings, Context, TextFindings, Transcript, Verdict
from benchmarks.quality import conditions as known
from benchmarks.quality.manifest import CATEGORIES, EVENTS, Item
from benchmarks.quality.results import Conditions, Result, Through
from benchmarks.quality.run import ItemError, Scorer
from benchmarks.quality.server_scorer import LIMITS, text_segments, text_transcript
from preprocessing.clip import Clip, ClipDecoder
from preprocessing.errors import AudioError
from preprocessing.windows import Episode

_BATCH = 8


class _Audio:
    """Recordings to decoded windows, as the server cuts and decodes them."""

    def __init__(self, mel_bands: int, window_max_s: float):
        self._decoder = ClipDecoder(mel_bands, LIMITS, _BATCH, threads=2)
        self._window_max_s = window_max_s

    def windows(self, item: Item, audio: bytes) -> list[tuple[float, Clip]]:
        """(start in seconds, clip) of each window. Raises ItemError."""
        try:
            windows = list(Episode(audio, LIMITS).windows(self._window_max_s))
        except AudioError as error:
            raise ItemError(f"{item.audio}: {error}") from None
        clips = self._decoder.decode([np.frombuffer(window.wav(), np.uint8) for window in windows])
        for clip in clips:
            if isinstance(clip, AudioError):
                raise ItemError(f"{item.audio}: {clip}")
        if not clips:
            raise ItemError(f"{item.audio}: the file holds no audio samples; was the recording cut off?")
        good = [clip for clip in clips if isinstance(clip, Clip)]
        return [(window.start_s, clip) for window, clip in zip(windows, good, strict=True)]


def _batches(windows: Sequence[tuple[float, Clip]]) -> Iterator[tuple[list[float], list[Clip]]]:
    """Starts in seconds and clips, _BATCH windows at a time."""
    for first in range(0, len(windows), _BATCH):
        batch = windows[first : first + _BATCH]
        yield [start_s for start_s, _ in batch], [clip for _, clip in batch]


@dataclass(frozen=True)
class _AudioScorer:
    """What the scorers of recordings have in common."""

    conditions: Conditions
    audio: _Audio

    in_flight = 1  # a model is not for several threads, and fills the cores by itself
    hears = True

    def takes(self, item: Item) -> bool:
        return item.audio is not None


@dataclass(frozen=True)
class WhisperScorer(_AudioScorer):
    """Audio to a transcript; no scores."""

    engine: WhisperEngine

    def score(self, item: Item, audio: bytes | None) -> Result:
        windows = self.audio.windows(item, audio or b"")
        said: list[str] = []
        for _, clips in _batches(windows):
            log_mels = np.stack([clip.log_mel for clip in clips])
            speech = [tuple((span.start_s, span.end_s) for span in clip.speech) for clip in clips]
            found = self.engine.transcribe(log_mels, [clip.duration_s for clip in clips], speech)
            said += [one.text for one in found]
        return Result(
            item=item,
            source_sha256="",
            duration_s=sum(clip.duration_s for _, clip in windows),
            transcript=" ".join(text for text in said if text),
        )


@dataclass(frozen=True)
class TextScorer:
    """Texts, and the reference transcripts of audio: the classifier under ideal recognition."""

    conditions: Conditions
    classifier: TextClassifier
    rules: Rules

    in_flight = 1
    hears = False

    def takes(self, item: Item) -> bool:
        return bool(item.text or item.transcript)

    def score(self, item: Item, audio: bytes | None) -> Result:
        segments = text_segments(item.text or item.transcript or "")
        (findings,) = classify(self.classifier, [segments])
        silence = AcousticFindings(model="none", model_version="0")
        context = self.conditions.context
        verdict = decide_window(
            text_transcript(item.text or item.transcript or ""),
            findings,
            silence,
            segments[-1].end_s,
            context,
            self.rules,
        )
        scores = zip(CATEGORIES, window_scores(findings), strict=True)
        return Result(
            item=item,
            source_sha256="",
            text_scores={name: round(float(score), 6) for name, score in scores},
            verdict=verdict,
        )


@dataclass(frozen=True)
class AcousticScorer(_AudioScorer):
    """Audio to sound events; words are not heard."""

    classifier: AcousticClassifier
    rules: Rules

    def score(self, item: Item, audio: bytes | None) -> Result:
        windows = self.audio.windows(item, audio or b"")
        verdicts: list[Verdict] = []
        highest = np.zeros(len(Event), np.float32)
        for starts_s, clips in _batches(windows):
            waveforms = np.stack([clip.waveform for clip in clips])
            heard = self.classifier.classify(waveforms, [clip.duration_s for clip in clips])
            highest = np.maximum(highest, heard.scores.max(axis=0))
            for start_s, clip, findings in zip(starts_s, clips, heard.findings, strict=True):
                verdicts.append(shift(self._decide(findings, clip.duration_s), start_s))
        duration_s = sum(clip.duration_s for _, clip in windows)
        scores = dict(zip(Event, highest, strict=True))
        return Result(
            item=item,
            source_sha256="",
            duration_s=duration_s,
            event_scores={
                event: round(float(scores[Event(event)]), 6) for event in EVENTS if event in self.classifier.events
            },
            verdict=fold(verdicts, duration_s, self.rules.compositions),
        )

    def _decide(self, findings: AcousticFindings, duration_s: float) -> Verdict:
        nothing = TextFindings(model="none", model_version="0")
        return decide_window(
            Transcript(model="none", model_version="0"),
            nothing,
            findings,
            duration_s,
            self.conditions.context,
            self.rules,
        )


def load(through: Through, settings: Settings, context: Context, window_max_s: float) -> Scorer:
    """The scorer of one model. Raises what loading the model raises, and PolicyError for an unknown pack."""
    gpu = {"model_instance_kind": "GPU", "model_instance_device_id": "0"}  # as Triton would give it
    device = select_device(settings.device, gpu if torch.cuda.is_available() else {})
    torch.set_num_threads(cpu_threads(settings.cpu_threads))
    if through == "whisper":
        model = load_whisper(settings.whisper, device, select_dtype(settings.whisper_dtype, device))
        engine = WhisperEngine(model, DecodingOptions.of(settings), quantization=settings.whisper_quantization)
        terms = known.conditions(through, (known.whisper_version(settings),), context, settings, window_max_s)
        return WhisperScorer(terms, _Audio(n_mels(settings.whisper), window_max_s), engine)
    rules = known.require_pack(context.policy_pack, settings).for_context(context)
    if through == "text_safety":
        text = load_text(settings.text_classifier, settings.text_labels, device)
        version = known.text_version(text.name, text.version, settings)
        return TextScorer(known.conditions(through, (version,), context, settings, window_max_s), text, rules)
    if through == "acoustic_safety":
        sound = load_acoustic(settings.acoustic_classifier, settings.acoustic_labels, device)
        version = known.acoustic_version(sound.name, sound.version, settings)
        terms = known.conditions(through, (version,), context, settings, window_max_s)
        return AcousticScorer(terms, _Audio(80, window_max_s), sound, rules)
    raise ValueError(f"{through} is not one model")
