"""In-flight batching: which window decodes in which slot, step by step.

A batch is never formed and waited for. Every iteration lets waiting windows into free slots, takes one decoder step for
all slots in use, and takes out what has ended, so that a long window never holds up short ones (iteration-level
scheduling: Yu et al., Orca, OSDI 2022). A text that fails openai-whisper's tests is decoded anew at the next
temperature in the same slot, where the window's audio already is; its neighbours do not notice.

Not for several threads at once; `engine.py` gives it one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from aircheck.inference.whisper.fallback import is_loop, needs_fallback
from aircheck.inference.whisper.options import DecodedWindow
from aircheck.inference.whisper.slots import DecodingSlots, EncodedWindow, StepReport

_LOOP_CHECK_EVERY = 16  # tokens


class NotFiniteError(ArithmeticError):
    """A window's logits are not finite: an activation overflowed the dtype, or the weights produce NaN."""

    def __init__(self) -> None:
        super().__init__(
            "the Whisper model produced NaN or infinity for this window; set whisper_dtype to bf16 or fp32, and "
            "whisper_quantization to none"
        )


@dataclass(frozen=True, eq=False)
class Window:
    """At most 30 s of audio to decode.

    log_mel : fp32 [n_mels, 3000], openai-whisper's log-mel spectrogram, padded to 30 s
    duration_s : seconds of audio in it
    max_tokens : most tokens to say, where it is to be fewer than the options allow
    """

    log_mel: np.ndarray | Tensor
    duration_s: float
    max_tokens: int | None = None


@dataclass(eq=False)
class Job:
    """A window on its way through the slots. Cancelling the future takes it out before the next step."""

    window: Window
    future: Future[DecodedWindow] = field(default_factory=Future)
    slot: int = -1
    attempt: int = 0  # position in the list of temperatures
    position: int = 0  # tokens that this attempt has fed to the decoder
    said: list[int] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        """Answer with the error, unless it has been cancelled."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(frozen=True)
class _Step:
    """A step on its way to the host: what it chose, and for whom (a job's attempt and position at the time)."""

    report: StepReport
    places: list[tuple[Job, int, int]]


class Scheduler:
    """Jobs in, results out through their futures, in whatever order they end."""

    def __init__(self, slots: DecodingSlots) -> None:
        self.slots = slots
        self._options = slots.options
        self._waiting: deque[Job] = deque()
        self._encoded: deque[tuple[Job, EncodedWindow]] = deque()
        self._running: list[Job | None] = []  # by slot; None is a hole, until the next iteration fills it
        self._steps: deque[_Step] = deque()

    @property
    def n_waiting(self) -> int:
        """Jobs that have no slot yet."""
        return len(self._waiting) + len(self._encoded)

    @property
    def n_wanted(self) -> int:
        """Jobs to submit before the next iteration, to keep the slots full: no more than are encoded at once.

        Where several schedulers share a queue, each gets its part.
        """
        n_free = self.slots.n_slots + self.slots.encode_ahead - self.n_running - self.n_waiting
        return min(n_free, self.slots.encode_batch)

    @property
    def n_running(self) -> int:
        """Slots in use."""
        return sum(job is not None for job in self._running)

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._encoded or self._running or self._steps)

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def decode(self, windows: Sequence[Window]) -> list[DecodedWindow]:
        """What is decoded from each window, in their order; returns when all are done."""
        jobs = [Job(window) for window in windows]
        for job in jobs:
            self.submit(job)
        while not self.is_idle:
            self.iterate()
        return [job.future.result() for job in jobs]

    @torch.inference_mode()
    def iterate(self) -> None:
        """Admit, take one step, and answer what has ended."""
        self._drop_cancelled()
        self._admit()
        self._close_holes()
        if self._running:
            self._step()
        while self._steps and (len(self._steps) > self.slots.lag or not self._running):
            self._collect(self._steps.popleft())

    def fail(self, error: Exception) -> None:
        """Answer every job with the error and forget it: after a fault of the device, none can go on."""
        jobs = [*filter(None, self._running), *(job for job, _ in self._encoded), *self._waiting]
        for queue in (self._waiting, self._encoded, self._running, self._steps):
            queue.clear()
        for job in jobs:
            job.fail(error)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job.future.cancelled())
        self._encoded = deque(pair for pair in self._encoded if not pair[0].future.cancelled())
        self._running = [None if job is None or job.future.cancelled() else job for job in self._running]

    def _admit(self) -> None:
        slots = self.slots
        free = [slot for slot, job in enumerate(self._running) if job is None]
        free += range(len(self._running), slots.n_slots)
        wanted = len(free) + slots.encode_ahead
        # a job leaves a queue only when the next place has it: whatever raises on the way, `fail` still finds it
        while self._waiting and len(self._encoded) < wanted:
            jobs = list(islice(self._waiting, slots.encode_batch))
            encoded = slots.encode([job.window.log_mel for job in jobs])
            self._encoded.extend(zip(jobs, encoded, strict=True))
            for _ in jobs:
                self._waiting.popleft()
        admitted = []
        for slot in free[: len(self._encoded)]:
            job, window = self._encoded[0]
            slots.admit(slot, window)
            self._encoded.popleft()
            job.slot = slot
            self._running[slot : slot + 1] = [job]
            admitted.append(job)
        self._start(admitted)

    def _start(self, jobs: list[Job]) -> None:
        if jobs:
            temperatures = [self._options.temperatures[job.attempt] for job in jobs]
            self.slots.start([job.slot for job in jobs], temperatures)

    def _close_holes(self) -> None:
        """Move the last slots into the holes that no window was waiting for: slots in use are a prefix."""
        while None in self._running:
            last = self._running.pop()
            if last is not None:
                hole = self._running.index(None)
                self.slots.move(last.slot, hole, last.position)
                self._running[hole] = last
                last.slot = hole

    def _step(self) -> None:
        jobs = [job for job in self._running if job is not None]  # all of them: there are no holes now
        places = [(job, job.attempt, job.position) for job in jobs]
        sampling = [job.slot for job in jobs if self._options.temperatures[job.attempt] > 0]
        report = self.slots.step([job.position for job in jobs], sampling)
        self._steps.append(_Step(report, places))
        for job in jobs:
            job.position += 1

    def _collect(self, step: _Step) -> None:
        """Read what a step chose. Later steps may have been taken since: what they chose for ended texts is void."""
        again, ended = [], []
        for (job, attempt, position), (token, *totals) in zip(step.places, step.report.rows(), strict=True):
            is_void = attempt != job.attempt or self._running[job.slot : job.slot + 1] != [job]
            if is_void or position < self.slots.n_prompt - 1:
                continue
            if not all(map(isfinite, totals)):
                self._retire(job).fail(NotFiniteError())
                continue
            is_over = token == self.slots.tokenizer.eot
            if not is_over:
                job.said.append(int(token))
            has_next = job.attempt + 1 < len(self._options.temperatures)
            loops = has_next and len(job.said) % _LOOP_CHECK_EVERY == 0 and is_loop(job.said, self.slots.tokenizer)
            if not (is_over or loops or len(job.said) >= self._limit(job)):
                continue
            result = self._result(job, *totals)
            if has_next and (loops or needs_fallback(result, self.slots.tokenizer)):
                job.attempt, job.position, job.said = job.attempt + 1, 0, []
                again.append(job)
            else:
                ended.append((job, result))
        self._start(again)
        self._answer(ended)

    def _limit(self, job: Job) -> int:
        most = self.slots.max_tokens
        return most if job.window.max_tokens is None else min(most, job.window.max_tokens)

    def _result(self, job: Job, sum_logprob: float, no_speech_prob: float, language: float) -> DecodedWindow:
        return DecodedWindow(
            tokens=tuple(job.said),
            language=self.slots.language(int(language)),
            avg_logprob=sum_logprob / (len(job.said) + 1),
            no_speech_prob=no_speech_prob,
            temperature=self._options.temperatures[job.attempt],
        )

    def _answer(self, ended: list[tuple[Job, DecodedWindow]]) -> None:
        if ended and self._options.word_timestamps:
            words = self.slots.words(
                [job.slot for job, _ in ended],
                [result for _, result in ended],
                [job.window.duration_s for job, _ in ended],
            )
            ended = [(job, replace(result, words=said)) for (job, result), said in zip(ended, words, strict=True)]
        for job, result in ended:
            self._retire(job)
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(result)

    def _retire(self, job: Job) -> Job:
        """Free the job's slot."""
        self._running[job.slot] = None
        return job
