"""The Whisper engine on a GPU: what it says, whatever shares its steps, and in every precision."""

from __future__ import annotations

import copy
import subprocess
import sys

import jiwer
import numpy as np
import pytest
import torch
import whisper
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.decoding.quantization import Fp8Linear, quantize
from aircheck.inference.whisper.engine import DTYPES, WhisperEngine, Window
from aircheck.inference.whisper.scheduling.faults import EXIT_CODE
from aircheck.inference.whisper.scheduling.memory import available_bytes
from aircheck.inference.whisper.scheduling.model_runner import EAGER, GRAPHED, ModelRunner
from aircheck.inference.whisper.scheduling.scheduler import Scheduler
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, load

GREEDY = DecodingOptions(temperatures=(0.0,))


def texts(engine: WhisperEngine, log_mels: Tensor, durations_s: list[float]) -> list[str]:
    return [one.text for one in engine.transcribe(log_mels, durations_s)]


def test_tokens_are_openai_whispers_in_fp32(base: LoadedWhisper, log_mels: Tensor) -> None:
    """whisper.decode on the same GPU. Rounding may part two texts where two tokens are equally likely."""
    options = whisper.DecodingOptions(temperature=0, fp16=False)
    theirs = whisper.decode(base.model, log_mels.cuda(), options)
    ours = Scheduler(ModelRunner(base.model, GREEDY, 16, mode=GRAPHED)).decode([Window(mel, 30.0) for mel in log_mels])
    same = [list(mine.tokens) == its.tokens for mine, its in zip(ours, theirs, strict=True)]
    assert sum(same) >= 0.95 * len(same)
    pairs = [(mine, its) for mine, its, is_same in zip(ours, theirs, same, strict=True) if is_same]
    for mine, its in pairs:
        assert mine.avg_logprob == pytest.approx(its.avg_logprob, abs=2e-3)
        assert mine.no_speech_prob == pytest.approx(its.no_speech_prob, abs=2e-3)


def test_a_gpu_hears_what_a_cpu_hears(
    base: LoadedWhisper, base_on_cpu: LoadedWhisper, log_mels: Tensor, durations_s: list[float]
) -> None:
    few = slice(0, 12)
    found = []
    for loaded in (base_on_cpu, base):
        with WhisperEngine(loaded) as engine:
            found.append(texts(engine, log_mels[few], durations_s[few]))
    on_cpu, on_gpu = found
    assert sum(map(str.__eq__, on_cpu, on_gpu)) >= 11


def test_captured_steps_say_what_uncaptured_ones_say(random_on_gpu: Whisper) -> None:
    options = DecodingOptions(temperatures=(0.0, 0.6), max_tokens=60)
    noise = torch.randn(12, 80, 3000, generator=torch.Generator().manual_seed(3))
    windows = [Window(log_mel, 30.0) for log_mel in noise] * 3
    plain, graphed = (
        Scheduler(ModelRunner(random_on_gpu, options, 8, mode=mode)).decode(windows) for mode in (EAGER, GRAPHED)
    )
    same = [a.tokens == b.tokens for a, b in zip(plain, graphed, strict=True)]
    assert sum(same) >= 0.9 * len(same)  # other shapes, other sums
    assert any(one.temperature > 0 for one in graphed)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_deterministic_windows_do_not_depend_on_what_shares_their_steps(
    base: LoadedWhisper, base_bf16: LoadedWhisper, log_mels: Tensor, dtype: str
) -> None:
    loaded = base if dtype == "fp32" else base_bf16
    windows = [Window(mel, 30.0, max_tokens=8 + at) for at, mel in enumerate(log_mels)]
    options = DecodingOptions(temperatures=(0.0, 0.6), seek=False)
    with WhisperEngine(loaded, options, n_slots=32, deterministic=True) as engine:
        together = engine.decode(windows)
        backwards = engine.decode(windows[::-1])[::-1]
        alone = [engine.decode([window])[0] for window in windows[::9]]
    assert together == backwards
    assert together[::9] == alone


def test_words_are_where_the_cpu_hears_them(
    base: LoadedWhisper, base_on_cpu: LoadedWhisper, log_mels: Tensor, durations_s: list[float]
) -> None:
    found = []
    for loaded in (base_on_cpu, base):
        with WhisperEngine(loaded, DecodingOptions(word_timestamps=True)) as engine:
            transcripts = engine.transcribe(log_mels[:6], durations_s[:6])
        found.append([word for one in transcripts for segment in one.segments for word in segment.words])
    on_cpu, on_gpu = found
    assert len(on_cpu) > 20
    assert [word.text for word in on_gpu] == [word.text for word in on_cpu]
    off_s = [abs(a.start_s - b.start_s) for a, b in zip(on_cpu, on_gpu, strict=True)]
    assert np.mean(np.array(off_s) <= 0.04) > 0.95


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_low_precision_says_nearly_what_fp32_says(
    base: LoadedWhisper, log_mels: Tensor, durations_s: list[float], dtype: str
) -> None:
    with WhisperEngine(base) as engine:
        expected = texts(engine, log_mels, durations_s)
    with WhisperEngine(load("base", torch.device("cuda", 0), DTYPES[dtype])) as engine:
        found = texts(engine, log_mels, durations_s)
    pairs = [(a, b) for a, b in zip(expected, found, strict=True) if a]
    assert jiwer.wer([a for a, _ in pairs], [b for _, b in pairs]) < 0.08


def test_fp8_predicts_nearly_what_bf16_predicts(base_bf16: LoadedWhisper) -> None:
    model = copy.deepcopy(base_bf16.model)
    assert quantize(WindowEncoder(model.encoder), Fp8Linear, model) < 0.1


def test_an_fp8_row_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(512, 2048, device="cuda", dtype=torch.bfloat16)
    layer = Fp8Linear(linear)
    x = torch.randn(64, 512, device="cuda", dtype=torch.bfloat16)
    expected = layer(x)
    assert torch.equal(layer(x.flip(0)).flip(0), expected)
    off = (expected - linear(x)).float().norm() / linear(x).float().norm()
    assert off < 0.05


def test_the_slots_of_a_large_model_fit_into_what_is_free() -> None:
    """large-v3's shape in bf16, with as many slots as are taken by default, all of them at work."""
    device = torch.device("cuda", 0)
    with device:
        model = Whisper(ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32))
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    for module in model.eval().requires_grad_(False).modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Embedding):
            module.to(torch.bfloat16)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, loaded_bytes = available_bytes(device), torch.cuda.memory_allocated()
    loaded = LoadedWhisper(model, None, "random", "0")
    with WhisperEngine(loaded, DecodingOptions(temperatures=(0.0,), max_tokens=6, seek=False, language="en")) as engine:
        noise = torch.randn(128, 3000).clamp_(-1, 1)
        futures = [engine.submit(Window(noise, 30.0)) for _ in range(engine.n_slots + 40)]
        assert all(future.result() for future in futures)
        n_slots = engine.n_slots
    assert n_slots >= 64
    assert torch.cuda.max_memory_allocated() - loaded_bytes < free


def test_cancelled_windows_leave_their_slots(base_bf16: LoadedWhisper, log_mels: Tensor) -> None:
    with WhisperEngine(base_bf16, GREEDY, n_slots=8) as engine:
        futures = [engine.submit(Window(mel, 30.0)) for mel in log_mels]
        cancelled = [future.cancel() for future in futures[::2]]
        kept = [future.result(timeout=60) for future in futures[1::2]]
        assert any(cancelled)
        assert all(kept)
        assert engine.decode([Window(log_mels[0], 30.0)])[0]


def test_a_lost_gpu_ends_the_process() -> None:
    """With exit code 70, after the caller was told: a look-up beyond a table is a device-side assert."""
    done = subprocess.run([sys.executable, "-c", _LOSES_ITS_GPU], capture_output=True, text=True, timeout=240)
    assert done.returncode == EXIT_CODE, done.stderr[-2000:]
    assert "told" in done.stdout


_LOSES_ITS_GPU = """
import time, torch
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from support.whisper_models import random_whisper

engine = WhisperEngine(LoadedWhisper(random_whisper(80, 51864).cuda(), None, "random", "0"), n_slots=8)
runner = engine._workers[0].runner
step = runner.step

def broken(*arguments):
    torch.nn.functional.embedding(torch.tensor([9999], device="cuda"), torch.zeros(4, 4, device="cuda"))
    return step(*arguments)

runner.step = broken
future = engine.submit(Window(torch.zeros(80, 3000), 30.0))
future.add_done_callback(lambda done: print("told", type(done.exception()).__name__, flush=True))
time.sleep(120)
"""
