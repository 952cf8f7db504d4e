"""The engine: windows in, transcripts out."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aircheck.inference.device import cpu_has_fast_bf16
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.segments import WindowTranscript
from aircheck.inference.whisper.engine import (
    EngineClosedError,
    WhisperEngine,
    Window,
    WindowError,
    select_dtype,
)
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load
from support.whisper_models import CPU, log_mel

TESTS = Path(__file__).parents[2]
GREEDY = DecodingOptions(temperatures=(0.0,), seek=False, max_tokens=80)  # what random weights write never ends


@pytest.fixture(scope="module")
def engine(small: LoadedWhisper) -> Iterator[WhisperEngine]:
    with WhisperEngine(small, GREEDY, n_slots=4) as engine:
        yield engine


@pytest.fixture(scope="module")
def durations_s(sounds: list[np.ndarray]) -> list[float]:
    return [len(sound) / 16_000 for sound in sounds]


def assert_consistent(said: WindowTranscript, duration_s: float) -> None:
    assert said.text.split() == " ".join(segment.text for segment in said.segments).split()
    for segment in said.segments:
        assert 0 <= segment.start_s <= segment.end_s <= duration_s
        assert segment.text == segment.text.strip() != ""
        assert segment.avg_logprob <= 0
    starts = [segment.start_s for segment in said.segments]
    assert starts == sorted(starts)


def test_every_window_gets_its_own_transcript(base: LoadedWhisper, windows: Tensor, durations_s: list[float]) -> None:
    with WhisperEngine(base, GREEDY, n_slots=4) as engine:
        together = engine.transcribe(windows[:3].numpy(), durations_s[:3])
        pair = engine.transcribe(windows[[2, 0]], [durations_s[2], durations_s[0]])
    for said, duration_s in zip(together, durations_s[:3], strict=True):
        assert_consistent(said, duration_s)
        assert said.language == "en"
    assert len({said.text for said in together}) == 3
    assert "the old house at the end of the street" in together[0].text.lower()
    assert [said.text for said in pair] == [together[2].text, together[0].text]


def test_bf16_transcribes_too(windows: Tensor, durations_s: list[float]) -> None:
    with WhisperEngine(load("base", CPU, torch.bfloat16), n_slots=2) as engine:
        (said,) = engine.transcribe(windows[:1], durations_s[:1])
    assert_consistent(said, durations_s[0])
    assert "the old house at the end of the street" in said.text.lower()


def test_no_windows_give_no_transcripts(engine: WhisperEngine) -> None:
    assert engine.transcribe(np.zeros((0, 80, 3000), np.float32), []) == []


def test_its_statistics_are_what_it_did(small: LoadedWhisper, windows: Tensor, durations_s: list[float]) -> None:
    options = DecodingOptions(temperatures=(0.0, 0.2), seek=False, max_tokens=20)
    with WhisperEngine(small, options, n_slots=2) as engine:
        passes = engine.decode([Window(mel, s) for mel, s in zip(windows[:4], durations_s[:4], strict=True)])
        done = engine.statistics()
    results = [one.decoded for (one,) in passes]
    assert (done.n_slots, done.n_slots_in_use, done.n_waiting) == (2, 0, 0)
    assert (done.n_passes, done.n_seeks) == (4, 0)
    assert done.n_fallbacks == sum(result.temperature > 0 for result in results)
    assert done.n_fallbacks > 0  # random weights are sure of nothing
    assert done.n_tokens >= sum(len(result.tokens) for result in results) > 0
    assert done.compute_s > 0
    assert done.queue_s > 0  # four windows, two slots


def test_the_engine_says_which_checkpoint_it_runs(engine: WhisperEngine, small: LoadedWhisper) -> None:
    assert (engine.name, engine.version, engine.n_mels) == (small.name, small.version, 80)


@pytest.mark.parametrize(
    ("shape", "duration_s", "message"),
    [
        ((1, 128, 3000), 1.0, "128 mel bands.* 80"),
        ((1, 80, 2999), 1.0, r"\[1, 80, 2999\].*3000"),
        ((80, 3000), 1.0, r"\[80, 3000\].*windows"),
        ((2, 80, 3000), 1.0, "2 windows.*1 duration"),
        ((1, 80, 3000), 30.5, "30.5 s"),
        ((1, 80, 3000), -1.0, "-1 s"),
        ((1, 80, 3000), float("nan"), "nan s"),
    ],
)
def test_a_window_of_the_wrong_kind_is_refused_by_name(
    engine: WhisperEngine, shape: tuple[int, ...], duration_s: float, message: str
) -> None:
    with pytest.raises(WindowError, match=message):
        engine.transcribe(np.zeros(shape, np.float32), [duration_s])


def test_a_log_mel_that_is_not_finite_is_refused(engine: WhisperEngine) -> None:
    broken = np.zeros((1, 80, 3000), np.float32)
    broken[0, 3, 14] = np.nan
    with pytest.raises(WindowError, match="NaN"):
        engine.transcribe(broken, [1.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [((3e38,), "3e\\+38"), ((1e6,), "1e\\+06"), ((-40.0,), "-40"), ((-1.4, 1.2), r"spans 2\.6")],
)
def test_a_log_mel_that_no_audio_has_is_refused(
    engine: WhisperEngine, windows: Tensor, values: tuple[float, ...], message: str
) -> None:
    strange = torch.zeros(1, 80, 3000)
    strange[0, 0, : len(values)] = torch.tensor(values)
    with pytest.raises(WindowError, match=message):
        engine.check(torch.cat([windows[:1], strange]), [1.0, 1.0])


@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("shape", ["constant", "square wave", "noise", "click"])
def test_every_log_mel_of_the_front_end_is_taken(engine: WhisperEngine, shape: str, amplitude: float) -> None:
    """Also of float recordings beyond full scale."""
    sound = {
        "constant": np.ones(16_000),
        "square wave": np.sign(np.sin(np.arange(16_000) / 3)),
        "noise": np.random.default_rng(0).uniform(-1, 1, 16_000),
        "click": np.arange(16_000) == 8_000,
    }[shape]
    samples = (sound * amplitude).astype(np.float32)
    for n_mels in (80, 128):
        values = log_mel(samples, n_mels)
        engine.check(values[:80][None], [1.0])
        engine.check(values[:80][None].half(), [1.0])


@pytest.mark.parametrize(("threads", "n_slots"), [(1, 3), (3, 5)])
def test_workers_share_the_slots_and_the_windows(
    engine: WhisperEngine, small: LoadedWhisper, windows: Tensor, threads: int, n_slots: int
) -> None:
    """What is said does not depend on how many cores there are, and every slot belongs to one worker."""
    sent = [Window(window, 30.0) for window in windows]
    expected = engine.decode(sent)
    busy: set[str] = set()
    with WhisperEngine(small, GREEDY, n_slots=n_slots, threads=threads) as other:
        assert (other.n_slots, other.n_workers) == (n_slots, min(threads, n_slots))
        futures = []
        for window in sent:
            futures.append(other.submit(window))
            futures[-1].add_done_callback(lambda _: busy.add(threading.current_thread().name))
        assert [future.result() for future in futures] == expected
    assert len(busy) == min(threads, n_slots), "a worker had nothing to do"


def test_a_window_cancelled_in_the_queue_makes_room(small: LoadedWhisper, windows: Tensor) -> None:
    with WhisperEngine(small, GREEDY, n_slots=1, max_waiting=1, threads=1) as engine:
        first = engine.submit(Window(windows[0], 30.0))
        second = engine.submit(Window(windows[0], 30.0))  # waits until the first has left the queue
        assert second.cancel()
        third = engine.submit(Window(windows[0], 30.0), block=False)
        assert third.result() == first.result()


def test_a_full_queue_makes_its_senders_wait(small: LoadedWhisper, windows: Tensor) -> None:
    sent: list[int] = []
    with WhisperEngine(small, GREEDY, n_slots=1, max_waiting=2) as engine:

        def send() -> None:
            for n in range(9):
                engine.submit(Window(windows[n % 3], 30.0)).add_done_callback(lambda _, n=n: done.append(n))
                sent.append(n)

        done: list[int] = []
        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            # in the queue, just taken by the engine, in the slot, and answered since the last look
            assert len(sent) - len(done) <= 2 + 2 + 1 + 1
            sender.join(0.01)
        engine.decode([Window(windows[0], 30.0)])
    assert sorted(done) == list(range(9))


def test_a_closed_engine_answers_what_it_had_and_takes_no_more(small: LoadedWhisper, windows: Tensor) -> None:
    engine = WhisperEngine(small, GREEDY, n_slots=1)
    futures = [engine.submit(Window(windows[0], 30.0)) for _ in range(2)]
    engine.close()
    assert all(future.done() for future in futures)
    with pytest.raises(EngineClosedError, match="closed"):
        futures[-1].result()
    with pytest.raises(EngineClosedError, match="closed"):
        engine.submit(Window(windows[0], 30.0))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_process_that_leaves_its_engine_running_ends_cleanly(dtype: str) -> None:
    """A thread inside torch at the interpreter's end used to abort the process."""
    code = f"""
import torch
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine, Window
from support.whisper_models import random_whisper

model = random_whisper(80, 51864, n_state=256).to(DTYPES["{dtype}"])
engine = WhisperEngine(LoadedWhisper(model, None, "random", "0"), n_slots=2, threads=2)
for _ in range(4):
    engine.submit(Window(torch.zeros(80, 3000), 30.0))
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=TESTS, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_dtype_is_taken_or_refused_never_replaced() -> None:
    assert select_dtype("bf16", CPU) is torch.bfloat16
    assert select_dtype("fp32", CPU) is torch.float32
    assert select_dtype("auto", CPU) is (torch.bfloat16 if cpu_has_fast_bf16() else torch.float32)
    with pytest.raises(ValueError, match=r"fp16.*GPU"):
        select_dtype("fp16", CPU)
    with pytest.raises(ValueError, match=r"int8.*bf16"):
        select_dtype("int8", CPU)
