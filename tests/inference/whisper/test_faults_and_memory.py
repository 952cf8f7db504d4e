"""How many slots the memory holds, and what happens when the GPU is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from whisper.model import ModelDimensions

from aircheck.inference.whisper.scheduling import memory
from aircheck.inference.whisper.scheduling.faults import EXIT_CODE, end_process_if_sticky
from aircheck.inference.whisper.scheduling.memory import available_bytes, default_slots, reserved_bytes
from aircheck.inference.whisper.scheduling.model_runner import EAGER, GRAPHED
from support.whisper_models import CPU

GIB = 2**30
BASE = ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
LARGE = ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32)


def with_available(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: n_bytes)


def test_a_core_has_eight_slots_where_memory_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_available(monkeypatch, 64 * GIB)
    assert default_slots(BASE, CPU, torch.float32, 2, EAGER) == 16
    assert default_slots(BASE, CPU, torch.float32, 16, EAGER) == 128


def test_little_memory_bounds_the_slots_and_one_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with_available(monkeypatch, 2 * GIB)
    few = default_slots(BASE, CPU, torch.float32, 16, EAGER)
    assert 1 < few < 128
    with_available(monkeypatch, 2**20)
    assert default_slots(BASE, CPU, torch.float32, 16, EAGER) == 1


def test_a_gpu_keeps_memory_for_encoded_windows_activations_and_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """large-v3 on a card with 16 GiB left: 32 encoded windows are 7.9 GB."""
    reserved = reserved_bytes(LARGE, torch.bfloat16, GRAPHED, 1)
    encoded, captured = 32 * 2 * 32 * 1280 * 1500 * 2, (1 + 4 + 16) * (128 * 3000 * 4 + 1500 * 1280 * 2)
    assert reserved > encoded + captured
    one_size = replace(GRAPHED, encode_sizes=(16,))
    assert reserved - reserved_bytes(LARGE, torch.bfloat16, one_size, 1) == captured * 5 / 21
    with_available(monkeypatch, 16 * GIB)
    n_slots = default_slots(LARGE, torch.device("cuda"), torch.bfloat16, 1, GRAPHED)
    per_slot = 2 * 32 * 1280 * (256 + 1500) * 2
    assert n_slots * per_slot + reserved < 16 * GIB


def test_page_cache_counts_as_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MemFree is small on any machine that has been up for a while."""
    report = SimpleNamespace(free=300 * 2**20, available=12 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: report)
    assert available_bytes(CPU, tmp_path) == 12 * GIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_bounds_what_is_available(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    names = {
        1: (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
        2: ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    }[version]
    (tmp_path / "memory").mkdir()
    for name, text in zip(names, (f"{4 * GIB}", f"{3 * GIB}", f"anon 5\n{names[3]} {GIB}\n"), strict=False):
        (tmp_path / name).write_text(text + "\n")
    assert available_bytes(CPU, tmp_path) == 2 * GIB
    (tmp_path / names[0]).write_text("max\n")
    assert available_bytes(CPU, tmp_path) == 64 * GIB


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), False),
        (RuntimeError("CUDA error: invalid argument"), False),
        (ValueError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_a_lost_gpu_ends_the_process_and_nothing_else_does(error: Exception, is_lost: bool) -> None:
    ended: list[int] = []
    end_process_if_sticky(error, ended.append)
    assert ended == ([EXIT_CODE] if is_lost else [])
