"""The seam to the device: staging, streams, events, captured steps; on a CPU, where all is immediate, and on CUDA.

Everything that the engine asks of CUDA goes through here, so that tests can put their own device in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

_WARM_UPS = 2  # runs before a capture: libraries choose their kernels and allocate then


class Event(Protocol):
    """Something that the device will have done."""

    def query(self) -> bool: ...

    def synchronize(self) -> None: ...


class HostBackend:
    """A CPU: what is asked for is done when the call returns."""

    device = torch.device("cpu")

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Around all that a worker's thread does."""
        yield

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Around the encoding of a batch."""
        yield

    def event(self) -> Event | None:
        """Passed when all that was asked for so far has been done; None where that is already so."""
        return None

    def wait(self, ready: Event | None, tensor: Tensor) -> None:
        """Let what is asked for from here on wait for the event, and keep the tensor until that is done."""

    def staging(self, shape: tuple[int, ...]) -> Tensor:
        """A host buffer in fp32 to copy batches to the device from."""
        return torch.zeros(shape)

    def to_host(self, tensor: Tensor) -> tuple[Tensor, Event | None]:
        """A copy of the tensor, and when it will be there."""
        return tensor.clone(), None

    def capture(self, step: Callable[[], Tensor], state: dict[str, Tensor]) -> Callable[[], Tensor]:
        """Record a step of fixed shapes: what runs it again and returns its result, which the next run overwrites.

        state : tensors that the step changes, to be left as they are
        """
        return step

    def synchronize(self) -> None:
        """Wait until all that was asked for has been done."""


class CudaBackend(HostBackend):
    """A GPU. The current device and stream are each thread's own: every thread that asks for work enters `worker`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # the decoder's small kernels must not wait behind the encoder's large ones: the lower number goes first
        self._decoding = torch.cuda.Stream(device, priority=-1)
        self._encoding = torch.cuda.Stream(device, priority=0)
        # graphs that share a pool share its memory, so those of two streams, which run beside each other, may not
        self._pools = {stream: torch.cuda.graph_pool_handle() for stream in (self._decoding, self._encoding)}

    @contextmanager
    def worker(self) -> Iterator[None]:
        torch.cuda.set_device(self.device)
        with torch.cuda.stream(self._decoding):
            yield

    @contextmanager
    def encoding(self) -> Iterator[None]:
        with torch.cuda.stream(self._encoding):
            yield

    def event(self) -> Event:
        event = torch.cuda.Event()
        event.record()
        return event

    def wait(self, ready: Event | None, tensor: Tensor) -> None:
        if isinstance(ready, torch.cuda.Event):
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(ready)
            tensor.record_stream(stream)

    def staging(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, pin_memory=True)

    def to_host(self, tensor: Tensor) -> tuple[Tensor, Event]:
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        return host, self.event()

    def capture(self, step: Callable[[], Tensor], state: dict[str, Tensor]) -> Callable[[], Tensor]:
        before = {name: tensor.clone() for name, tensor in state.items()}
        for _ in range(_WARM_UPS):
            step()
        for name, tensor in before.items():  # warm-ups must not count
            state[name].copy_(tensor)
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(self.device)
        with torch.cuda.graph(graph, pool=self._pools[stream], stream=stream):
            result = step()  # recorded, not run

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)


def backend_of(device: torch.device) -> HostBackend:
    return CudaBackend(device) if device.type == "cuda" else HostBackend()
