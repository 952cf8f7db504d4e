"""The comparison of engines is fair by construction: same tokens, same work, a roofline that counts what is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
import whisper.model as whisper_model
from torch.utils.flop_counter import FlopCounterMode
from whisper.model import ModelDimensions, Whisper

from benchmarks import roofline
from benchmarks.baselines import weights
from benchmarks.baselines.windows import LENGTHS, forced_lengths
from benchmarks.baselines.worker import Job, work
from benchmarks.throughput_report import add_roofline, markdown, summary

SMALL = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=64,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=weights.MULTILINGUAL,
    n_text_ctx=448,
    n_text_state=64,
    n_text_head=2,
    n_text_layer=2,
)
FORCED = [5, 23, 9, 14, 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model in every engine's format whose package is here, and five windows of noise."""
    found = tmp_path_factory.mktemp("engines")
    quantisations = ("int8", "float32") if _has_faster_whisper() else ()
    weights.write(weights.random_model(SMALL, 0), found, quantisations=quantisations)
    noise = np.random.default_rng(0).standard_normal((len(FORCED), SMALL.n_mels, 3000), dtype=np.float32)
    np.save(found / "log_mels.npy", noise)
    return found


def _has_faster_whisper() -> bool:
    try:
        import faster_whisper  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _job(folder: Path, engine: str, **changes: Any) -> Job:
    job = {
        "engine": engine,
        "model": str(folder),
        "log_mels": str(folder / "log_mels.npy"),
        "lengths": FORCED,
        "threads": torch.get_num_threads(),
        "slots": 2,
        "dtype": "fp32",
        "device": "cpu",
    }
    return Job(**job | changes)


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [("ours", "fp32"), ("ours", "bf16"), ("ours-static", "fp32"), ("openai-whisper", "fp32"), ("transformers", "fp32")],
)
def test_each_window_gets_the_tokens_that_are_forced(folder: Path, engine: str, dtype: str) -> None:
    outcome = work(_job(folder, engine, dtype=dtype))
    assert [one["n_tokens"] for one in outcome.decoded] == FORCED


@pytest.mark.parametrize("engine", ["openai-whisper-batch", "faster-whisper-int8", "faster-whisper-fp32"])
def test_engines_of_one_length_a_batch_are_charged_with_its_mean(folder: Path, engine: str) -> None:
    if engine.startswith("faster"):
        pytest.importorskip("faster_whisper", reason="a baseline: pip install -e '.[baselines]'")
    outcome = work(_job(folder, engine))
    assert [one["n_tokens"] for one in outcome.decoded] == [14, 14, 12, 12, 7]  # of [5, 23], [9, 14], [7]
    assert any("mean" in note for note in outcome.notes)


def test_the_same_weights_say_the_same_in_every_format(tmp_path: Path) -> None:
    model = weights.random_model(SMALL, 0, ends_after=20)
    for block in model.decoder.blocks:
        block.cross_attn.out.weight *= 30  # what is heard matters, so that saying the same means something
    with_baseline = _has_faster_whisper()
    weights.write(model, tmp_path, quantisations=("float32",) if with_baseline else ())
    pitch = np.sin(np.arange(80)[None, :, None] * (np.arange(5)[:, None, None] + 1) * 0.3)
    noise = np.random.default_rng(0).standard_normal((5, 80, 3000))
    np.save(tmp_path / "log_mels.npy", (noise + 3 * pitch).astype(np.float32))
    names = ["openai-whisper", "ours", "transformers", *(["faster-whisper-fp32"] if with_baseline else [])]
    texts = {name: [one["text"] for one in work(_job(tmp_path, name, lengths=None)).decoded] for name in names}
    assert len(set(texts["openai-whisper"])) == 5
    assert texts["ours"] == texts["openai-whisper"]
    for name in names[2:]:
        # sums in another order may tip a token of one window
        assert sum(a == b for a, b in zip(texts["ours"], texts[name], strict=True)) >= 4


def test_ours_gives_no_text_where_nobody_speaks(folder: Path, tmp_path: Path) -> None:
    log_mels, samples = tmp_path / "log_mels.npy", tmp_path / "samples.npz"
    np.save(log_mels, np.zeros((2, SMALL.n_mels, 3000), np.float32))
    np.savez(samples, **{name: np.zeros(16_000, np.float32) for name in ("0", "1")})
    outcome = work(_job(folder, "ours", lengths=None, repeats=0, log_mels=str(log_mels), samples=str(samples)))
    assert outcome.gated == ["", ""]
    assert len(outcome.decoded) == 0


def test_random_weights_can_end_by_themselves_and_pass_the_tests_of_fallback() -> None:
    model = weights.random_model(SMALL, 0, ends_after=20)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 80, 3000), dtype=np.float32))
    for result in whisper.decode(model, noise, whisper.DecodingOptions(language="en", fp16=False)):
        assert len(result.tokens) == 20
        assert result.compression_ratio < 2.4
        assert result.avg_logprob > -1
        assert result.no_speech_prob < 0.6


@pytest.mark.parametrize("n_windows", [16, 64, 500])
def test_forced_lengths_keep_their_mean_for_any_count_of_windows(n_windows: int) -> None:
    lengths = forced_lengths(n_windows, seed=1)
    assert len(lengths) == n_windows
    assert 61 <= sum(lengths) / n_windows <= 66
    assert LENGTHS["least"] <= min(lengths) < 30
    assert 120 < max(lengths) <= LENGTHS["most"]
    assert lengths == forced_lengths(n_windows, seed=1)
    assert lengths != forced_lengths(n_windows, seed=2)


def _counted(model: Whisper, n_tokens: int) -> tuple[int, int]:
    """FLOPs that torch counts in encoding one window, and in decoding one token after another from one."""
    with whisper_model.disable_sdpa(), torch.inference_mode():
        with FlopCounterMode(display=False) as encoding:
            features = model.encoder(torch.zeros(1, 80, 3000))
        cache, hooks = model.install_kv_cache_hooks()
        with FlopCounterMode(display=False) as decoding:
            for _ in range(n_tokens):
                model.decoder(torch.zeros(1, 1, dtype=torch.long), features, kv_cache=cache)
        for hook in hooks:
            hook.remove()
    return encoding.get_total_flops(), decoding.get_total_flops()


def test_the_roofline_counts_the_flops_that_torch_counts() -> None:
    encoder, decoder = _counted(weights.random_model(SMALL, 0), n_tokens=7)
    assert roofline.encoder_cost(SMALL, 1, 1, "fp32").flops == encoder
    assert roofline.decoder_cost(SMALL, [7], 1, 1, "fp32").flops == decoder


def test_the_roofline_reads_every_weight_once_a_batch_and_once_a_step() -> None:
    model = weights.random_model(SMALL, 0)

    def matrices(module: torch.nn.Module) -> int:
        return sum(p.numel() for name, p in module.named_parameters() if p.ndim > 1 and "positional" not in name)

    alone, shared = (roofline.encoder_cost(SMALL, 4, batch, "fp32").n_bytes for batch in (1, 4))
    assert alone - shared == 3 * 4 * matrices(model.encoder)  # four readings against one
    one_slot, two_slots = (roofline.decoder_cost(SMALL, [3, 3], slots, 1, "fp32").n_bytes for slots in (1, 2))
    audio_keys = SMALL.n_text_layer * 2 * SMALL.n_text_state**2
    per_step = matrices(model.decoder) - audio_keys
    assert one_slot - two_slots == 4 * (3 * per_step + audio_keys)
    assert (
        roofline.decoder_cost(SMALL, [3], 1, 1, "bf16").n_bytes * 2
        == roofline.decoder_cost(SMALL, [3], 1, 1, "fp32").n_bytes
    )


def test_the_roofline_is_the_slower_of_arithmetic_and_memory() -> None:
    rates = roofline.Rates("cpu", 2, fp32_flops_per_s=100.0, bf16_flops_per_s=400.0, bytes_per_s=10.0)
    assert rates.least_s(roofline.Cost(800.0, 20.0), "fp32") == 8.0
    assert rates.least_s(roofline.Cost(800.0, 20.0), "bf16") == 2.0
    assert rates.least_s(roofline.Cost(800.0, 90.0), "bf16") == 9.0
    assert rates.best_dtype() == "bf16"
    emulated = roofline.Rates("cpu", 2, 100.0, None, 10.0)
    assert emulated.best_dtype() == "fp32"
    with pytest.raises(ValueError, match="no rate"):
        emulated.least_s(roofline.Cost(1.0, 1.0), "bf16")


def test_ratios_and_shares_say_how_much_faster_ours_is() -> None:
    engines: list[dict[str, Any]] = [
        {"engine": "ours", "best_s": 2.0, "tokens": 40, "peak_memory_mib": 1},
        {"engine": "openai-whisper", "best_s": 10.0, "tokens": 40, "peak_memory_mib": 1},
        {"engine": "ours-static", "best_s": 3.0, "tokens": 40, "peak_memory_mib": 1},
        {"engine": "ours-encoder", "best_s": 1.0, "tokens": 0, "peak_memory_mib": 1},
        {"engine": "transformers", "error": "did not finish"},
    ]
    item = {"weights": "random", "shape": "tiny", "lengths": [20, 20], "slots": 2, **summary(SMALL, 2, engines)}
    rates = roofline.Rates("cpu", 2, 1e11, None, 1e10)
    add_roofline(item, rates)
    assert engines[0]["audio_s_per_s"] == 30.0
    assert engines[1]["ours_is_times_as_fast"] == 5.0
    assert item["in_flight"]["times_static_end_to_end"] == 1.5
    assert item["in_flight"]["times_static_decoder_only"] == 2.0
    assert engines[0]["share_of_roofline"] == pytest.approx(5 * engines[1]["share_of_roofline"], rel=0.02)
    encoder_s = roofline.encoder_cost(SMALL, 2, 2, "fp32").flops / 1e11
    assert engines[3]["share_of_roofline"] == pytest.approx(encoder_s / 1.0, abs=1e-4)
    conditions = {
        "cpu": "a CPU",
        "instruction_sets": [],
        "threads": 2,
        "memory_gib": 1,
        "gpu": None,
        "date": "2026-01-01",
        "versions": {},
        "command": "python -m benchmarks.throughput",
    }
    table = markdown({"conditions": conditions, "rates": rates.as_dict(), "runs": [item]})
    assert "| openai-whisper | 6.0 | 0.20 | 5.00× |" in table
    assert "| transformers | failed: did not finish |" in table
