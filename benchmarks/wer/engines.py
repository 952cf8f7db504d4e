"""The engines whose transcripts are compared, all on the same weights: recordings in, segments out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import whisper

from aircheck.evaluation.transcribe import Segment, Transcription, transcribe
from aircheck.inference.whisper.decoding.quantization import Quantization
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine
from aircheck.inference.whisper.weights import ctranslate2_format, weight_packages
from aircheck.inference.whisper.weights.checkpoint import load
from benchmarks.wer.recordings import Recording, samples


@dataclass(frozen=True)
class Setup:
    """whisper : an official name or a checkpoint's path. Languages are detected by every engine itself."""

    whisper: str
    threads: int


Transcriber = Callable[[Sequence[Recording]], Iterator[Transcription]]


class Ours:
    """aircheck's engine, fed as the server feeds it: decoded, cut into windows, log-mel by DALI, in-flight batching."""

    def __init__(self, setup: Setup, dtype: str, quantization: Quantization) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load(setup.whisper, device, DTYPES[dtype])
        torch.set_num_threads(setup.threads)
        self._engine = WhisperEngine(loaded, quantization=quantization, threads=setup.threads)
        torch.set_num_threads(1)  # of the front end, on this thread

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Transcription]:
        return transcribe(self._engine, [recording.path for recording in recordings])


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
