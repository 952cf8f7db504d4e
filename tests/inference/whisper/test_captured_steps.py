"""What a captured step reads must outlive the capture. A GPU would read freed memory; here the storages are watched."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.scheduling.graphed_runner import GraphedRunner
from support.whisper_models import tiny_whisper


class Inputs(TorchDispatchMode):
    """The storages that the operators of a step read and did not make themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[StorageWeakRef] = []
        self._made: list[Tensor] = []  # held, so that no address is used twice

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = {tensor.untyped_storage().data_ptr() for tensor in self._made}
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in made:
                self.read.append(StorageWeakRef(leaf.untyped_storage()))
        result = operator(*args, **(kwargs or {}))
        self._made += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result


class WatchedRunner(GraphedRunner):
    """Captures by running the step once."""

    def _capture(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.inputs = Inputs()
        with self.inputs:
            report = step()
        return (lambda: None), report


@pytest.fixture(scope="module")
def model() -> Whisper:
    return tiny_whisper()


@torch.inference_mode()
@pytest.mark.parametrize("sampling", [[], [0]], ids=["greedy", "sampling"])
def test_what_a_captured_step_reads_lives_as_long_as_the_step(model: Whisper, sampling: list[int]) -> None:
    runner = WatchedRunner(model, DecodingOptions(), n_slots=4)
    runner.start([0, 1], [0.5, 0.0], [None, None])
    runner.step([0, 0], sampling)
    gc.collect()
    assert len(runner.inputs.read) > 30
    assert not any(storage.expired() for storage in runner.inputs.read), "a replay would read freed memory"
