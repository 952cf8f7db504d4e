"""Where a model computes: the setting, or the device that Triton gave its instance."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from aircheck.cores import usable_cores


def select_device(setting: str, instance: Mapping[str, str]) -> torch.device:
    """The device for a model instance.

    `setting` is "auto", "cpu" or "cuda[:n]"; `instance` is the `args` of a Triton Python model's `initialize`
    (`model_instance_kind`, `model_instance_device_id`). Raises RuntimeError when a GPU is asked for and none is usable.
    """
    if setting == "auto":
        if instance.get("model_instance_kind") != "GPU":
            return torch.device("cpu")
        setting = f"cuda:{instance['model_instance_device_id']}"
    device = torch.device(setting)
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"device '{setting}' is wanted, but torch sees no usable GPU: update the NVIDIA driver (CUDA 13 needs 580 "
            "or newer), or set AIRCHECK_DEVICE=cpu"
        )
    return torch.device("cuda", device.index or 0)


def cpu_has_fast_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices itself; without, they take several times as long as fp32 ones."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it itself; else fp16 on a GPU and fp32 on a CPU."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_has_fast_bf16() else torch.float32


def bf16_products(device: torch.device) -> torch.autocast:
    """A context in which matrix products are taken in bfloat16, where the device does that itself.

    For networks whose scores do not suffer from it; that is tested.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_dtype(device) is torch.bfloat16)


def cpu_threads(setting: int) -> int:
    """CPU threads for Whisper, or for a model that has the machine to itself: the setting, or for 0 one per core that
    this process may run on.
    """
    return setting or usable_cores()


def side_threads(setting: int, device: torch.device) -> int:
    """CPU threads for a model beside Whisper: the setting, or for 0 one per eight cores, or all of them beside a GPU.

    On a CPU none needs more than an eighth of Whisper's time, and threads that wait for each other on busy cores are
    lost to all: with one thread each instead of two, two cores classified 1.1 times as many windows.
    """
    return setting or -(-cpu_threads(0) // (8 if device.type == "cpu" else 1))
