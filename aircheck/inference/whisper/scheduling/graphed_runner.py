"""The model runner for a GPU: steps as CUDA graphs, the encoder on a stream of its own, reports read two steps late.

A decoder step is many small kernels, and launching them one by one takes longer than running them. A graph launches
them as one, for shapes fixed when it was captured; so the slots in use and the longest text are rounded up to one of a
few shapes (buckets). Rows beyond the slots in use decode what was left there, and nobody reads it.

Off a GPU the same functions run uncaptured, which is how they are tested without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.decoding.decoder import LENGTH_MULTIPLE, StepDecoder
from aircheck.inference.whisper.decoding.options import DecodingOptions
from aircheck.inference.whisper.scheduling.model_runner import EncodedWindow, Encoder, ModelRunner, StepReport, round_up

_MIN_SLOTS = 8
_WARM_UPS = 2  # runs before a capture: libraries choose their kernels and allocate then


@dataclass(frozen=True)
class CapturedStep:
    """A decoder step of fixed shapes, with every tensor that it reads or writes.

    A graph holds addresses, not tensors: an input that nobody holds is freed, and the replays then read whatever the
    allocator has put there since.

    inputs : what the step reads beside the slots' own state and caches
    report : [4, n], which the next replay overwrites
    """

    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]
    report: Tensor

    def __call__(self) -> Tensor:
        self.replay()
        return self.report


class GraphedRunner(ModelRunner):
    """A model runner whose steps and encodings overlap with each other and with the host."""

    lag = 2
    encode_ahead = encode_batch = 16

    def __init__(
        self,
        model: Whisper,
        options: DecodingOptions,
        n_slots: int,
        encoder: Encoder | None = None,
        decoder: StepDecoder | None = None,
    ) -> None:
        super().__init__(model, options, n_slots, encoder, decoder)
        self._is_cuda = self.device.type == "cuda"
        self._encoding = torch.cuda.Stream(self.device) if self._is_cuda else None
        self._pool = torch.cuda.graph_pool_handle() if self._is_cuda else None
        self._steps: dict[tuple[int, int, bool], CapturedStep] = {}

    def encode(self, log_mels: Sequence[np.ndarray | Tensor]) -> list[EncodedWindow]:
        """Starts encoding and returns; the keys and values are there when their `ready` event has passed."""
        if self._encoding is None:
            return super().encode(log_mels)
        batch = torch.stack([torch.as_tensor(log_mel) for log_mel in log_mels]).pin_memory()
        with torch.cuda.stream(self._encoding):
            audio_features = self._encoder.encode(batch.to(self.device, non_blocking=True))
            encoded = [self._decoder.cross_kv(audio) for audio in audio_features]
            ready = torch.cuda.Event()
            ready.record()
        return [EncodedWindow(cross_kv, ready) for cross_kv in encoded]

    def admit(self, slot: int, window: EncodedWindow) -> None:
        if window.ready is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(window.ready)
            window.cross_kv.record_stream(stream)
        super().admit(slot, window)

    def step(self, positions: Sequence[int], sampling: Sequence[int]) -> StepReport:
        n = bucket(len(positions), self.n_slots)
        length = min(round_up(max(positions) + 1, LENGTH_MULTIPLE), self._n_positions)
        shape = n, length, bool(sampling)
        if shape not in self._steps:
            self._steps[shape] = self._captured(*shape)
        chosen = self._steps[shape]()[:, : len(positions)]
        return self._to_host(chosen)

    def _captured(self, n: int, length: int, samples: bool) -> CapturedStep:
        """A step of fixed shapes for the first n slots."""
        rows = torch.arange(n, device=self.device)

        def step() -> Tensor:
            logits = self._decoder.step(self._state.tokens[:n], self._state.positions[:n], self._cache, length)
            return self._rules.choose(logits, self._state, starting=rows, sampling=rows if samples else None)

        replay, report = self._capture(step)
        return CapturedStep(replay, (rows,), report)

    def _capture(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record a step: what runs it again, and the tensor that each run writes its report to."""
        if not self._is_cuda:
            return _uncaptured(step)
        state = {name: tensor.clone() for name, tensor in vars(self._state).items()}
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                step()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        for name, before in state.items():  # warm-ups must not count; the keys and values they wrote get overwritten
            getattr(self._state, name).copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            report = step()  # recorded, not run
        return graph.replay, report

    def _to_host(self, chosen: Tensor) -> StepReport:
        if not self._is_cuda:
            return StepReport(chosen.clone())
        host = torch.empty(chosen.shape, dtype=chosen.dtype, pin_memory=True)
        host.copy_(chosen, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return StepReport(host, copied)


def _uncaptured(step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """A step that runs as it is, with a graph's contract: one report, overwritten by each run."""
    report = torch.empty(0)

    def replay() -> None:
        chosen = step()
        report.resize_(chosen.shape).copy_(chosen)

    return replay, report


def bucket(n: int, n_slots: int) -> int:
    """n rounded up to a power of two, at least 8 and at most the number of slots."""
    return min(n_slots, max(_MIN_SLOTS, 1 << (n - 1).bit_length()))
