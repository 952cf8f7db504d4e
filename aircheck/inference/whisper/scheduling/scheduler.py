"""In-flight batching: which window decodes in which slot, step by step.

A batch is never formed and waited for. Every iteration admits waiting windows to free slots, takes one decoder step for
all slots in use, and retires what has ended, so that a long window never holds up short ones (iteration-level
scheduling: Yu et al., Orca, OSDI 2022). A text that fails openai-whisper's tests is decoded anew at the next
temperature in the same slot, where the window's audio already is; its neighbours do not notice.

Not thread-safe; `engine.py` runs each scheduler on a thread of its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import isfinite

import torch

from aircheck.inference.whisper.decoding.fallback import is_loop, needs_fallback
from aircheck.inference.whisper.decoding.options import DecodedWindow
from aircheck.inference.whisper.scheduling.faults import end_process_if_sticky
from aircheck.inference.whisper.scheduling.model_runner import EncodedWindow, ModelRunner, PendingWords, StepReport
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window
from aircheck.inference.whisper.statistics import Tally

_LOOP_CHECK_EVERY = 16  # tokens


class NotFiniteError(ArithmeticError):
    """A window's logits are not finite: an activation overflowed the dtype, or the weights produce NaN."""

    def __init__(self) -> None:
        super().__init__(
            "the Whisper model produced NaN or infinity for this window; set whisper_dtype to bf16 or fp32, and "
            "whisper_quantization to none"
        )


@dataclass(frozen=True)
class _Step:
    """A step on its way to the host: what it chose, and for whom (a sequence's attempt and position at the time)."""

    report: StepReport
    rows: list[tuple[Sequence, int, int]]


def _at_once(task: Callable[[], None]) -> None:
    task()


class Scheduler:
    """Sequences in, results out through their futures, in whatever order they end."""

    def __init__(self, runner: ModelRunner, later: Callable[[Callable[[], None]], None] = _at_once) -> None:
        """later : runs what remains to be done for windows that have left their slots, on a thread of its own"""
        self.runner = runner
        self.tally = Tally()
        self._later = later
        self._options = runner.options
        self._mode = runner.mode
        self._waiting: deque[Sequence] = deque()
        self._encoded: deque[tuple[Sequence, EncodedWindow]] = deque()
        self._running: list[Sequence | None] = []  # by slot; None is a free slot, until the next iteration fills it
        self._steps: deque[_Step] = deque()

    @property
    def n_waiting(self) -> int:
        """Sequences that have no slot yet."""
        return len(self._waiting) + len(self._encoded)

    @property
    def n_wanted(self) -> int:
        """Sequences to submit before the next iteration, to keep the slots full: no more than are encoded at once.

        Where several schedulers share a queue, each gets its part.
        """
        n_free = self.runner.n_slots + self._mode.max_encoded - self.n_running - self.n_waiting
        return min(n_free, self._mode.encode_batch)

    @property
    def n_running(self) -> int:
        """Slots in use."""
        return sum(sequence is not None for sequence in self._running)

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._encoded or self._running or self._steps)

    def submit(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def decode(self, windows: Iterable[Window]) -> list[DecodedWindow]:
        """What is decoded from each window, in their order; returns when all are done."""
        sequences = [Sequence(window) for window in windows]
        for sequence in sequences:
            self.submit(sequence)
        while not self.is_idle:
            self.iterate()
        return [sequence.future.result() for sequence in sequences]

    @torch.inference_mode()
    def iterate(self) -> None:
        """Admit, take one step, and answer what has ended."""
        self._drop_cancelled()
        self._admit()
        self._compact()
        if self._running:
            self._step()
        while self._steps and (len(self._steps) > self._mode.lag or not self._running):
            self._collect(self._steps.popleft())

    def fail(self, error: Exception) -> None:
        """Answer every sequence with the error and forget it: after a fault of the device, none can go on."""
        sequences = [*filter(None, self._running), *(sequence for sequence, _ in self._encoded), *self._waiting]
        for queue in (self._waiting, self._encoded, self._running, self._steps):
            queue.clear()
        for sequence in sequences:
            sequence.fail(error)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(sequence for sequence in self._waiting if not sequence.future.cancelled())
        self._encoded = deque(pair for pair in self._encoded if not pair[0].future.cancelled())
        self._running = [None if one is None or one.future.cancelled() else one for one in self._running]

    def _admit(self) -> None:
        free = [slot for slot, sequence in enumerate(self._running) if sequence is None]
        free += range(len(self._running), self.runner.n_slots)
        self._encode(len(free))
        admitted: list[Sequence] = []
        for slot in free:
            # an admitted window makes the next step wait for its encoding: all that run would wait with it
            if not self._encoded or (self.n_running > len(admitted) and not self._encoded[0][1].is_ready()):
                break
            sequence, window = self._encoded[0]
            self.runner.admit(slot, window)
            self._encoded.popleft()
            sequence.slot = slot
            self._running[slot : slot + 1] = [sequence]
            admitted.append(sequence)
        self._start(admitted)

    def _encode(self, n_free: int) -> None:
        """Encode a batch: a full one ahead of time, or what is there when slots are free for more than is encoded.

        A sequence leaves a queue only when the next one has it: whatever raises on the way, `fail` still finds it.
        """
        batch = list(islice(self._waiting, self._mode.encode_batch))
        is_full = len(batch) == self._mode.encode_batch and len(self._encoded) + len(batch) <= self._mode.max_encoded
        is_short = len(self._encoded) < min(n_free, self._mode.encode_batch)
        if batch and (is_full or is_short):
            now_s = time.monotonic()
            encoded = self.runner.encode([sequence.window.log_mel for sequence in batch])
            self._encoded.extend(zip(batch, encoded, strict=True))
            for _ in batch:
                sequence = self._waiting.popleft()
                self.tally.queue_s += now_s - sequence.since_s
                sequence.since_s = now_s

    def _start(self, sequences: list[Sequence]) -> None:
        if sequences:
            temperatures = [self._options.temperatures[sequence.attempt] for sequence in sequences]
            languages = [sequence.window.language for sequence in sequences]
            self.runner.start([sequence.slot for sequence in sequences], temperatures, languages)

    def _compact(self) -> None:
        """Move the last sequences into the free slots that none was waiting for: slots in use are a prefix."""
        while None in self._running:
            last = self._running.pop()
            if last is not None:
                free = self._running.index(None)
                self.runner.move(last.slot, free, last.position)
                self._running[free] = last
                last.slot = free

    def _step(self) -> None:
        sequences = [sequence for sequence in self._running if sequence is not None]  # all: no slot is free below them
        rows = [(sequence, sequence.attempt, sequence.position) for sequence in sequences]
        sampling = [one.slot for one in sequences if self._options.temperatures[one.attempt] > 0]
        report = self.runner.step([sequence.position for sequence in sequences], sampling)
        self._steps.append(_Step(report, rows))
        for sequence in sequences:
            sequence.position += 1

    def _collect(self, step: _Step) -> None:
        """Read what a step chose. Later steps may have been taken since: what they chose for ended texts is stale."""
        again, ended = [], []
        for (sequence, attempt, position), (token, *totals) in zip(step.rows, step.report.rows(), strict=True):
            is_stale = attempt != sequence.attempt or self._running[sequence.slot : sequence.slot + 1] != [sequence]
            if is_stale or position < self.runner.n_prompt - 1:
                continue
            if not all(map(isfinite, totals)):
                self._retire(sequence)
                sequence.fail(NotFiniteError())
                continue
            is_over = token == self.runner.tokenizer.eot
            if not is_over:
                sequence.tokens.append(int(token))
                self.tally.n_tokens += 1
            n_tokens = len(sequence.tokens)
            has_next = attempt + 1 < len(self._options.temperatures)
            may_loop = has_next and n_tokens % _LOOP_CHECK_EVERY == 0
            loops = may_loop and is_loop(sequence.tokens, self.runner.tokenizer)
            if not (is_over or loops or n_tokens >= self._limit(sequence)):
                continue
            result = self._result(sequence, *totals)
            if has_next and (loops or needs_fallback(result, self.runner.tokenizer)):
                sequence.restart()
                self.tally.n_fallbacks += 1
                again.append(sequence)
            else:
                ended.append((sequence, result))
        self._start(again)
        self._answer(ended)

    def _limit(self, sequence: Sequence) -> int:
        most = self.runner.max_tokens
        return most if sequence.window.max_tokens is None else min(most, sequence.window.max_tokens)

    def _result(
        self,
        sequence: Sequence,
        sum_logprob: float,
        no_speech_prob: float,
        language: float,
        detected: float,
        detected_probability: float,
    ) -> DecodedWindow:
        return DecodedWindow(
            tokens=tuple(sequence.tokens),
            language=self.runner.language(int(language)),
            avg_logprob=sum_logprob / (len(sequence.tokens) + 1),
            no_speech_prob=no_speech_prob,
            temperature=self._options.temperatures[sequence.attempt],
            detected_language=self.runner.language(int(detected)),
            detected_probability=detected_probability if self.runner.is_multilingual else 1.0,
        )

    def _answer(self, ended: list[tuple[Sequence, DecodedWindow]]) -> None:
        now_s = time.monotonic()
        for sequence, _ in ended:
            self._retire(sequence)
            self.tally.n_passes += 1
            self.tally.compute_s += now_s - sequence.since_s
        aligned = [one for one in ended if self._options.word_timestamps or one[0].window.with_words]
        if aligned:
            self._align(aligned)
        for sequence, result in ended:
            if not (self._options.word_timestamps or sequence.window.with_words):
                sequence.finish(result)

    def _align(self, ended: list[tuple[Sequence, DecodedWindow]]) -> None:
        """Let the device read the texts again; the rest of finding their words is for another thread."""
        try:
            pending = self.runner.align(
                [sequence.slot for sequence, _ in ended],
                [result for _, result in ended],
                [sequence.window.duration_s for sequence, _ in ended],
            )
        except Exception as error:  # the sequences have left their slots: `fail` would not find them
            if len(ended) > 1:
                for one in ended:  # such that only its own window fails
                    self._align([one])
                return
            ended[0][0].fail(error)
            end_process_if_sticky(error)
            return
        for (sequence, result), words in zip(ended, pending, strict=True):
            try:
                self._later(partial(_finish_with_words, sequence, result, words))
            except RuntimeError as error:  # the interpreter ends
                sequence.fail(error)

    def _retire(self, sequence: Sequence) -> None:
        """Free the sequence's slot."""
        self._running[sequence.slot] = None


def _finish_with_words(sequence: Sequence, result: DecodedWindow, words: PendingWords) -> None:
    try:
        sequence.finish(replace(result, words=words.wait()))
    except Exception as error:
        sequence.fail(error)
        end_process_if_sticky(error)
