"""Same audio, same verdict: a window's result does not depend on what shares its step, bit for bit, in both dtypes."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.decoder import StepDecoder
from aircheck.inference.whisper.decoding.encoder import WindowEncoder
from aircheck.inference.whisper.decoding.kv_cache import KVCache
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.engine import WhisperEngine, Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper
from support.whisper_models import CPU, random_whisper

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
N_ROWS = 16


@pytest.fixture(scope="module", params=DTYPES)
def model(request: pytest.FixtureRequest) -> Iterator[Whisper]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    model = copy.deepcopy(random_whisper(80, 51865, n_state=64))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Embedding):
            module.to(DTYPES[request.param])
    yield model
    torch.set_num_threads(threads)


@torch.inference_mode()
def test_a_rows_logits_depend_neither_on_the_rows_beside_it_nor_on_their_lengths(model: Whisper) -> None:
    generator = torch.Generator().manual_seed(0)
    decoder = StepDecoder(model.decoder)
    cache = KVCache(model.dims, N_ROWS, 256, model.decoder.token_embedding.weight.dtype, CPU)
    cache.self_kv.copy_(torch.randn(cache.self_kv.shape, generator=generator))
    cache.cross_kv.copy_(torch.randn(cache.cross_kv.shape, generator=generator))
    tokens = torch.randint(50_000, (N_ROWS,), generator=generator)
    positions = torch.randint(60, (N_ROWS,), generator=generator)
    expected = decoder.step(tokens, positions, cache, 64)
    for n in range(1, N_ROWS + 1):
        for length in (64, 128, 192, 256):
            found = decoder.step(tokens[:n], positions[:n], cache, length)
            assert torch.equal(found, expected[:n]), f"{n} rows, {length} positions"


@torch.inference_mode()
def test_a_windows_features_do_not_depend_on_its_place_in_memory(model: Whisper) -> None:
    log_mels = torch.randn(3, 80, 3000, generator=torch.Generator().manual_seed(1))
    encoder, decoder = WindowEncoder(model.encoder), StepDecoder(model.decoder)
    alone = [decoder.cross_kv(encoder.encode(log_mel[None].clone())[0]) for log_mel in log_mels]
    views = [decoder.cross_kv(encoder.encode(log_mels[row : row + 1])[0]) for row in range(3)]
    assert all(map(torch.equal, alone, views))


@pytest.fixture(scope="module")
def log_mels() -> Tensor:
    """Sixteen windows whose texts end at different steps, some of them at higher temperatures."""
    noise = torch.rand(N_ROWS, 80, 3000, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return noise * torch.linspace(0.1, 1.0, N_ROWS)[:, None, None]


def test_a_window_gives_the_same_alone_and_among_fifteen_others_in_any_order(model: Whisper, log_mels: Tensor) -> None:
    """Tokens, log-probabilities and words, exactly; with a token limit that differs from window to window."""
    windows = [Window(log_mel, 30.0, max_tokens=4 + 2 * row) for row, log_mel in enumerate(log_mels)]
    loaded = LoadedWhisper(model, None, "random", "0")
    options = DecodingOptions(temperatures=(0.0, 0.6), word_timestamps=True, seek=False)
    with WhisperEngine(loaded, options, n_slots=12, threads=1) as engine:
        together = engine.decode(windows)
        backwards = engine.decode(windows[::-1])[::-1]
        alone = [engine.decode([window])[0] for window in windows[::7]]
    assert together == backwards
    assert together[::7] == alone
    passes = [one.decoded for passes in together for one in passes]
    assert len({len(one.tokens) for one in passes}) > 5, "they must end at different steps"
    assert any(one.temperature > 0 for one in passes)
