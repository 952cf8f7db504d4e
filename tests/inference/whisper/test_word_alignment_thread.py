"""Words are found beside the workers: who waits for what, and what a fault takes with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.timing import median_filter

from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions, Word
from aircheck.inference.whisper.decoding.word_timestamps import TextAlignment, WordAligner, _median_filter
from aircheck.inference.whisper.engine import EngineClosedError, WhisperEngine
from aircheck.inference.whisper.scheduling.backend import HostBackend
from aircheck.inference.whisper.scheduling.background import BackgroundThread
from aircheck.inference.whisper.scheduling.model_runner import GRAPHED, ModelRunner
from aircheck.inference.whisper.scheduling.scheduler import Scheduler
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from support.whisper_models import random_loaded

OPTIONS = DecodingOptions(temperatures=(0.0,), max_tokens=12, seek=False, word_timestamps=True)
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def loaded() -> LoadedWhisper:
    return random_loaded()


@pytest.fixture(scope="module")
def model(loaded: LoadedWhisper) -> Whisper:
    return loaded.model


@pytest.fixture(scope="module")
def windows() -> list[Window]:
    log_mels = torch.randn(6, 80, 3000, generator=torch.Generator().manual_seed(3)).clamp(-0.9, 0.9)
    return [Window(log_mel, 30.0) for log_mel in log_mels]


@pytest.fixture(scope="module")
def expected(model: Whisper, windows: list[Window]) -> list[DecodedWindow]:
    found = Scheduler(ModelRunner(model, OPTIONS, 1)).decode(windows)
    assert sum(bool(window.words) for window in found) >= 4
    return found


class Copy:
    """A copy to the host that arrives when the test says so; it keeps who waited for it."""

    def __init__(self, arrived: threading.Event, waited: set[str]) -> None:
        self._arrived, self._waited = arrived, waited

    def query(self) -> bool:
        return self._arrived.is_set()

    def synchronize(self) -> None:
        self._waited.add(threading.current_thread().name)
        assert self._arrived.wait(TIMEOUT_S)


class SlowCopies(HostBackend):
    """A device whose copies of alignments take their time; its steps' reports do not."""

    def __init__(self) -> None:
        self.arrived, self.waited = threading.Event(), set[str]()

    def to_host(self, tensor: Tensor) -> tuple[Tensor, Copy | None]:
        is_report = tensor.ndim == 2 and len(tensor) == 6
        return tensor.clone(), None if is_report else Copy(self.arrived, self.waited)


def test_the_worker_decodes_on_while_words_are_on_their_way(
    model: Whisper, windows: list[Window], expected: list[DecodedWindow]
) -> None:
    backend, background = SlowCopies(), BackgroundThread("alignment")
    scheduler = Scheduler(ModelRunner(model, OPTIONS, 2, mode=GRAPHED, backend=backend), background.submit)
    sequences = [Sequence(window) for window in windows]
    for sequence in sequences:
        scheduler.submit(sequence)
    while not scheduler.is_idle:
        scheduler.iterate()
    assert scheduler.n_running == 0
    assert not any(sequence.future.done() for sequence, one in zip(sequences, expected, strict=True) if one.words)
    backend.arrived.set()
    found = [sequence.future.result(timeout=TIMEOUT_S) for sequence in sequences]
    background.close()
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [[word.text for word in one.words] for one in found] == [[w.text for w in one.words] for one in expected]
    assert backend.waited == {"alignment_0"}


def test_a_text_whose_words_cannot_be_found_fails_alone(
    model: Whisper, windows: list[Window], expected: list[DecodedWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = next(one for one in expected if one.words)
    words = TextAlignment.words

    def fails_for_one(self: TextAlignment) -> tuple[Word, ...]:
        if tuple(self.text) == tuple(token for token in victim.tokens if token < self.tokenizer.eot):
            raise ZeroDivisionError("no path")
        return words(self)

    monkeypatch.setattr(TextAlignment, "words", fails_for_one)
    assert_fails_alone(model, windows, expected, victim, ZeroDivisionError)


def test_a_text_that_cannot_be_read_again_fails_alone_though_others_end_with_it(
    model: Whisper, windows: list[Window], expected: list[DecodedWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = next(one for one in expected if one.words)
    align: Callable[..., list[TextAlignment]] = WordAligner.align

    def fails_with_one(
        self: WordAligner, cross_kv: Tensor, slots: object, windows: list[DecodedWindow], s: object
    ) -> list[TextAlignment]:
        if victim.tokens in [window.tokens for window in windows]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return align(self, cross_kv, slots, windows, s)

    monkeypatch.setattr(WordAligner, "align", fails_with_one)
    assert_fails_alone(model, windows, expected, victim, torch.OutOfMemoryError)


def assert_fails_alone(
    model: Whisper,
    windows: list[Window],
    expected: list[DecodedWindow],
    victim: DecodedWindow,
    fault: type[Exception],
) -> None:
    scheduler = Scheduler(ModelRunner(model, OPTIONS, 6, mode=GRAPHED))
    sequences = [Sequence(window) for window in windows]
    for sequence in sequences:
        scheduler.submit(sequence)
    while not scheduler.is_idle:
        scheduler.iterate()
    for sequence, one in zip(sequences, expected, strict=True):
        if one is victim:
            with pytest.raises(fault):
                sequence.future.result(timeout=0)
        else:
            assert sequence.future.result(timeout=0).tokens == one.tokens


def test_closing_answers_windows_whose_words_are_being_found(
    loaded: LoadedWhisper, windows: list[Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that would be decoded on are refused, and none is lost."""
    words, begun, go_on = TextAlignment.words, threading.Event(), threading.Event()

    def held(self: TextAlignment) -> tuple[Word, ...]:
        begun.set()
        assert go_on.wait(TIMEOUT_S)
        return words(self)

    monkeypatch.setattr(TextAlignment, "words", held)
    options = DecodingOptions(temperatures=(0.0,), max_tokens=12, word_timestamps=True)
    engine = WhisperEngine(loaded, options, n_slots=4, threads=2)
    futures = [engine.submit(window) for window in windows]
    assert begun.wait(TIMEOUT_S)
    closing = threading.Thread(target=engine.close)
    closing.start()
    for worker in engine._threads:
        worker.join(TIMEOUT_S)
    assert closing.is_alive(), "it waits for the words"
    go_on.set()
    closing.join(TIMEOUT_S)
    assert not closing.is_alive()
    for future in futures:
        error = future.exception(timeout=0)
        assert error is None or isinstance(error, EngineClosedError)


def test_more_tasks_than_there_is_room_for_make_their_worker_wait() -> None:
    background, go_on, submitted = BackgroundThread("tasks"), threading.Event(), threading.Event()
    for _ in range(64):
        background.submit(lambda: go_on.wait(TIMEOUT_S) and None)
    worker = threading.Thread(target=lambda: (background.submit(lambda: None), submitted.set()))
    worker.start()
    assert not submitted.wait(0.2)
    go_on.set()
    assert submitted.wait(TIMEOUT_S)
    worker.join()
    background.close()


@pytest.mark.parametrize("n_frames", [1, 3, 4, 7, 50])
def test_the_median_filter_is_openai_whispers(n_frames: int) -> None:
    x = torch.randn(5, n_frames, generator=torch.Generator().manual_seed(n_frames))
    assert torch.equal(_median_filter(x), median_filter(x, 7))
