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


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The function of each item, in their order; each has an equal share of the caller's torch threads."""
    n_threads = torch.get_num_threads()
    if len(items) <= 1 or n_threads == 1:
        return [function(item) for item in items]
    share = max(1, n_threads // len(items))

    def run(item: Item) -> Result:
        torch.set_num_threads(share)  # of this thread
        with torch.inference_mode():
            return function(item)

    try:
        return list(_pool(n_threads).map(run, items))
    finally:
        torch.set_num_threads(n_threads)  # a thread that starts later takes over what was set last


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="side-by-side")
