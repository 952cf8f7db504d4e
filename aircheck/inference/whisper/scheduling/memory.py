"""How many decoding slots the memory holds."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from whisper.audio import N_FRAMES
from whisper.model import ModelDimensions

from aircheck.inference.whisper.decoding.kv_cache import KVCache
from aircheck.inference.whisper.scheduling.model_runner import RunnerMode, n_positions

MAX_SLOTS = {"cpu": 8, "cuda": 256}  # of a worker: a step for more takes longer in proportion
MEMORY_UTILIZATION = 0.6  # of what is available; the rest is for other processes and for fragments

_CGROUP = Path("/sys/fs/cgroup")
_FP32_BYTES = 4
_N_LIVE_LOGITS = 4  # copies of the logits in 8 bytes that sampling holds at once: Gumbel noise is hashed in int64


def default_slots(
    dims: ModelDimensions,
    device: torch.device,
    dtype: torch.dtype,
    n_workers: int,
    mode: RunnerMode,
) -> int:
    """As many slots as the available memory holds, once the model is loaded, within what is of use; at least one."""
    available = available_bytes(device) - reserved_bytes(dims, dtype, mode, n_workers)
    per_slot = KVCache.bytes_per_slot(dims, n_positions(dims, dims.n_text_ctx // 2), dtype)
    most = MAX_SLOTS[device.type] * n_workers
    return max(1, min(most, int(available * MEMORY_UTILIZATION) // per_slot))


def reserved_bytes(dims: ModelDimensions, dtype: torch.dtype, mode: RunnerMode, n_workers: int) -> int:
    """What the engine needs beside its slots: encoded windows that wait for one, activations, captured steps."""
    n_encoded = n_workers * max(1, mode.max_encoded)
    encoded = n_encoded * 2 * dims.n_text_layer * dims.n_text_state * dims.n_audio_ctx * dtype.itemsize
    # of one encoder layer: the residual, queries, keys and values, and what its MLP widens to, before and after GELU
    n_activations = dims.n_audio_ctx * dims.n_audio_state * (1 + 3 + 2 * 4)
    convolution = 2 * dims.n_audio_ctx * dims.n_audio_state  # before its stride of 2
    encoding = n_workers * mode.encode_batch * (n_activations + convolution) * dtype.itemsize
    rows = MAX_SLOTS["cuda"] if mode.is_graphed else MAX_SLOTS["cpu"] * n_workers
    logits = rows * dims.n_vocab * (_FP32_BYTES + 8 * _N_LIVE_LOGITS)
    captured = 0
    if mode.is_graphed:  # of each size: its log-mels, and the features that it leaves
        log_mel = dims.n_mels * N_FRAMES * _FP32_BYTES
        features = dims.n_audio_ctx * dims.n_audio_state * dtype.itemsize
        captured = n_workers * sum(mode.encode_sizes) * (log_mel + features)
    return encoded + encoding + logits + captured


def available_bytes(device: torch.device, cgroup: Path = _CGROUP) -> int:
    """Memory that can be allocated on the device without swapping or being killed for it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    # MemFree would leave out the page cache, which is most of a machine that has been up for a while
    return min([psutil.virtual_memory().available, *_cgroup_bytes(cgroup)])


def _cgroup_bytes(cgroup: Path) -> list[int]:
    """What the control group may still take, in version 2 or 1; page cache counts as used there, but can be dropped."""
    found = []
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            limit_bytes = int((cgroup / limit).read_text())  # ValueError for "max": no limit
            used_bytes = int((cgroup / used).read_text())
            lines = dict(line.split(maxsplit=1) for line in (cgroup / stat).read_text().split("\n") if line)
            found.append(max(0, limit_bytes - used_bytes + int(lines.get(cache, 0))))
        except (OSError, ValueError):
            continue
    return found
