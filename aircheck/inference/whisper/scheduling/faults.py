"""Faults of a GPU after which no kernel of the process will ever run again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import torch

_log = logging.getLogger(__name__)

EXIT_CODE = 70  # EX_SOFTWARE

# https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html: "leaves the process in an inconsistent state
# and any further CUDA work will return the same error"
_STICKY = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "hardware stack error",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc error",
    "context is destroyed",
)


def is_sticky(error: BaseException) -> bool:
    """Whether the CUDA context is lost. Out of memory is not: the next window may fit."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return False
    message = str(error).lower()
    return "cuda" in message and any(phrase in message for phrase in _STICKY)


def end_process_if_sticky(error: BaseException, end: Callable[[int], object] = os._exit) -> None:
    """End the process, which would otherwise answer every request with an error while it calls itself ready."""
    if is_sticky(error):
        _log.critical("this process can use the GPU no more (%s); it ends so that it can be restarted", error)
        end(EXIT_CODE)
