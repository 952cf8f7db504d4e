"""Single models of a running Triton: arrays in, arrays out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tritonclient.grpc as triton

FREE_PORTS = {"grpc_port": 0, "metrics_port": 0}


class Models:
    """Single models by name: arrays in, arrays out."""

    def __init__(self, url: str):
        self.triton = triton.InferenceServerClient(url)

    def __call__(self, model: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Inputs are arrays with their leading batch dimension; lists of str become STRING tensors."""
        tensors = []
        for name, value in inputs.items():
            array = np.array([v.encode() for v in value], object)[None] if isinstance(value, list) else value
            tensors.append(triton.InferInput(name, list(array.shape), triton_type(array)))
            tensors[-1].set_data_from_numpy(array)
        result = self.triton.infer(model, tensors, client_timeout=120)
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    def statistics(self, model: str) -> tuple[int, int]:
        """(inferences, executions) of a model so far."""
        stats = self.triton.get_inference_statistics(model, as_json=True)["model_stats"][0]
        return int(stats.get("inference_count", 0)), int(stats.get("execution_count", 0))


def triton_type(array: np.ndarray) -> str:
    return {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}[array.dtype.name]


def audio(data: bytes) -> np.ndarray:
    """Encoded bytes as an AUDIO tensor of one row."""
    return np.frombuffer(data, np.uint8)[None]


def as_json(tensor: np.ndarray) -> Any:
    """The first element of a STRING tensor, parsed."""
    return json.loads(tensor.flat[0])
