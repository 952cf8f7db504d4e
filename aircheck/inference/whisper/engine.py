"""Windows in, transcripts out: schedulers on threads of their own, behind one bounded queue.

A window's text does not depend on the windows beside it, nor on the order in which they come.

A scheduler on its thread is a worker. A GPU has one. A CPU has one for every core it may use, and no operator of a
worker is split between cores: operators on several threads end when their last thread ends, a network is hundreds of
them, and workers wait for nobody, neither for each other nor for the other processes on the machine. One worker
encodes, which is arithmetic, while another decodes, which is memory traffic.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import abc, deque
from concurrent.futures import Future
from itertools import pairwise
from types import TracebackType

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from whisper.audio import CHUNK_LENGTH, N_FRAMES
from whisper.model import Whisper

from aircheck.inference.device import fast_dtype
from aircheck.inference.whisper.decoding.decoder import StepDecoder
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.layers import LinearFn
from aircheck.inference.whisper.decoding.options import (
    DecodedPass,
    DecodingOptions,
    UnsupportedLanguageError,
    verified_language,
)
from aircheck.inference.whisper.decoding.quantization import (
    Fp8Linear,
    Int8Linear,
    Quantization,
    quantize,
    require_device,
)
from aircheck.inference.whisper.decoding.segments import WindowTranscript, transcript
from aircheck.inference.whisper.decoding.word_timestamps import warm_up
from aircheck.inference.whisper.scheduling.backend import backend_of
from aircheck.inference.whisper.scheduling.background import BackgroundThread
from aircheck.inference.whisper.scheduling.faults import end_process_if_sticky
from aircheck.inference.whisper.scheduling.memory import default_slots
from aircheck.inference.whisper.scheduling.model_runner import EAGER, GRAPHED, ModelRunner
from aircheck.inference.whisper.scheduling.passes import WindowPasses
from aircheck.inference.whisper.scheduling.scheduler import Scheduler
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window
from aircheck.inference.whisper.statistics import EngineStatistics
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper

__all__ = ["EngineBusyError", "EngineClosedError", "WhisperEngine", "Window", "WindowError", "select_dtype"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_CLOSED = "the Whisper engine was closed before this window was decoded"
# openai-whisper's front end gives (max(log10 P, max log10 P - 8) + 4) / 4, with mel energies P of at least 1e-10
_LOG_MEL_SPAN = 2.0  # 8 / 4: no window's values lie further apart
_MIN_LOG_MEL = -1.5  # (-10 + 4) / 4: digital silence
# P is at most 1000 for samples within ±1: (Σ Hann = 200)² by a mel filter's sum, 1/40; float recordings may go beyond
# full scale, here by up to 60 dB in amplitude: (3 + 6 + 4) / 4
_MAX_LOG_MEL = 3.25
_LOG_MEL_TOLERANCE = 0.01  # of front ends that round otherwise, or write fp16

_WAITING_PER_SLOT = 2  # windows in the queue; more would only make their senders wait here instead of there


_running: weakref.WeakSet[WhisperEngine] = weakref.WeakSet()


@atexit.register
def _close_running() -> None:
    """A thread that is inside torch when the interpreter ends brings the process down («terminate called …»)."""
    for engine in list(_running):
        engine.close()


class WindowError(ValueError):
    """A window cannot be transcribed as given; the message says what is wrong with it."""


class EngineBusyError(RuntimeError):
    """The engine's queue is full; the same request may be taken a little later."""


class EngineClosedError(RuntimeError):
    """The engine has been closed."""


class WhisperEngine:
    """Transcribes windows of at most 30 s with one Whisper model. Thread-safe."""

    def __init__(
        self,
        whisper: LoadedWhisper,
        options: DecodingOptions | None = None,
        n_slots: int | None = None,
        max_waiting: int | None = None,
        quantization: Quantization = "none",
        threads: int | None = None,
        deterministic: bool = False,
    ) -> None:
        """Raises UnsupportedLanguageError when the model cannot transcribe the options' language; QuantizationError.

        n_slots : windows decoded at a time; None is as many as memory allows, at most 8 a CPU core, or 256 on a GPU
        max_waiting : windows in the queue when it is full; None is two for every slot
        quantization : compute matmuls in 8 bits: "int8" all of them, on a CPU; "fp8" the encoder's, on a GPU since Ada
        threads : CPU cores to compute on, a worker each; None is as many as torch uses
        deterministic : on a GPU, compute every step and every encoding in the largest shape, so that a window's result
            does not depend on what shares them; on a CPU it never does
        """
        self._whisper = whisper
        model = whisper.model
        n_workers = (threads or torch.get_num_threads()) if model.device.type == "cpu" else 1
        mode = GRAPHED if model.device.type == "cuda" else EAGER
        mode = mode.deterministic() if deterministic else mode
        networks = _networks(model, quantization)
        self._backend = backend_of(model.device)
        self._backend.synchronize()  # the weights are there, for every stream, and for the measurement of what is free
        self.n_slots = n_slots or default_slots(model.dims, model.device, self.dtype, n_workers, mode)
        self._max_waiting = max_waiting or _WAITING_PER_SLOT * self.n_slots
        self._options = options or DecodingOptions()
        n_workers = min(n_workers, self.n_slots)
        self._background = BackgroundThread("whisper-alignment")
        self._background.submit(warm_up)
        self._workers = [
            Scheduler(ModelRunner(model, self._options, share, *networks, mode, self._backend), self._background.submit)
            for share in ((self.n_slots + at) // n_workers for at in range(n_workers))  # as even as can be
        ]
        self._backend.synchronize()
        self._waiting: deque[Sequence] = deque()
        self._n_seeks = 0
        self._is_closed = False
        self._changed = threading.Condition()  # guards `_waiting`, `_n_seeks` and `_is_closed`
        self._threads = [
            threading.Thread(target=self._run, args=[worker], name=f"whisper-worker-{at}", daemon=True)
            for at, worker in enumerate(self._workers)
        ]
        _running.add(self)
        for thread in self._threads:
            thread.start()

    @property
    def name(self) -> str:
        """Which checkpoint this is, for example "base" or "turbo"."""
        return self._whisper.name

    @property
    def version(self) -> str:
        """The checkpoint's version."""
        return self._whisper.version

    @property
    def n_mels(self) -> int:
        """Mel bands of its input: 80, or 128 from large-v3 on."""
        return self._whisper.model.dims.n_mels

    @property
    def n_workers(self) -> int:
        """Schedulers, each on a thread of its own."""
        return len(self._workers)

    @property
    def dtype(self) -> torch.dtype:
        """What the matrices are in."""
        return self._whisper.model.decoder.token_embedding.weight.dtype

    def statistics(self) -> EngineStatistics:
        """What it has done, and is doing; never waits for its workers."""
        return EngineStatistics.of(
            [worker.tally for worker in self._workers],
            n_slots=self.n_slots,
            n_slots_in_use=sum(worker.n_running for worker in self._workers),
            n_waiting=len(self._waiting) + sum(worker.n_waiting for worker in self._workers),
            n_seeks=self._n_seeks,
        )

    def check(
        self,
        log_mels: np.ndarray | Tensor,
        durations_s: abc.Sequence[float],
        languages: abc.Sequence[str | None] = (),
    ) -> None:
        """Raises WindowError unless the windows are what `transcribe` takes."""
        shape = tuple(log_mels.shape)
        if len(shape) != 3 or shape[2] != N_FRAMES:
            raise WindowError(f"log-mel has the shape {list(shape)}; it must be [windows, {self.n_mels}, {N_FRAMES}]")
        if shape[1] != self.n_mels:
            raise WindowError(
                f"log-mel has {shape[1]} mel bands, but the Whisper model '{self.name}' has n_mels {self.n_mels}; "
                f"compute it with n_mels={self.n_mels}"
            )
        if len(durations_s) != shape[0]:
            raise WindowError(f"{shape[0]} windows came with {len(durations_s)} durations; give one for each")
        for duration_s in durations_s:
            if not 0 <= duration_s <= CHUNK_LENGTH:  # also refuses NaN
                raise WindowError(f"a window lasts {duration_s:g} s; it must last 0 to {CHUNK_LENGTH} s")
        for language in languages:
            try:
                verified_language(self._whisper.model, language)
            except UnsupportedLanguageError as error:
                raise WindowError(str(error)) from None
        if shape[0]:
            _check_range(torch.as_tensor(log_mels))

    def submit(self, window: Window, block: bool = True) -> Future[tuple[DecodedPass, ...]]:
        """Queue a window, whose log-mel has been checked.

        block : wait while the queue is full, instead of raising EngineBusyError

        Cancelling the future takes the window out before the decoder's next step. Its callbacks run on one
        of the engine's threads, so they must be short. Raises EngineClosedError, EngineBusyError.
        """
        runner = self._workers[0].runner
        passes = WindowPasses(
            window, runner.tokenizer.timestamp_begin, runner.max_tokens, self._options.seek, self._enqueue
        )
        sequence = passes.first()
        if sequence is None:
            return passes.future
        with self._changed:
            self._drop_cancelled()
            if not (block or self._is_closed or self._has_room()):
                raise EngineBusyError(f"{len(self._waiting)} windows wait to be transcribed; try again later")
            self._changed.wait_for(lambda: self._is_closed or self._has_room())
            if self._is_closed:
                raise EngineClosedError("the Whisper engine has been closed")
            self._waiting.append(sequence)
            self._changed.notify_all()
        return passes.future

    def _enqueue(self, sequence: Sequence) -> None:
        """Queue a window's next pass before all others, whatever the queue holds: the window has been let in."""
        with self._changed:
            if not self._is_closed:
                self._waiting.appendleft(sequence)
                self._n_seeks += 1
                self._changed.notify_all()
                return
        sequence.fail(EngineClosedError(_CLOSED))

    def decode(self, windows: abc.Sequence[Window]) -> list[tuple[DecodedPass, ...]]:
        """The passes over each window, in their order. Raises WindowError, EngineClosedError."""
        if windows:
            self.check(torch.stack([torch.as_tensor(w.log_mel) for w in windows]), [w.duration_s for w in windows])
        return self._decode(windows)

    def _decode(self, windows: abc.Sequence[Window]) -> list[tuple[DecodedPass, ...]]:
        """As `decode`, for windows that have been checked."""
        return [future.result() for future in [self.submit(window) for window in windows]]

    def transcribe(
        self,
        log_mels: np.ndarray | Tensor,
        durations_s: abc.Sequence[float],
        speech: abc.Sequence[tuple[tuple[float, float], ...] | None] | None = None,
    ) -> list[WindowTranscript]:
        """Transcribe windows.

        log_mels : fp32 [B, n_mels, 3000], openai-whisper's log-mel spectrogram of each window padded to 30 s
        durations_s : seconds of audio in each window, 0 to 30; segments end there at the latest
        speech : of each window, as `Window` takes it

        Raises WindowError, EngineClosedError.
        """
        self.check(log_mels, durations_s)
        spans = speech if speech is not None else [None] * len(durations_s)
        windows = [Window(mel, float(s), its) for mel, s, its in zip(log_mels, durations_s, spans, strict=True)]
        return [self.transcript(passes, w) for passes, w in zip(self._decode(windows), windows, strict=True)]

    def transcript(self, passes: abc.Sequence[DecodedPass], window: Window) -> WindowTranscript:
        """The segments and text of a decoded window."""
        return transcript(passes, self._workers[0].runner.tokenizer, window.duration_s, window.speech)

    def close(self) -> None:
        """Stop decoding; windows that have not been answered raise EngineClosedError."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._background.close()  # its windows are answered; what they would decode next is refused
        _running.discard(self)
        for sequence in self._waiting:
            sequence.fail(EngineClosedError(_CLOSED))
        self._waiting.clear()

    def __enter__(self) -> WhisperEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, worker: Scheduler) -> None:
        torch.set_num_threads(1)  # of this thread
        with self._backend.worker():
            while self._feed(worker):
                try:
                    worker.iterate()
                except Exception as error:  # the fault must reach every caller, and the next window may work
                    worker.fail(error)
                    end_process_if_sticky(error)
        worker.fail(EngineClosedError(_CLOSED))

    def _feed(self, worker: Scheduler) -> bool:
        """Hand waiting windows to a worker, and wait while it has nothing to do; False once closed."""
        with self._changed:
            self._drop_cancelled()
            self._changed.wait_for(lambda: self._is_closed or self._waiting or not worker.is_idle)
            n_taken = min(worker.n_wanted, len(self._waiting))
            for _ in range(n_taken):
                worker.submit(self._waiting.popleft())
            if n_taken:
                self._changed.notify_all()  # the senders
            return not self._is_closed

    def _has_room(self) -> bool:
        return len(self._waiting) < self._max_waiting

    def _drop_cancelled(self) -> None:
        if any(sequence.future.cancelled() for sequence in self._waiting):
            self._waiting = deque(sequence for sequence in self._waiting if not sequence.future.cancelled())
            self._changed.notify_all()  # the senders


def _check_range(log_mels: Tensor) -> None:
    """Raises WindowError where a window, [windows, n_mels, frames], holds what no audio has.

    Huge values overflow the activations to infinity and NaN.
    """
    low, high = log_mels.amin(dim=(1, 2)), log_mels.amax(dim=(1, 2))
    if not bool((low.isfinite() & high.isfinite()).all()):
        raise WindowError("log-mel holds NaN or infinity; was it computed from finite samples?")
    least, most, span = float(low.min()), float(high.max()), float((high - low).max())
    if least < _MIN_LOG_MEL - _LOG_MEL_TOLERANCE or most > _MAX_LOG_MEL + _LOG_MEL_TOLERANCE:
        raise WindowError(
            f"log-mel has values from {least:.4g} to {most:.4g}; Whisper's lie within {_MIN_LOG_MEL} and "
            f"{_MAX_LOG_MEL}: compute it as openai-whisper's log_mel_spectrogram does, of samples within ±1"
        )
    if span > _LOG_MEL_SPAN + _LOG_MEL_TOLERANCE:
        raise WindowError(
            f"a window's log-mel spans {span:.4g}; Whisper's front end clips it to {_LOG_MEL_SPAN} below its maximum"
        )


def _networks(model: Whisper, quantization: Quantization) -> tuple[WindowEncoder, StepDecoder]:
    """The encoder and the decoder, which all workers share."""
    require_device(quantization, model.device)
    encoder = WindowEncoder(model.encoder)
    make_linear: abc.Callable[[nn.Linear], LinearFn] | None = None
    if quantization == "int8":
        quantize(encoder, Int8Linear, model)
        make_linear = Int8Linear
    elif quantization == "fp8":
        quantize(encoder, Fp8Linear, model)
    else:
        encoder.pack()
    return encoder, StepDecoder(model.decoder, make_linear)


def select_dtype(setting: str, device: torch.device) -> torch.dtype:
    """The dtype to compute in: `setting` is "auto", "fp32", "bf16" or "fp16". Raises ValueError.

    "auto" is bf16 where the device multiplies it itself; else fp16 on a GPU and fp32 on a CPU.
    """
    if setting == "auto":
        return fast_dtype(device)
    if setting not in DTYPES:
        raise ValueError(f"whisper_dtype is '{setting}'; use auto, {', '.join(DTYPES)}")
    if setting == "fp16" and device.type == "cpu":
        raise ValueError("whisper_dtype 'fp16' needs a GPU; on a CPU use auto, fp32 or bf16")
    return DTYPES[setting]


_SPEECH = TypeAdapter(tuple[tuple[float, float], ...])


def parse_speech(json: str | bytes) -> tuple[tuple[float, float], ...]:
    """One `SPEECH` value: a JSON list of [start_s, end_s], in order, within a window. Raises WindowError."""
    try:
        spans = _SPEECH.validate_json(json)
    except ValidationError as error:
        raise WindowError(f"SPEECH is no JSON list of [start_s, end_s]: {error.errors()[0]['msg']}") from None
    times_s = [time_s for span in spans for time_s in span]
    if not all(0 <= earlier <= later <= CHUNK_LENGTH for earlier, later in pairwise([0.0, *times_s])):
        raise WindowError(f"SPEECH holds {str(json)[:80]}; its times must rise, from 0 to {CHUNK_LENGTH} s")
    return spans
