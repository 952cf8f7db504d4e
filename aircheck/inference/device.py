"""Where a model computes: the setting, or the device that Triton gave its instance."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch


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


def cpu_threads(setting: int) -> int:
    """CPU threads for one model: the setting, or for 0 one per core that this process may run on."""
    return setting or len(os.sched_getaffinity(0))


def set_threads(setting: int) -> None:
    """Makes torch use `cpu_threads(setting)` in this process."""
    torch.set_num_threads(cpu_threads(setting))
