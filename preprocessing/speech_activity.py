"""Where people speak: silero-vad's network (https://github.com/snakers4/silero-vad, MIT), run over whole windows.

The published model takes one chunk of 32 ms a call. Here the features of many chunks are a few matrix multiplications,
and the LSTM runs over a block of chunks in one call. Every multiplication has the same shape whatever the recording,
and recordings do not share one, so the probabilities of a recording do not depend on what else is being processed.

The network was trained on speech at ordinary levels and is deaf 50 dB below them, while Whisper still hears every word.
Quiet passages are therefore amplified first: to the level of speech, by the loudest chunk within a few seconds.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE_HZ = 16_000
CHUNK = 512  # samples to a probability
CHUNK_S = CHUNK / SAMPLE_RATE_HZ  # 32 ms
_CONTEXT = 64  # samples before a chunk that belong to its features
_N_FFT, _HOP = 256, 128  # 4 spectra to a chunk, the last one over its own reflection
_CONVOLUTIONS = {"conv1": 1, "conv2": 2, "conv3": 2, "conv4": 1}  # name: stride; 4 spectra become 1 feature vector
_HIDDEN = 128
_BLOCK = 128  # chunks computed at once, 4.1 s: what lies between two layers stays in the L2 cache of a core

_SPEECH_LEVEL = 10 ** (-20 / 20)  # root mean square of loud syllables in LibriSpeech: -20 dBFS
_MAX_GAIN = 10 ** (70 / 20)  # lifts speech at -90 dBFS, where 16 bits end
_MAX_SAMPLE = 4.0  # four times full scale: more than a codec overshoots
_LEVEL_CHUNKS = 125  # the level is the loudest of these chunks, 4 s: longer than a pause within talk
_GAIN_CHUNKS = 64  # and its gain is averaged over 2 s
_OFFSET_CHUNKS = 16  # an offset is the mean of 0.5 s: lower than any voice


@dataclass(frozen=True)
class Span:
    """A stretch of time, in seconds from the start of what was examined."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class SpanOptions:
    """How probabilities become spans of speech: hysteresis, as silero-vad does it, and a peak that every span reaches.

    A low start with a high peak keeps the soft beginnings of words, and drops the sounds that are only a little like a
    voice: docs/speech_activity.md has the figures.
    """

    start_probability: float = 0.3  # speech begins at a chunk of at least this
    end_probability: float = 0.2  # and ends where chunks stay below this
    peak_probability: float = 0.8  # a span whose chunks all stay below this is no speech
    min_speech_s: float = 0.2  # shorter spans are dropped (before padding)
    min_silence_s: float = 0.2  # shorter pauses are part of the speech (before padding)
    padding_s: float = 0.1  # added to both ends; spans that then touch become one


class SpeechActivity:
    """silero-vad's network at 16 kHz. Immutable: threads may share one."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """`weights`: the tensors of silero-vad's safetensors file."""
        # not stft_conv.weight: it is the Fourier basis under a Hann window, and an FFT does the same in half the time
        self._hann = torch.hann_window(_N_FFT)
        # [out, in, 3] -> [3 * in, out]
        self._kernels = {
            name: weights[f"{name}.weight"].permute(2, 1, 0).flatten(0, 1).contiguous() for name in _CONVOLUTIONS
        }
        self._biases = {name: weights[f"{name}.bias"] for name in _CONVOLUTIONS}
        self._lstm = nn.LSTM(_HIDDEN, _HIDDEN, batch_first=True).requires_grad_(False)
        self._lstm.load_state_dict(
            {f"{name}_l0": weights[f"lstm_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        )
        self._out, self._out_bias = weights["final_conv.weight"].flatten(), weights["final_conv.bias"]

    @torch.inference_mode()
    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """The probability of speech in each 32 ms of fp32 [samples] at 16 kHz: fp32 [n_chunks], the last one padded."""
        if not len(samples):
            return np.zeros(0, np.float32)
        n_chunks = -(-len(samples) // CHUNK)
        n_blocks = -(-n_chunks // _BLOCK)
        padded = np.zeros(_CONTEXT + n_blocks * _BLOCK * CHUNK, np.float32)
        padded[_CONTEXT : _CONTEXT + len(samples)] = samples
        chunks = torch.from_numpy(padded).unfold(0, _CONTEXT + CHUNK, CHUNK)  # [n_blocks * _BLOCK, 576]
        state = (torch.zeros(1, 1, _HIDDEN), torch.zeros(1, 1, _HIDDEN))
        found = []
        for block in chunks.split(_BLOCK):
            hidden, state = self._lstm(self._features(block)[None], state)
            found.append(torch.sigmoid(hidden[0].relu() @ self._out + self._out_bias))
        return torch.cat(found)[:n_chunks].numpy()

    def spans(self, samples: np.ndarray, options: SpanOptions = SpanOptions()) -> tuple[Span, ...]:
        """Where somebody speaks in fp32 [samples] at 16 kHz, at any level."""
        return speech_spans(self.probabilities(at_speech_level(samples)), len(samples) / SAMPLE_RATE_HZ, options)

    def _features(self, chunks: Tensor) -> Tensor:
        """[n, 576] -> [n, 128]"""
        frames = F.pad(chunks[:, None], (0, _CONTEXT), "reflect")[:, 0].unfold(1, _N_FFT, _HOP)
        x = torch.fft.rfft(frames * self._hann).abs()  # [n, 4, 129]
        for name, stride in _CONVOLUTIONS.items():
            kernel, bias = self._kernels[name], self._biases[name]
            taps = F.pad(x, (0, 0, 1, 1)).unfold(1, 3, stride).transpose(2, 3)  # [n, frames, 3, in]
            x = torch.addmm(bias, taps.reshape(-1, len(kernel)), kernel).relu_().view(len(x), -1, len(bias))
        return x[:, 0]


@cache
def speech_activity() -> SpeechActivity:
    """The network with the weights of the installed package `silero-vad`, loaded once.

    The package itself is not imported: it would set the number of torch's threads for the whole process.

    Raises:
        ModuleNotFoundError: `silero-vad` is not installed.
    """
    package = importlib.util.find_spec("silero_vad")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the package silero-vad, which holds the weights, is missing; run `make install`")
    return SpeechActivity(load_file(Path(package.origin).parent / "data" / "silero_vad_16k.safetensors"))


def at_speech_level(samples: np.ndarray) -> np.ndarray:
    """fp32 [samples] without its offset, and with passages below the level of speech amplified to it; fp32 [samples].

    Nothing is attenuated. Noise gets louder too, but a noise is no speech at any level.
    """
    if not len(samples):
        return samples
    # one sample that is no number, or is huge, would make every probability after it NaN
    finite = torch.from_numpy(samples).nan_to_num(0.0).clamp(-_MAX_SAMPLE, _MAX_SAMPLE)
    chunks = F.pad(finite, (0, -len(samples) % CHUNK)).view(-1, CHUNK)
    chunks = chunks - _ramps(_smoothed(chunks.mean(1), _OFFSET_CHUNKS))
    level = torch.linalg.vector_norm(chunks, dim=1) / CHUNK**0.5
    level = F.max_pool1d(level[None, None], _LEVEL_CHUNKS, stride=1, padding=_LEVEL_CHUNKS // 2)[0, 0]
    gain = (_SPEECH_LEVEL / level.clamp(min=_SPEECH_LEVEL / _MAX_GAIN)).clamp(min=1.0)
    return chunks.mul_(_ramps(_smoothed(gain.log(), _GAIN_CHUNKS).exp())).flatten()[: len(samples)].numpy()


def _smoothed(values: Tensor, width: int) -> Tensor:
    """[n] -> [n + 1] averages over `width` (even): from values of chunks to values at the ends of chunks."""
    return F.avg_pool1d(values[None, None], width, stride=1, padding=width // 2, count_include_pad=False)[0, 0]


def _ramps(ends: Tensor) -> Tensor:
    """Values at the ends of chunks, [n_chunks + 1] -> [n_chunks, CHUNK], in straight lines: what jumps would click."""
    return torch.lerp(ends[:-1, None], ends[1:, None], torch.arange(CHUNK) / CHUNK)


def speech_spans(
    probabilities: np.ndarray, duration_s: float, options: SpanOptions = SpanOptions()
) -> tuple[Span, ...]:
    """fp32 [n_chunks] probabilities of `duration_s` seconds of audio to spans of speech, in order and apart."""
    spans: list[Span] = []
    for first, end in _runs(probabilities, options):
        if (end - first) * CHUNK_S < options.min_speech_s or probabilities[first:end].max() < options.peak_probability:
            continue
        start_s = max(round(first * CHUNK_S - options.padding_s, 3), 0.0)
        end_s = min(round(end * CHUNK_S + options.padding_s, 3), duration_s)
        if spans and start_s <= spans[-1].end_s:
            start_s = spans.pop().start_s
        spans.append(Span(start_s, end_s))
    return tuple(spans)


def _runs(probabilities: np.ndarray, options: SpanOptions) -> list[tuple[int, int]]:
    """Chunks [first, end) between a start and a silence of sufficient length."""
    min_silence = max(math.ceil(options.min_silence_s / CHUNK_S), 1)
    runs: list[tuple[int, int]] = []
    first = silent = None  # of the run that is open; of the silence that may end it
    for i, probability in enumerate(probabilities.tolist()):
        if first is None:
            first = i if probability >= options.start_probability else None
        elif probability >= options.end_probability:
            silent = None
        else:
            silent = i if silent is None else silent
            if i + 1 - silent >= min_silence:
                runs.append((first, silent))
                first = silent = None
    if first is not None:
        runs.append((first, len(probabilities) if silent is None else silent))
    return runs
