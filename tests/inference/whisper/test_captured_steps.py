"""A graphed runner on a CPU, with the calls to CUDA replaced: what a GPU would read, wait for and run.

What a captured step reads must outlive the capture. A GPU would read freed memory; here the storages are watched.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.layers import padded_table
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.scheduling.backend import HostBackend
from aircheck.inference.whisper.scheduling.model_runner import GRAPHED, ModelRunner, RunnerMode
from aircheck.inference.whisper.scheduling.scheduler import Scheduler
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window
from support.whisper_models import tiny_whisper


class Inputs(TorchDispatchMode):
    """The storages that the operators of a step read and did not make themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[StorageWeakRef] = []
        self._made: list[Tensor] = []  # held, so that no address is used twice

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = {tensor.untyped_storage().data_ptr() for tensor in self._made}
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in made:
                self.read.append(StorageWeakRef(leaf.untyped_storage()))
        result = operator(*args, **(kwargs or {}))
        self._made += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result


class WatchedBackend(HostBackend):
    """Captures by running the step once."""

    def __init__(self) -> None:
        self.inputs: list[Inputs] = []

    def capture(self, step: Callable[[], Tensor], state: dict[str, Tensor]) -> Callable[[], Tensor]:
        self.inputs.append(Inputs())
        with self.inputs[-1]:
            result = step()
        return lambda: result


@pytest.fixture(scope="module")
def model() -> Whisper:
    return tiny_whisper()


@torch.inference_mode()
def test_what_a_captured_step_reads_lives_as_long_as_the_step(model: Whisper) -> None:
    backend = WatchedBackend()
    runner = ModelRunner(model, DecodingOptions(), n_slots=9, mode=GRAPHED, backend=backend)
    gc.collect()
    assert len(backend.inputs) == 8 + 3  # 8 or all slots, short or long texts, sampling or not; 1, 4 or 16 encodings
    for inputs in backend.inputs:
        assert len(inputs.read) >= 20
        assert not any(storage.expired() for storage in inputs.read), "a replay would read freed memory"
    del runner


class RecordingBackend(HostBackend):
    """Captures nothing and says which shapes it was asked for, and where.

    As a GPU would, it only ever reads the inputs that a step was captured with.
    """

    def __init__(self) -> None:
        self.replayed: list[tuple[int, int]] = []
        self.captured: list[tuple[int, int]] = []
        self.encodings: list[int] = []  # captured
        self.encoded: list[Tensor] = []  # inputs of those replayed
        self.is_encoding = False

    @contextmanager
    def encoding(self) -> Iterator[None]:
        self.is_encoding = True
        yield
        self.is_encoding = False

    def capture(self, step: Callable[[], Tensor], state: dict[str, Tensor]) -> Callable[[], Tensor]:
        if self.is_encoding:
            return self._capture_encoding(*step.args)
        n, length, *_ = step.args
        self.captured.append((n, length))

        def replay() -> Tensor:
            self.replayed.append((n, length))
            return torch.zeros(6, n)

        return replay

    def _capture_encoding(self, log_mels: Tensor) -> Callable[[], Tensor]:
        self.encodings.append(len(log_mels))

        def replay() -> Tensor:
            self.encoded.append(log_mels.clone())
            return torch.zeros(len(log_mels), 1500, 16)

        return replay


def test_steps_are_captured_at_the_start_the_largest_first(model: Whisper) -> None:
    backend = RecordingBackend()
    ModelRunner(model, DecodingOptions(), n_slots=40, mode=GRAPHED, backend=backend)
    assert backend.captured == sorted(backend.captured, reverse=True)
    assert {n for n, _ in backend.captured} == {8, 16, 32, 40}
    assert {length for _, length in backend.captured} == {128, 256}
    assert len(backend.captured) == 4 * 2 * 2
    assert backend.encodings == [16, 4, 1]


@torch.inference_mode()
def test_a_captured_encoding_gets_the_windows_in_its_own_input(model: Whisper) -> None:
    backend = RecordingBackend()
    runner = ModelRunner(model, DecodingOptions(), n_slots=4, mode=GRAPHED, backend=backend)
    for n in (3, 1, 16, 2):
        runner.encode([torch.full((80, 3000), float(n))] * n)
    assert [len(log_mels) for log_mels in backend.encoded] == [4, 1, 16, 4]
    for n, log_mels in zip((3, 1, 16, 2), backend.encoded, strict=True):
        assert (log_mels[:n] == n).all()
        assert not log_mels[n:].any()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(GRAPHED, [(8, 128), (16, 256), (20, 128)]), (GRAPHED.deterministic(), [(20, 256)] * 3)],
    ids=["buckets", "deterministic"],
)
def test_a_step_takes_the_smallest_shape_that_holds_it_or_always_the_largest(
    model: Whisper, mode: RunnerMode, expected: list[tuple[int, int]]
) -> None:
    backend = RecordingBackend()
    runner = ModelRunner(model, DecodingOptions(), n_slots=20, mode=mode, backend=backend)
    runner.step([127], [])
    runner.step([3] * 8 + [128], [])
    runner.step([0] * 17, [0])
    assert backend.replayed == expected


class SizesOfEncoder:
    """Says which batches it was asked for, and gives features that name the window."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def encode(self, log_mels: Tensor) -> Tensor:
        self.sizes.append(len(log_mels))
        return log_mels[:, :1, :1].expand(-1, 1500, 16)


@torch.inference_mode()
def test_batches_are_padded_to_a_few_sizes_and_their_buffers_take_turns(model: Whisper) -> None:
    encoder = SizesOfEncoder()
    runner = ModelRunner(model, DecodingOptions(), 4, encoder=encoder, mode=GRAPHED)
    for size in (1, 3, 4, 5, 16, 2, 2, 2, 2):
        windows = [torch.full((80, 3000), float(row + 1)) for row in range(size)]
        expected = [runner._decoder.cross_kv(torch.full((1500, 16), float(row + 1))) for row in range(size)]
        found = runner.encode(windows)
        assert len(found) == size
        assert all(torch.equal(one.cross_kv, other) for one, other in zip(found, expected, strict=True))
    assert encoder.sizes == [1, 4, 4, 16, 16, 4, 4, 4, 4]


class LateEvent:
    """Passed after it has been asked a few times."""

    def __init__(self, n: int) -> None:
        self.n = n

    def query(self) -> bool:
        self.n -= 1
        return self.n < 0

    def synchronize(self) -> None:
        self.n = 0


class LateBackend(HostBackend):
    """An encoder that takes a while."""

    delay = 0

    def event(self) -> LateEvent:
        return LateEvent(self.delay)


def test_running_windows_never_wait_for_an_encoding(model: Whisper) -> None:
    backend = LateBackend()
    runner = ModelRunner(model, DecodingOptions(temperatures=(0.0,), max_tokens=40), 4, mode=GRAPHED, backend=backend)
    scheduler = Scheduler(runner)
    first, second = (Sequence(Window(torch.zeros(80, 3000), 30.0)) for _ in range(2))
    backend.delay = 1000
    scheduler.submit(first)
    scheduler.iterate()
    assert first.position == 1, "with nothing running there is nothing to hold up"
    backend.delay = 5
    scheduler.submit(second)
    for _ in range(5):
        scheduler.iterate()
    assert (first.position, second.position) == (6, 0)
    scheduler.iterate()
    assert (first.position, second.position) == (7, 1)


def test_no_more_is_encoded_ahead_than_memory_is_reserved_for(model: Whisper) -> None:
    backend = LateBackend()
    backend.delay = 10**9
    runner = ModelRunner(model, DecodingOptions(temperatures=(0.0,), max_tokens=40), 64, mode=GRAPHED, backend=backend)
    scheduler = Scheduler(runner)
    for _ in range(100):
        scheduler.submit(Sequence(Window(torch.zeros(80, 3000), 30.0)))
    for _ in range(8):
        scheduler.iterate()
        assert len(scheduler._encoded) <= GRAPHED.max_encoded
    assert scheduler.n_running == 16, "the first batch, which nothing ran beside"


def test_a_padded_vocabulary_is_a_multiple_of_eight_and_adds_nothing() -> None:
    table, x = torch.randn(51_866, 16), torch.randn(3, 16)
    padded = padded_table(table, 8)
    assert len(padded) == 51_872
    assert torch.equal(padded[: len(table)], table)
    assert not (x @ padded.t())[:, len(table) :].any()
