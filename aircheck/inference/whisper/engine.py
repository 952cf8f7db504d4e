"""The seam between the `whisper` Triton model and how windows are transcribed.

`WhisperEngine` takes a batch of log-mel windows and gives a transcript for each: encode, decode greedily, cut into
segments. What a window says does not depend on the windows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from whisper.audio import CHUNK_LENGTH, N_FRAMES

from aircheck.inference.whisper.checkpoint import LoadedWhisper
from aircheck.inference.whisper.decoding import DecodingOptions, WindowDecoder
from aircheck.inference.whisper.segments import WindowTranscript, transcript

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class WindowError(ValueError):
    """A window cannot be transcribed as given; the message says what is wrong with it."""


class WhisperEngine:
    """Transcribes windows of at most 30 s with one Whisper model. Not for several threads at once."""

    def __init__(self, whisper: LoadedWhisper, options: DecodingOptions | None = None) -> None:
        """Raises UnsupportedLanguageError when the model cannot transcribe the options' language."""
        self._whisper = whisper
        self._encoder = whisper.model.encoder
        self._dtype: torch.dtype = self._encoder.conv1.weight.dtype
        self._device: torch.device = whisper.model.device
        self._decoder = WindowDecoder(whisper.model, options or DecodingOptions())

    @property
    def name(self) -> str:
        """Which checkpoint this is, for example "embedded" or "turbo"."""
        return self._whisper.name

    @property
    def version(self) -> str:
        """The checkpoint's version."""
        return self._whisper.version

    @property
    def n_mels(self) -> int:
        """Mel bands that the model hears: 80, or 128 from large-v3 on."""
        return self._whisper.model.dims.n_mels

    def check(self, log_mels: np.ndarray | Tensor, durations_s: Sequence[float]) -> None:
        """Raises WindowError unless the windows are what `transcribe` takes."""
        shape = tuple(log_mels.shape)
        if len(shape) != 3 or shape[2] != N_FRAMES:
            raise WindowError(f"log-mel has the shape {list(shape)}; it must be [windows, {self.n_mels}, {N_FRAMES}]")
        if shape[1] != self.n_mels:
            raise WindowError(
                f"log-mel has {shape[1]} mel bands, but the Whisper model '{self.name}' hears {self.n_mels}; "
                f"compute it with n_mels={self.n_mels}"
            )
        if len(durations_s) != shape[0]:
            raise WindowError(f"{shape[0]} windows came with {len(durations_s)} durations; give one for each")
        for duration_s in durations_s:
            if not 0 <= duration_s <= CHUNK_LENGTH:  # also refuses NaN
                raise WindowError(f"a window lasts {duration_s:g} s; it must last 0 to {CHUNK_LENGTH} s")
        if not bool(torch.isfinite(torch.as_tensor(log_mels)).all()):
            raise WindowError("log-mel holds NaN or infinity; was it computed from finite samples?")

    @torch.inference_mode()
    def transcribe(self, log_mels: np.ndarray | Tensor, durations_s: Sequence[float]) -> list[WindowTranscript]:
        """Transcribe a batch of windows.

        log_mels : fp32 [B, n_mels, 3000], openai-whisper's log-mel spectrogram of each window padded to 30 s
        durations_s : seconds of audio in each window, 0 to 30; segments end there at the latest

        Raises WindowError.
        """
        self.check(log_mels, durations_s)
        if len(durations_s) == 0:
            return []
        windows = self._decoder.decode(self._encode(torch.as_tensor(log_mels).to(self._device, self._dtype)))
        tokenizer = self._decoder.tokenizer
        return [
            transcript(window, tokenizer, float(duration_s))
            for window, duration_s in zip(windows, durations_s, strict=True)
        ]

    def _encode(self, log_mels: Tensor) -> Tensor:
        """[B, n_mels, 3000] -> audio features [B, n_audio_ctx, n_state]"""
        if self._device.type == "cpu":
            # one window fills the cores, and its activations stay nearer to them than a whole batch's
            return torch.cat([self._encoder(log_mel) for log_mel in log_mels.split(1)])
        return self._encoder(log_mels)


def select_dtype(setting: str, device: torch.device) -> torch.dtype:
    """The dtype to compute in: `setting` is "auto", "fp32", "bf16" or "fp16". Raises ValueError.

    "auto" is bf16 on a GPU that has it, fp16 on an older one, and fp32 on a CPU: with a small model bf16 costs a third
    less there, but changes what it hears in one window out of four.
    """
    if setting == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.float32
    if setting not in DTYPES:
        raise ValueError(f"whisper_dtype is '{setting}'; use auto, {', '.join(DTYPES)}")
    if setting == "fp16" and device.type == "cpu":
        raise ValueError("whisper_dtype 'fp16' needs a GPU; on a CPU use auto, fp32 or bf16")
    return DTYPES[setting]
