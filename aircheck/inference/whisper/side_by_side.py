"""Work on a CPU that goes faster side by side than one after another.

An operator on several threads ends when its last thread ends, and a network is hundreds of them; windows on a thread
each wait for nobody. On two cores, two windows of the size of `base` were encoded in 0.8 of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], n_threads: int) -> list[Result]:
    """The function of each item, in their order, a thread each; fewer items than threads are done in turn, on all."""
    if n_threads == 1 or len(items) < n_threads:
        return [function(item) for item in items]

    def run(item: Item) -> Result:
        torch.set_num_threads(1)  # of this thread
        with torch.inference_mode():
            return function(item)

    try:
        return list(_pool(n_threads).map(run, items))
    finally:
        torch.set_num_threads(n_threads)  # MKL's number is that of the whole process


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="side-by-side")
