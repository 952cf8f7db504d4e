"""The scheduler under random arrivals, lengths and cancellations."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.graphed_slots import GraphedSlots
from aircheck.inference.whisper.options import DecodedWindow, DecodingOptions
from aircheck.inference.whisper.scheduler import Job, NotFiniteError, Scheduler, Window
from aircheck.inference.whisper.slots import DecodingSlots
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


def slots_of(kind: type[DecodingSlots], model: Whisper, n_slots: int) -> DecodingSlots:
    return kind(model, DecodingOptions(temperatures=(0.0,)), n_slots)


def test_a_gpus_slots_say_the_same_where_texts_are_drawn(model: Whisper, log_mels: Tensor) -> None:
    """They run ahead of their reports, in rounded shapes; the graphs themselves need a GPU."""
    options = DecodingOptions(temperatures=(0.0, 0.5, 1.0), max_tokens=70)
    windows = [Window(log_mel, 30.0) for log_mel in log_mels]
    plain, ahead = (Scheduler(kind(model, options, 3)).decode(windows) for kind in (DecodingSlots, GraphedSlots))
    assert [(one.tokens, one.temperature) for one in ahead] == [(one.tokens, one.temperature) for one in plain]
    assert any(one.temperature > 0 for one in plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_captured_steps_say_what_uncaptured_ones_say(model: Whisper, log_mels: Tensor) -> None:
    on_gpu = copy.deepcopy(model).cuda()
    options, windows = DecodingOptions(), [Window(log_mel, 30.0) for log_mel in log_mels] * 4
    plain, graphed = (Scheduler(kind(on_gpu, options, 8)).decode(windows) for kind in (DecodingSlots, GraphedSlots))
    assert [one.tokens for one in graphed] == [one.tokens for one in plain]


@pytest.fixture(scope="module", params=[DecodingSlots, GraphedSlots])
def slots_by_number(request: pytest.FixtureRequest, model: Whisper) -> dict[int, DecodingSlots]:
    return {n: slots_of(request.param, model, n) for n in (1, 3, 5)}


arrival = st.tuples(
    st.integers(0, 9),  # iterations after the one before
    st.integers(0, N_WINDOWS - 1),  # which window
    st.integers(1, 24),  # its limit of tokens
    st.one_of(st.none(), st.integers(0, 30)),  # iterations until it is cancelled
)


@settings(max_examples=20, deadline=None)
@given(st.lists(arrival, min_size=1, max_size=14), st.sampled_from([1, 3, 5]))
def test_every_window_is_answered_once_and_as_if_it_were_alone(
    slots_by_number: dict[int, DecodingSlots],
    log_mels: Tensor,
    alone: Callable[[int, int], DecodedWindow],
    arrivals: list[tuple[int, int, int, int | None]],
    n_slots: int,
) -> None:
    scheduler = Scheduler(slots_by_number[n_slots])
    answers: dict[Job, int] = {}
    pending = []
    for wait, row, limit, patience in arrivals:
        job = Job(Window(log_mels[row], 30.0, limit))
        job.future.add_done_callback(lambda _, job=job: answers.update({job: answers.get(job, 0) + 1}))
        pending.append((wait, row, limit, patience, job))
    jobs = [(row, limit, job) for _, row, limit, _, job in pending]
    cancel_at: dict[int, list[Job]] = {}
    at, due = 0, pending[0][0]
    while pending or not scheduler.is_idle:
        assert at < 5000, "the scheduler does not come to an end"
        while pending and due <= at:
            _, _, _, patience, job = pending.pop(0)
            scheduler.submit(job)
            if patience is not None:
                cancel_at.setdefault(at + patience, []).append(job)
            due += pending[0][0] if pending else 0
        for job in cancel_at.pop(at, []):
            job.future.cancel()
        scheduler.iterate()
        assert scheduler.n_running <= n_slots
        at += 1
    assert scheduler.n_running == scheduler.n_waiting == 0, "a slot has leaked"
    for row, limit, job in jobs:
        assert answers[job] == 1
        if not job.future.cancelled():
            result, expected = job.future.result(), alone(row, limit)
            assert result.tokens == expected.tokens
            assert result.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)


def test_a_long_window_does_not_hold_up_short_ones(model: Whisper, log_mels: Tensor) -> None:
    scheduler = Scheduler(slots_of(DecodingSlots, model, 2))
    ended: list[str] = []
    for name, limit in (("long", 60), *((f"short {i}", 4) for i in range(5))):
        job = Job(Window(log_mels[2], 30.0, limit))
        job.future.add_done_callback(lambda _, name=name: ended.append(name))
        scheduler.submit(job)
    while not scheduler.is_idle:
        scheduler.iterate()
    assert ended == [*(f"short {i}" for i in range(5)), "long"]


def test_a_cancelled_window_leaves_its_slot_before_the_next_step(model: Whisper, log_mels: Tensor) -> None:
    scheduler = Scheduler(slots_of(DecodingSlots, model, 1))
    first, second = (Job(Window(log_mels[2], 30.0, 50)) for _ in range(2))
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
    slots = slots_of(DecodingSlots, model, 1)
    scheduler = Scheduler(slots)
    jobs = [Job(Window(log_mel, 30.0, 9)) for log_mel in log_mels[:3]]
    for job in jobs:
        scheduler.submit(job)
    scheduler.iterate()
    scheduler.fail(RuntimeError("out of memory"))
    for job in jobs:
        with pytest.raises(RuntimeError, match="out of memory"):
            job.future.result(timeout=0)
    assert scheduler.is_idle
    (result,) = scheduler.decode([Window(log_mels[1], 30.0, 9)])
    assert result.tokens == decoded(model, log_mels[1:2], max_tokens=9)[0].tokens


@pytest.mark.parametrize("kind", [DecodingSlots, GraphedSlots])
@pytest.mark.parametrize("stage", ["encode", "admit", "start", "step"])
def test_whatever_raises_on_the_way_no_window_is_lost(
    model: Whisper, log_mels: Tensor, monkeypatch: pytest.MonkeyPatch, kind: type[DecodingSlots], stage: str
) -> None:
    slots = slots_of(kind, model, 2)
    scheduler = Scheduler(slots)
    jobs = [Job(Window(log_mel, 30.0, 9)) for log_mel in log_mels[:5]]
    for job in jobs:
        scheduler.submit(job)

    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(slots, stage, out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        scheduler.iterate()
    scheduler.fail(caught.value)
    monkeypatch.undo()
    for job in jobs:
        with pytest.raises(RuntimeError, match="out of memory"):
            job.future.result(timeout=0)
    (result,) = scheduler.decode([Window(log_mels[1], 30.0, 9)])
    assert result.tokens == decoded(model, log_mels[1:2], max_tokens=9)[0].tokens


@pytest.mark.parametrize("kind", [DecodingSlots, GraphedSlots])
@pytest.mark.parametrize("n_slots", [1, 3])
def test_a_window_whose_values_overflow_fails_alone(
    model: Whisper,
    log_mels: Tensor,
    alone: Callable[[int, int], DecodedWindow],
    kind: type[DecodingSlots],
    n_slots: int,
) -> None:
    """NaN must stay neither beside its neighbours nor in its slot, for the next window or for one that moves there."""
    scheduler = Scheduler(slots_of(kind, model, n_slots))
    broken = [Job(Window(torch.full((80, 3000), float("nan")), 30.0, 9)) for _ in range(2)]
    sound = [Job(Window(log_mels[row], 30.0, 9 + row)) for row in range(N_WINDOWS)]
    for job in [sound[0], *broken, *sound[1:]]:
        scheduler.submit(job)
    while not scheduler.is_idle:
        scheduler.iterate()
    for job in broken:
        with pytest.raises(NotFiniteError, match=r"NaN.*whisper_dtype"):
            job.future.result(timeout=0)
    for row, job in enumerate(sound):
        assert job.future.result(timeout=0).tokens == alone(row, 9 + row).tokens


@torch.inference_mode()
def test_a_slot_is_clean_when_it_is_taken_and_when_a_window_moves_there(model: Whisper, log_mels: Tensor) -> None:
    slots = slots_of(DecodingSlots, model, 2)
    for slot, encoded in enumerate(slots.encode(list(log_mels[:2]))):
        slots.admit(slot, encoded)
        slots.start([slot], [0.0])
    expected = slots.step([0, 0], []).rows()
    for how in ("taken", "moved to"):
        slots._cache.own.fill_(float("nan"))
        slots.admit(1, slots.encode([log_mels[1]])[0])
        slots.start([1], [0.0])
        if how == "moved to":
            slots.move(1, 0, 0)
        assert slots._cache.own[:, :, 0 if how == "moved to" else 1].isfinite().all(), how
    slots.admit(1, slots.encode([log_mels[0]])[0])
    slots.start([0, 1], [0.0, 0.0])
    assert slots.step([0, 0], []).rows() == expected[::-1]
