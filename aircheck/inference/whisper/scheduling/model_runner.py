"""One model on one device: encode windows, admit them to decoding slots, step all slots at once.

A runner is eager or graphed. An eager one is for a CPU: what it is asked for is done when it returns, and a step has
the shapes that its sequences need. A graphed one is for a GPU, where a decoder step is many small kernels and launching
them one by one takes longer than running them: steps are captured once as CUDA graphs, for a few shapes (buckets) that
the slots in use and the longest text are rounded up to, and so are encodings of a few sizes; the encoder has a stream
of its own, and the host reads a step's report while later steps run. Rows beyond the slots in use decode what was left
there, and nobody reads it.

A graphed runner also runs on a CPU, uncaptured; that is how it is tested without a GPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from whisper.audio import N_FRAMES
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.decoder import LENGTH_MULTIPLE, StepDecoder
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.kv_cache import KVCache
from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions, Word, verified_language
from aircheck.inference.whisper.decoding.token_rules import DETECT, SlotState, TokenRules
from aircheck.inference.whisper.decoding.word_timestamps import TextAlignment, WordAligner
from aircheck.inference.whisper.scheduling.backend import Event, HostBackend, backend_of


@dataclass(frozen=True)
class EncodedWindow:
    """What the decoder looks up in a window's audio: keys and values [layer, 2, head, n_audio_ctx, D].

    ready : passed when they have been computed; None where they are there already
    """

    cross_kv: Tensor
    ready: Event | None = None

    def is_ready(self) -> bool:
        return self.ready is None or self.ready.query()


@dataclass(frozen=True)
class StepReport:
    """What a step chose, [6, n] (`TokenRules.choose`).

    copied : passed when it has reached the host; None where it is there already
    """

    chosen: Tensor
    copied: Event | None = None

    def rows(self) -> list[list[float]]:
        """Per slot: token, sum of log-probabilities, no-speech probability, language, detected one, its probability."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.chosen.T.tolist()


@dataclass(frozen=True)
class PendingWords:
    """The words of a text, when its alignment has reached the host.

    alignment : None for a window without text
    copied : passed when it is there; None where it is there already
    """

    alignment: TextAlignment | None = None
    copied: Event | None = None

    def wait(self) -> tuple[Word, ...]:
        """On any thread."""
        if self.copied is not None:
            self.copied.synchronize()
        return () if self.alignment is None else self.alignment.words()


class Encoder(Protocol):
    def encode(self, log_mels: Tensor) -> Tensor:
        """fp32 [B, n_mels, frames] -> audio features [B, n_audio_ctx, n_state]"""


@dataclass(frozen=True)
class RunnerMode:
    """How far the host, the encoder and the decoder run ahead of one another, and in which shapes.

    lag : steps that the host may be ahead of their reports; none where a step is over when it returns
    encode_sizes : windows that are encoded at once are padded to one of these
    max_encoded : windows that may be encoded before they have a slot
    is_graphed : steps are captured, in rounded shapes
    is_deterministic : every shape is the largest, so that kernels cannot depend on what shares a step or an encoding
    """

    lag: int
    encode_sizes: tuple[int, ...]
    max_encoded: int
    is_graphed: bool
    is_deterministic: bool = False

    @property
    def encode_batch(self) -> int:
        """Most windows encoded at once."""
        return self.encode_sizes[-1]

    def encode_size(self, n: int) -> int:
        """What a batch of n windows is padded to."""
        return next(size for size in self.encode_sizes if size >= n)

    def deterministic(self) -> RunnerMode:
        return replace(self, encode_sizes=self.encode_sizes[-1:], is_deterministic=True)


EAGER = RunnerMode(lag=0, encode_sizes=(1,), max_encoded=0, is_graphed=False)
"""On a CPU two windows encoded together take as long as one after the other."""

GRAPHED = RunnerMode(lag=2, encode_sizes=(1, 4, 16), max_encoded=32, is_graphed=True)

_MIN_BUCKET = 8  # slots
_SHORT_LENGTH = 2 * LENGTH_MULTIPLE  # positions
_MAX_ALIGNED = 4  # texts read again at once: fp32 logits of all their positions are 50 MB each
_N_STAGING = 3  # buffers of a size: one is filled while the others may still be copied from


@dataclass(frozen=True)
class CapturedStep:
    """A decoder step, or an encoding, of fixed shapes, with every tensor that it reads.

    A graph holds addresses, not tensors: an input that nobody holds is freed, and the replays then read whatever the
    allocator has put there since.

    replay : returns what `TokenRules.choose` does, or audio features; the next replay overwrites it
    inputs : what it reads beside the weights and the slots' own state and caches
    """

    replay: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def n_positions(dims: ModelDimensions, n_tokens: int) -> int:
    """Text positions of a slot that has room for so many tokens."""
    return min(round_up(n_tokens, LENGTH_MULTIPLE), dims.n_text_ctx)


class ModelRunner:
    """A model with a fixed number of decoding slots, their KV cache and token rules."""

    def __init__(
        self,
        model: Whisper,
        options: DecodingOptions,
        n_slots: int,
        encoder: Encoder | None = None,
        decoder: StepDecoder | None = None,
        mode: RunnerMode = EAGER,
        backend: HostBackend | None = None,
    ) -> None:
        """encoder, decoder: instead of the model's own; backend: None is that of the model's device.

        Raises UnsupportedLanguageError; ValueError for a token limit that the model has no room for."""
        language = verified_language(model, options.language)
        dims, self.device = model.dims, model.device
        self.options = options
        self.n_slots = n_slots
        self.mode = mode
        self.backend = backend or backend_of(self.device)
        self.tokenizer: Tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
        )
        self.n_prompt = len(self.tokenizer.sot_sequence)
        self.max_tokens = dims.n_text_ctx // 2 if options.max_tokens is None else options.max_tokens
        if not 1 <= self.max_tokens <= dims.n_text_ctx - self.n_prompt:
            raise ValueError(
                f"max_tokens is {self.max_tokens}; the model has room for 1 to {dims.n_text_ctx - self.n_prompt}"
            )
        self._n_positions = n_positions(dims, self.n_prompt + self.max_tokens)
        self._n_mels = dims.n_mels
        self._dtype: torch.dtype = model.decoder.token_embedding.weight.dtype
        self._aligner = WordAligner(model, self.tokenizer, self.device)
        self.is_multilingual = model.is_multilingual
        self._encoder = encoder or WindowEncoder(model.encoder)
        self._decoder = decoder or StepDecoder(model.decoder)
        self._cache = KVCache(dims, n_slots, self._n_positions, self._dtype, self.device)
        self._state = SlotState.create(n_slots, self.device)
        self._rules = TokenRules(
            self.tokenizer,
            n_vocab=dims.n_vocab,
            n_audio_ctx=dims.n_audio_ctx,
            n_positions=self._n_positions,
            max_initial_timestamp_s=options.max_initial_timestamp_s,
            is_multilingual=model.is_multilingual,
            seed=options.seed,
            device=self.device,
        )
        codes = zip(self.tokenizer.all_language_codes, self.tokenizer.all_language_tokens, strict=True)
        self._language_tokens = dict(codes)
        self._staging: dict[int, deque[tuple[Tensor, Event | None]]] = {}  # by size: host buffers, and when copied
        self._captured = self._capture() if mode.is_graphed else {}
        self._captured_encodings = self._capture_encodings() if mode.is_graphed else {}
        self._languages = dict(zip(self.tokenizer.all_language_tokens, self.tokenizer.all_language_codes, strict=True))

    def language(self, token: int) -> str:
        """ISO 639-1 code of a language token; an English-only model has none, and its texts are English."""
        return self._languages[token] if self.is_multilingual else "en"

    def _language_token(self, code: str | None) -> int:
        code = code or self.options.language
        return DETECT if code is None else self._language_tokens.get(code, DETECT)

    def encode(self, log_mels: Sequence[np.ndarray | Tensor]) -> list[EncodedWindow]:
        """Log-mels [n_mels, 3000], at most `mode.encode_batch`, to what the decoder looks up, when it is ready."""
        if not self.mode.is_graphed:
            batches = [torch.as_tensor(log_mel)[None].to(self.device) for log_mel in log_mels]
            return [EncodedWindow(self._decoder.cross_kv(self._encoder.encode(batch)[0])) for batch in batches]
        size = self.mode.encode_size(len(log_mels))
        buffer = self._staged(log_mels, size)
        with self.backend.encoding():
            captured = self._captured_encodings[size]
            captured.inputs[0].copy_(buffer, non_blocking=True)
            self._staging[size].append((buffer, self.backend.event()))
            audio_features = captured.replay()[: len(log_mels)]
            encoded = [self._decoder.cross_kv(audio) for audio in audio_features]
            ready = self.backend.event()
        return [EncodedWindow(cross_kv, ready) for cross_kv in encoded]

    def _staged(self, log_mels: Sequence[np.ndarray | Tensor], size: int) -> Tensor:
        """The log-mels in a host buffer, padded with zeros to `size` windows; it has left `_staging`."""
        buffers = self._staging.setdefault(size, deque())
        if len(buffers) < _N_STAGING:
            buffer = self.backend.staging((size, *log_mels[0].shape))
        else:
            buffer, copied = buffers.popleft()
            if copied is not None:
                copied.synchronize()  # long since, as a rule: it was the buffer before last
        for row, log_mel in zip(buffer, log_mels, strict=False):
            row.copy_(torch.as_tensor(log_mel))
        buffer[len(log_mels) :] = 0
        return buffer

    def admit(self, slot: int, window: EncodedWindow) -> None:
        """Put a window into a slot, when it is ready; `start` lets it begin."""
        self.backend.wait(window.ready, window.cross_kv)
        self._cache.fill(slot, window.cross_kv)

    def start(self, slots: Sequence[int], temperatures: Sequence[float], languages: Sequence[str | None]) -> None:
        """Let the windows in these slots begin their texts, or begin them anew.

        languages : ISO 639-1 codes; None is the options' language, or detected
        """
        for slot in slots:
            self._cache.clear(slot)
        self._rules.start(self._state, slots, temperatures, [self._language_token(code) for code in languages])

    def move(self, source: int, target: int, length: int) -> None:
        """Let a window that has been fed `length` tokens go on in another slot."""
        self._cache.move(source, target, length)
        self._state.move(source, target)

    def step(self, positions: Sequence[int], sampling: Sequence[int]) -> StepReport:
        """Feed the first slots their last tokens and choose the next ones.

        positions : of those tokens, one for each slot in use; sampling : the slots above temperature 0
        """
        n, length = len(positions), max(positions) + 1
        if self.mode.is_graphed:
            shape = self._bucket(n), self._bucket_length(length), bool(sampling)
            return StepReport(*self.backend.to_host(self._captured[shape].replay()[:, :n]))
        starting = [slot for slot, position in enumerate(positions) if position == 0]
        length = min(round_up(length, LENGTH_MULTIPLE), self._n_positions)
        return StepReport(self._chosen(n, length, self._index(starting), self._index(sampling)))

    def _chosen(self, n: int, length: int, starting: Tensor | None, sampling: Tensor | None) -> Tensor:
        tokens, positions = self._state.tokens[:n], self._state.positions[:n]
        logits = self._decoder.step(tokens, positions, self._cache, length)
        return self._rules.choose(logits, self._state, starting, sampling)

    def _bucket(self, n: int) -> int:
        """Slots of the captured step for n in use: a power of two, or all of them."""
        if self.mode.is_deterministic:
            return self.n_slots
        return min(self.n_slots, max(_MIN_BUCKET, 1 << (n - 1).bit_length()))

    def _bucket_length(self, length: int) -> int:
        """Positions that a captured step reads: most texts are short, so two lengths do."""
        is_short = length <= _SHORT_LENGTH and not self.mode.is_deterministic
        return min(_SHORT_LENGTH if is_short else self._n_positions, self._n_positions)

    @torch.inference_mode()
    def _capture(self) -> dict[tuple[int, int, bool], CapturedStep]:
        """Steps of every shape, the largest first: the smaller ones then find room in the pool that it has made."""
        rows = torch.arange(self.n_slots, device=self.device)
        shapes = {
            (self._bucket(n), self._bucket_length(length), samples)
            for n in range(1, self.n_slots + 1)
            for length in (1, self._n_positions)
            for samples in (True, False)
        }
        steps = {}
        with self.backend.worker():
            for n, length, samples in sorted(shapes, reverse=True):
                sampling = rows[:n] if samples else None
                step = partial(self._chosen, n, length, rows[:n], sampling)
                replay = self.backend.capture(step, vars(self._state))
                steps[n, length, samples] = CapturedStep(replay, (rows,))
        return steps

    @torch.inference_mode()
    def _capture_encodings(self) -> dict[int, CapturedStep]:
        """Encodings of every size, the largest first."""
        encodings = {}
        with self.backend.worker(), self.backend.encoding():
            for size in sorted(self.mode.encode_sizes, reverse=True):
                log_mels = torch.zeros(size, self._n_mels, N_FRAMES, device=self.device)
                replay = self.backend.capture(partial(self._encoder.encode, log_mels), {})
                encodings[size] = CapturedStep(replay, (log_mels,))
        return encodings

    def align(
        self, slots: Sequence[int], windows: Sequence[DecodedWindow], durations_s: Sequence[float]
    ) -> list[PendingWords]:
        """When each word of these slots' texts is spoken; the slots may be used again.

        Where it must not matter what shares a batch, one window at a time."""
        pending = [PendingWords()] * len(slots)
        rows = [row for row, window in enumerate(windows) if self._aligner.has_text(window, durations_s[row])]
        n_together = _MAX_ALIGNED if self.mode.is_graphed and not self.mode.is_deterministic else 1
        for first in range(0, len(rows), n_together):
            part = rows[first : first + n_together]
            alignments = self._aligner.align(
                self._cache.cross_kv,
                [slots[row] for row in part],
                [windows[row] for row in part],
                [durations_s[row] for row in part],
            )
            for row, alignment in zip(part, alignments, strict=True):
                probabilities, _ = self.backend.to_host(alignment.probabilities)
                matrix, copied = self.backend.to_host(alignment.matrix)  # after the probabilities
                pending[row] = PendingWords(replace(alignment, probabilities=probabilities, matrix=matrix), copied)
        return pending

    def _index(self, slots: Sequence[int]) -> Tensor | None:
        return torch.tensor(slots, device=self.device) if slots else None
