"""The engines whose transcripts are compared, all on the same weights: recordings in, segments out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper

from aircheck.inference.whisper.decoding.options import DecodedPass
from aircheck.inference.whisper.decoding.quantization import Quantization
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine, Window
from aircheck.inference.whisper.weights import ctranslate2_format, weight_packages
from aircheck.inference.whisper.weights.checkpoint import load
from benchmarks.wer.recordings import LIMITS, Recording, Segment, samples
from preprocessing.clip import Clip, ClipDecoder
from preprocessing.windows import Episode

_WINDOW_S = 30.0
_LOOKAHEAD = 64  # windows that are submitted before the first is waited for


@dataclass(frozen=True)
class Transcription:
    """What an engine made of a recording. `language` is what it detected first."""

    path: str
    language: str
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return " ".join(segment.text.strip() for segment in self.segments)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Transcription:
        return cls(fields["path"], fields["language"], tuple(Segment(**one) for one in fields["segments"]))


@dataclass(frozen=True)
class Setup:
    """whisper : an official name or a checkpoint's path. Languages are detected by every engine itself."""

    whisper: str
    threads: int


@dataclass(frozen=True)
class _Submitted:
    """A window on its way through our engine. `start_s`: in its recording."""

    start_s: float
    window: Window
    passes: Future[tuple[DecodedPass, ...]]


Transcriber = Callable[[Sequence[Recording]], Iterator[Transcription]]


class Ours:
    """aircheck's engine, fed as the server feeds it: decoded, cut into windows, log-mel by DALI, in-flight batching."""

    def __init__(self, setup: Setup, dtype: str, quantization: Quantization) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load(setup.whisper, device, DTYPES[dtype])
        torch.set_num_threads(setup.threads)
        self._engine = WhisperEngine(loaded, quantization=quantization, threads=setup.threads)
        torch.set_num_threads(1)  # of the front end, on this thread
        self._decoder = ClipDecoder(self._engine.n_mels, LIMITS, max_batch_size=1, threads=1)

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Transcription]:
        pending: deque[tuple[Recording, list[_Submitted]]] = deque()
        for recording in recordings:
            pending.append((recording, list(self._submitted(recording))))
            while sum(len(windows) for _, windows in pending) > _LOOKAHEAD:
                yield self._transcription(*pending.popleft())
        while pending:
            yield self._transcription(*pending.popleft())

    def _submitted(self, recording: Recording) -> Iterator[_Submitted]:
        for window in Episode(Path(recording.path).read_bytes(), LIMITS).windows(_WINDOW_S):
            (clip,) = self._decoder.decode([np.frombuffer(window.wav(), np.uint8)])
            if not isinstance(clip, Clip):
                raise clip
            speech = tuple((span.start_s, span.end_s) for span in clip.speech)
            sent = Window(torch.from_numpy(clip.log_mel), clip.duration_s, speech)
            yield _Submitted(window.start_s, sent, self._engine.submit(sent))

    def _transcription(self, recording: Recording, windows: Iterable[_Submitted]) -> Transcription:
        segments: list[Segment] = []
        language = ""
        for one in windows:
            found = self._engine.transcript(one.passes.result(), one.window)
            language = language or (found.language if found.segments else "")
            segments += [Segment(one.start_s + s.start_s, one.start_s + s.end_s, s.text) for s in found.segments]
        return Transcription(recording.path, language, tuple(segments))


class OpenAI:
    """`whisper.transcribe` with its defaults: greedy, temperature fallback, seek; fp32 on a CPU, fp16 on a GPU."""

    def __init__(self, setup: Setup, conditioned: bool) -> None:
        torch.set_num_threads(setup.threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load(setup.whisper, device, torch.float32).model
        self._options = {"condition_on_previous_text": conditioned, "fp16": device.type == "cuda"}

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Transcription]:
        torch.manual_seed(0)  # of the fallback
        for recording in recordings:
            found: Any = whisper.transcribe(self._model, samples(recording.path), verbose=None, **self._options)
            segments = [Segment(one["start"], one["end"], one["text"]) for one in found["segments"]]
            yield Transcription(recording.path, found["language"], tuple(segments))


class FasterWhisper:
    """`WhisperModel.transcribe`, greedy (its default is 5 beams), otherwise with its defaults, over CTranslate2."""

    def __init__(self, setup: Setup, compute_type: str, folder: Path) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(
            str(ctranslate2_folder(setup.whisper, folder)),
            device="cuda" if torch.cuda.is_available() else "cpu",
            compute_type=compute_type,
            cpu_threads=setup.threads,
            local_files_only=True,
        )

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Transcription]:
        for recording in recordings:
            found, info = self._model.transcribe(samples(recording.path), beam_size=1)
            segments = [Segment(one.start, one.end, one.text) for one in found]
            yield Transcription(recording.path, info.language, tuple(segments))


ENGINES: dict[str, str] = {
    "ours-fp32": "aircheck's engine and front end, fp32",
    "ours-bf16": "the same, bf16",
    "ours-int8": "the same, fp32 with int8 matmuls (whisper_quantization)",
    "ours-bf16-int8": "the same, bf16 with int8 matmuls",
    "ours-fp16": "the same, fp16 (GPU)",
    "ours-bf16-fp8": "the same, bf16 with the encoder's matmuls in fp8 (GPU)",
    "openai-whisper": "whisper.transcribe with its defaults, fp32 on a CPU",
    "openai-whisper-unconditioned": "the same with condition_on_previous_text=False",
    "faster-whisper-int8": "WhisperModel.transcribe, greedy, int8",
    "faster-whisper-fp32": "WhisperModel.transcribe, greedy, fp32",
}


OURS: dict[str, tuple[str, Quantization]] = {
    "fp32": ("fp32", "none"),
    "bf16": ("bf16", "none"),
    "int8": ("fp32", "int8"),
    "bf16-int8": ("bf16", "int8"),
    "fp16": ("fp16", "none"),
    "bf16-fp8": ("bf16", "fp8"),
}
"""`whisper_dtype` and `whisper_quantization` of each of our engines."""


def start(name: str, setup: Setup, folder: Path) -> Transcriber:
    """Load an engine in this process; `folder` is for what has to be written to load it."""
    family, _, kind = name.partition("-")
    if family == "ours":
        return Ours(setup, *OURS[kind])
    if family == "openai":
        return OpenAI(setup, conditioned=not name.endswith("-unconditioned"))
    return FasterWhisper(setup, {"int8": "int8", "fp32": "float32"}[name.rpartition("-")[2]], folder)


def ctranslate2_folder(checkpoint: str, folder: Path) -> Path:
    """A CTranslate2 folder as it is, or one made of an installed weight package, whose file comes in parts.

    Raises:
        ValueError: the checkpoint is neither.
    """
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    packaged = weight_packages.find(checkpoint)
    if packaged is None:
        raise ValueError(f"faster-whisper reads a CTranslate2 folder, and no package of '{checkpoint}' is installed")
    made = folder / "ctranslate2"
    made.mkdir(exist_ok=True)
    for file in packaged[0].iterdir():
        if file.suffix in (".json", ".txt"):
            (made / file.name).write_bytes(file.read_bytes())
    with (made / ctranslate2_format.WEIGHTS).open("wb") as joined:
        for part in weight_packages.weight_files(checkpoint, packaged):
            joined.write(part.read_bytes())
    return made
