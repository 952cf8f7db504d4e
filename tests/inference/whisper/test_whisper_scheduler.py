"""The scheduler under random arrivals, lengths and cancellations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions
from aircheck.inference.whisper.scheduling.model_runner import EAGER, GRAPHED, ModelRunner, RunnerMode
from aircheck.inference.whisper.scheduling.scheduler import NotFiniteError, Scheduler
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window
from support.whisper_models import decoded, random_whisper

N_WINDOWS = 6


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(80, 51864, n_state=16)


@pytest.fixture(scope="module")
def log_mels() -> Tensor:
    return torch.randn(N_WINDOWS, 80, 3000, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def alone(model: Whisper, log_mels: Tensor) -> Callable[[int, int], DecodedWindow]:
    """What a window says with no other beside it."""
    known: dict[tuple[int, int], DecodedWindow] = {}

    def of(row: int, max_tokens: int) -> DecodedWindow:
        if (row, max_tokens) not in known:
            (known[row, max_tokens],) = decoded(model, log_mels[row : row + 1], n_slots=1, max_tokens=max_tokens)
        return known[row, max_tokens]

    return of


def runner_of(mode: RunnerMode, model: Whisper, n_slots: int) -> ModelRunner:
    return ModelRunner(model, DecodingOptions(temperatures=(0.0,)), n_slots, mode=mode)


MODES = pytest.mark.parametrize("mode", [EAGER, GRAPHED], ids=["eager", "graphed"])


def test_a_gpus_slots_say_the_same_where_texts_are_drawn(model: Whisper, log_mels: Tensor) -> None:
    """They run ahead of their reports, in rounded shapes; the graphs themselves need a GPU."""
    options = DecodingOptions(temperatures=(0.0, 0.5, 1.0), max_tokens=70)
    windows = [Window(log_mel, 30.0) for log_mel in log_mels]
    plain, ahead = (
        Scheduler(ModelRunner(model, options, 3, mode=mode)).decode(windows)
        for mode in (EAGER, GRAPHED.deterministic())
    )
    assert [(one.tokens, one.temperature) for one in ahead] == [(one.tokens, one.temperature) for one in plain]
    assert any(one.temperature > 0 for one in plain)


@pytest.fixture(scope="module", params=[EAGER, GRAPHED], ids=["eager", "graphed"])
def runners_by_n_slots(request: pytest.FixtureRequest, model: Whisper) -> dict[int, ModelRunner]:
    return {n: runner_of(request.param, model, n) for n in (1, 3, 5)}


arrival = st.tuples(
    st.integers(0, 9),  # iterations after the one before
    st.integers(0, N_WINDOWS - 1),  # which window
    st.integers(1, 24),  # its limit of tokens
    st.one_of(st.none(), st.integers(0, 30)),  # iterations until it is cancelled
)


@settings(max_examples=20, deadline=None)
@given(st.lists(arrival, min_size=1, max_size=14), st.sampled_from([1, 3, 5]))
def test_every_window_is_answered_once_and_as_if_it_were_alone(
    runners_by_n_slots: dict[int, ModelRunner],
    log_mels: Tensor,
    alone: Callable[[int, int], DecodedWindow],
    arrivals: list[tuple[int, int, int, int | None]],
    n_slots: int,
) -> None:
    scheduler = Scheduler(runners_by_n_slots[n_slots])
    answers: dict[Sequence, int] = {}
    pending = []
    for wait, row, limit, patience in arrivals:
        sequence = Sequence(Window(log_mels[row], 30.0, max_tokens=limit))
        sequence.future.add_done_callback(
            lambda _, sequence=sequence: answers.update({sequence: answers.get(sequence, 0) + 1})
        )
        pending.append((wait, row, limit, patience, sequence))
    sequences = [(row, limit, sequence) for _, row, limit, _, sequence in pending]
    cancel_at: dict[int, list[Sequence]] = {}
    at, due = 0, pending[0][0]
    while pending or not scheduler.is_idle:
        assert at < 5000, "the scheduler does not come to an end"
        while pending and due <= at:
            _, _, _, patience, sequence = pending.pop(0)
            scheduler.submit(sequence)
            if patience is not None:
                cancel_at.setdefault(at + patience, []).append(sequence)
            due += pending[0][0] if pending else 0
        for sequence in cancel_at.pop(at, []):
            sequence.future.cancel()
        scheduler.iterate()
        assert scheduler.n_running <= n_slots
        at += 1
    assert scheduler.n_running == scheduler.n_waiting == 0, "a slot has leaked"
    for row, limit, sequence in sequences:
        assert answers[sequence] == 1
        if not sequence.future.cancelled():
            result, expected = sequence.future.result(), alone(row, limit)
            assert result.tokens == expected.tokens
            assert result.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)


def test_a_long_window_does_not_hold_up_short_ones(model: Whisper, log_mels: Tensor) -> None:
    scheduler = Scheduler(runner_of(EAGER, model, 2))
    ended: list[str] = []
    for name, limit in (("long", 60), *((f"short {i}", 4) for i in range(4))):
        sequence = Sequence(Window(log_mels[2], 30.0, max_tokens=limit))
        sequence.future.add_done_callback(lambda _, name=name: ended.append(name))
        scheduler.submit(sequence)
    while not scheduler.is_idle:
        scheduler.iterate()
    assert ended == [*(f"short {i}" for i in range(4)), "long"]


def test_a_cancelled_window_leaves_its_slot_before_the_next_step(model: Whisper, log_mels: Tensor) -> None:
    scheduler = Scheduler(runner_of(EAGER, model, 1))
    first, second = (Sequence(Window(log_mels[2], 30.0, max_tokens=50)) for _ in range(2))
    scheduler.submit(first)
    scheduler.submit(second)
    scheduler.iterate()
    assert (first.position, second.position, scheduler.n_waiting) == (1, 0, 1)
    first.future.cancel()
    scheduler.iterate()
    assert (first.position, second.position, scheduler.n_waiting) == (1, 1, 0)


def test_a_fault_reaches_every_window_and_the_next_one_works(
    model: Whisper, log_mels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(EAGER, model, 1)
    scheduler = Scheduler(runner)
    sequences = [Sequence(Window(log_mel, 30.0, max_tokens=9)) for log_mel in log_mels[:3]]
    for sequence in sequences:
        scheduler.submit(sequence)
    scheduler.iterate()
    scheduler.fail(RuntimeError("out of memory"))
    for sequence in sequences:
        with pytest.raises(RuntimeError, match="out of memory"):
            sequence.future.result(timeout=0)
    assert scheduler.is_idle
    (result,) = scheduler.decode([Window(log_mels[1], 30.0, max_tokens=9)])
    assert result.tokens == decoded(model, log_mels[1:2], max_tokens=9)[0].tokens


@MODES
@pytest.mark.parametrize("stage", ["encode", "admit", "start", "step"])
def test_whatever_raises_on_the_way_no_window_is_lost(
    model: Whisper, log_mels: Tensor, monkeypatch: pytest.MonkeyPatch, mode: RunnerMode, stage: str
) -> None:
    runner = runner_of(mode, model, 2)
    scheduler = Scheduler(runner)
    sequences = [Sequence(Window(log_mel, 30.0, max_tokens=9)) for log_mel in log_mels[:5]]
    for sequence in sequences:
        scheduler.submit(sequence)

    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(runner, stage, out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        scheduler.iterate()
    scheduler.fail(caught.value)
    monkeypatch.undo()
    for sequence in sequences:
        with pytest.raises(RuntimeError, match="out of memory"):
            sequence.future.result(timeout=0)
    (result,) = scheduler.decode([Window(log_mels[1], 30.0, max_tokens=9)])
    assert result.tokens == decoded(model, log_mels[1:2], max_tokens=9)[0].tokens


@MODES
@pytest.mark.parametrize("n_slots", [1, 3])
def test_a_window_whose_values_overflow_fails_alone(
    model: Whisper,
    log_mels: Tensor,
    alone: Callable[[int, int], DecodedWindow],
    mode: RunnerMode,
    n_slots: int,
) -> None:
    """NaN must stay neither beside its neighbours nor in its slot, for the next window or for one that moves there."""
    scheduler = Scheduler(runner_of(mode, model, n_slots))
    broken = [Sequence(Window(torch.full((80, 3000), float("nan")), 30.0, max_tokens=9)) for _ in range(2)]
    sound = [Sequence(Window(log_mels[row], 30.0, max_tokens=9 + row)) for row in range(N_WINDOWS)]
    for sequence in [sound[0], *broken, *sound[1:]]:
        scheduler.submit(sequence)
    while not scheduler.is_idle:
        scheduler.iterate()
    for sequence in broken:
        with pytest.raises(NotFiniteError, match=r"NaN.*whisper_dtype"):
            sequence.future.result(timeout=0)
    for row, sequence in enumerate(sound):
        assert sequence.future.result(timeout=0).tokens == alone(row, 9 + row).tokens


@torch.inference_mode()
def test_a_slot_is_clean_when_it_is_taken_and_when_a_window_moves_there(model: Whisper, log_mels: Tensor) -> None:
    runner = runner_of(EAGER, model, 2)
    for slot, encoded in enumerate(runner.encode(list(log_mels[:2]))):
        runner.admit(slot, encoded)
        runner.start([slot], [0.0], [None])
    expected = runner.step([0, 0], []).rows()
    for how in ("taken", "moved to"):
        runner._cache.self_kv.fill_(float("nan"))
        runner.admit(1, runner.encode([log_mels[1]])[0])
        runner.start([1], [0.0], [None])
        if how == "moved to":
            runner.move(1, 0, 0)
        assert runner._cache.self_kv[:, :, 0 if how == "moved to" else 1].isfinite().all(), how
    runner.admit(1, runner.encode([log_mels[0]])[0])
    runner.start([0, 1], [0.0, 0.0], [None, None])
    assert runner.step([0, 0], []).rows() == expected[::-1]
