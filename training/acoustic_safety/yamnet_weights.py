"""The weights of `yamnet.tflite` under the names of `aircheck.inference.acoustic_safety`, still in 8 bits.

Needs LiteRT (`pip install 'aircheck[litert]'`), which reads the file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aircheck.inference.acoustic_safety.head import CLASSES
from aircheck.inference.acoustic_safety.tflite import label_list

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def read_yamnet(path: Path) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The trunk's tensors as the weights file holds them, and the rows [len(CLASSES), 1024] and biases of its output.

    A convolution's `weight` is int8, with a `weight_scale` for each output channel; biases and mel filters are fp32.
    """
    litert = importlib.import_module("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()  # in the order in which they run
    mel = next(item for item in details.values() if item["name"] == "mel_spectrogram")
    weights = {"mel": torch.from_numpy(interpreter.get_tensor(mel["index"]).T.copy())}
    convolutions = [item for item in operators if item["op_name"] in CONVOLUTIONS]
    for n, operator in enumerate(convolutions):
        _, kernel, bias = operator["inputs"]
        values, scales = interpreter.get_tensor(kernel), _scales(details[kernel])
        order = (0, 3, 1, 2) if operator["op_name"] == "CONV_2D" else (3, 0, 1, 2)  # -> [out, in / groups, h, w]
        weights[f"layers.{n}.weight"] = torch.from_numpy(values.transpose(order).copy())
        weights[f"layers.{n}.weight_scale"] = torch.from_numpy(scales)
        weights[f"layers.{n}.bias"] = torch.from_numpy(_values(interpreter, details[bias]))
    output = [item for item in operators if item["op_name"] == "FULLY_CONNECTED"][-1]
    _, matrix, _ = output["inputs"]
    bias = next(index for index, item in details.items() if item["name"].endswith("fc/biases"))
    labels = label_list(path)
    rows = [labels.index(name) for name in CLASSES]
    return (
        weights,
        torch.from_numpy(_values(interpreter, details[matrix])[rows]),
        torch.from_numpy(_values(interpreter, details[bias])[rows]),
    )


def _scales(detail: dict[str, Any]) -> NDArray[np.float32]:
    parameters = detail["quantization_parameters"]
    if parameters["zero_points"].any():
        raise ValueError(f"{detail['name']}: weights are not symmetric")
    return np.asarray(parameters["scales"], np.float32)


def _values(interpreter: Any, detail: dict[str, Any]) -> NDArray[np.float32]:
    """int8 or int32 by its scales, one for each of the first dimension or one in all."""
    values, scales = interpreter.get_tensor(detail["index"]), _scales(detail)
    shape = (-1, *[1] * (values.ndim - 1)) if len(scales) > 1 else (1,) * values.ndim
    return np.asarray(values * scales.reshape(shape), np.float32)
