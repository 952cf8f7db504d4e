"""The least time that transcription can take on a machine: its arithmetic and its memory traffic, at measured rates.

    roofline = max(FLOPs / measured matmul rate, bytes / measured bandwidth)

FLOPs count every matrix product and convolution of Whisper's network (two a multiply-add), and nothing else: no
softmax, no layer norm, no GELU. Bytes count what has to come from memory if every read is shared as well as it can be:
weights once for each batch of encoded windows and once for each step of all slots, the cross-attention keys and values
of a window once for each of its tokens, its self-attention keys and values as far as they are filled. What a cache of
the CPU keeps costs nothing in truth, so the memory side bounds models well beyond the cache, not tiny ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from whisper.audio import N_FRAMES
from whisper.model import ModelDimensions

from aircheck.hardware import has_fast_bf16

_KERNEL = 3  # width of both convolutions


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and bytes moved."""

    flops: float
    n_bytes: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.n_bytes + other.n_bytes)


@dataclass(frozen=True)
class Rates:
    """What the machine does, measured. bf16_flops_per_s is None where its bf16 is emulated."""

    device: str
    threads: int
    fp32_flops_per_s: float
    bf16_flops_per_s: float | None
    bytes_per_s: float

    def best_dtype(self) -> str:
        """The dtype with the fastest products: the roofline is the machine's, whatever an engine computes in."""
        return "bf16" if (self.bf16_flops_per_s or 0.0) > self.fp32_flops_per_s else "fp32"

    def least_s(self, cost: Cost, dtype: str) -> float:
        """Seconds below which `cost` cannot be done in `dtype`, "fp32" or "bf16"."""
        flops_per_s = self.bf16_flops_per_s if dtype == "bf16" else self.fp32_flops_per_s
        if not flops_per_s:
            raise ValueError(f"no rate was measured for {dtype} on this machine")
        return max(cost.flops / flops_per_s, cost.n_bytes / self.bytes_per_s)

    def best_of(self, other: Rates) -> Rates:
        """The higher of each rate: other work on the machine only ever lowers one."""
        bf16 = max(self.bf16_flops_per_s or 0.0, other.bf16_flops_per_s or 0.0) or None
        fp32 = max(self.fp32_flops_per_s, other.fp32_flops_per_s)
        return Rates(self.device, self.threads, fp32, bf16, max(self.bytes_per_s, other.bytes_per_s))

    def as_dict(self) -> dict[str, str | int | float | None]:
        return asdict(self)


def bytes_of(dtype: str) -> int:
    """Bytes of a number in "fp32" or "bf16"."""
    return {"fp32": 4, "bf16": 2, "fp16": 2}[dtype]


def encoder_cost(dims: ModelDimensions, n_windows: int, batch: int, dtype: str) -> Cost:
    """Encoding `n_windows` windows of 30 s, `batch` at a time.

    FLOPs a window, of n states, a positions and m mels: convolutions 2·3·m·n·2a + 2·3·n·n·a; each layer
    2·(4 + 8)·n²·a for its projections and MLP, and 2·2·a²·n for its attention.
    """
    n, a, size = dims.n_audio_state, dims.n_audio_ctx, bytes_of(dtype)
    convolutions = 2 * _KERNEL * (dims.n_mels * n * N_FRAMES + n * n * a)
    layer = 2 * 12 * n * n * a + 2 * 2 * a * a * n
    weights = _KERNEL * (dims.n_mels * n + n * n) + dims.n_audio_layer * 12 * n * n
    in_and_out = dims.n_mels * N_FRAMES + a * n
    return Cost(
        flops=n_windows * (convolutions + dims.n_audio_layer * layer),
        n_bytes=size * (weights * n_windows / batch + in_and_out * n_windows),
    )


def decoder_cost(dims: ModelDimensions, lengths: Sequence[int], slots: int, n_prompt: int, dtype: str) -> Cost:
    """Decoding windows of these numbers of sampled tokens, in `slots` slots that are never empty.

    A window of L sampled tokens feeds n_prompt + L - 1 positions. FLOPs a position and layer, of n states: 2·14·n² for
    projections and MLP, 2·2·n·t for attention to t positions of text, 2·2·n·a to the audio; 2·n·n_vocab for the logits
    of each sampled token; once a window and layer 2·2·n²·a for the keys and values of the audio.
    """
    n, a, layers, size = dims.n_text_state, dims.n_audio_ctx, dims.n_text_layer, bytes_of(dtype)
    fed = [n_prompt + length - 1 for length in lengths]
    n_fed, n_sampled = sum(fed), sum(lengths)
    self_reads = sum(count * (count + 1) / 2 for count in fed)  # 1 + 2 + … : keys seen by each position
    flops = (
        layers * (28 * n * n * n_fed + 4 * n * self_reads + 4 * n * a * n_fed + 4 * n * n * a * len(lengths))
        + 2 * n * dims.n_vocab * n_sampled
    )
    weights = layers * 14 * n * n + n * dims.n_vocab  # 2 n² a layer more, for the audio's keys, once a batch of windows
    caches = layers * 2 * n * (a * n_fed + self_reads)
    prepared = layers * (2 * n * n * len(lengths) / slots + 2 * n * a * len(lengths))
    return Cost(flops=flops, n_bytes=size * (weights * n_fed / slots + caches + prepared))


def measure(device: str, threads: int, *, quick: bool = False) -> Rates:
    """Measure the machine with `threads` threads: the best of a few big products and big triads. Takes a few seconds.

    quick : small sizes, for tests
    """
    torch.set_num_threads(threads)
    sides = (512,) if quick else (2048, 3072) if device == "cpu" else (4096, 8192)
    has_bf16 = device != "cpu" or has_fast_bf16()
    return Rates(
        device,
        threads,
        max(_matmul_rate(side, torch.float32, device) for side in sides),
        max(_matmul_rate(side, torch.bfloat16, device) for side in sides) if has_bf16 else None,
        _triad_rate(2**20 if quick else 2**26, device),
    )


def _matmul_rate(side: int, dtype: torch.dtype, device: str) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / _best_s(lambda: torch.mm(a, b, out=out), device)


def _triad_rate(n_numbers: int, device: str) -> float:
    """a = b + s·c on arrays far beyond any cache; three arrays' bytes, as STREAM counts them (McCalpin 1995)."""
    a, b, c = (torch.ones(n_numbers, device=device) for _ in range(3))
    return 3 * 4 * n_numbers / _best_s(lambda: torch.add(b, c, alpha=3.0, out=a), device)


def _best_s(work: Callable[[], object], device: str, repeats: int = 4) -> float:
    best = float("inf")
    for _ in range(repeats):
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best
