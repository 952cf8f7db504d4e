"""Rows in, rows out: joins the requests of one Triton `execute` call into a batch and splits results again.

A request of a batching model carries a leading dimension of rows (one for a clip sent alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def rows(requests: Sequence[Any], name: str) -> tuple[np.ndarray, list[int]]:
    """All rows of input `name` over `requests`: the rows joined on axis 0, and how many each request brought.

    Requests are `pb_utils.InferenceRequest`s of one shape beyond axis 0, which is what Triton batches together.
    """
    import triton_python_backend_utils as pb_utils  # only there inside Triton

    parts = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
    return np.concatenate(parts) if len(parts) > 1 else parts[0], [len(part) for part in parts]


def split(values: Sequence[T], counts: Sequence[int]) -> list[Sequence[T]]:
    """The inverse of `rows`: consecutive slices of `values` with the given lengths."""
    if len(values) != sum(counts):
        raise ValueError(f"{len(values)} rows cannot be split into {sum(counts)}")
    ends = np.cumsum(counts)
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]


def texts(tensor: np.ndarray) -> list[str]:
    """A STRING tensor's elements as text. Bytes that are no UTF-8 become U+FFFD: hostile input must not raise here."""
    return [
        value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value) for value in tensor.flat
    ]


def strings(values: Sequence[str]) -> np.ndarray:
    """Text as a STRING tensor of shape [rows, 1]."""
    return np.array([value.encode() for value in values], dtype=object).reshape(-1, 1)
