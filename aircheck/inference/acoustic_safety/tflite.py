"""A TensorFlow Lite audio classifier, such as YAMNet's `yamnet.tflite`, slid over the window by LiteRT.

The file is data: a graph of LiteRT's built-in operators and, in the zip at its end, the list of its labels (TensorFlow
Lite's metadata). LiteRT runs on the CPU; it is installed by the extra `litert`.
"""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aircheck.inference.acoustic_safety.classifier import SAMPLE_RATE
from aircheck.inference.acoustic_safety.errors import LabelMapError, WeightsError
from aircheck.inference.acoustic_safety.label_map import LabelMap
from aircheck.inference.acoustic_safety.sliding import SlidingClassifier

SUFFIX = ".tflite"


class TfliteAcousticClassifier(SlidingClassifier):
    """One input of fp32 [samples] or [1, samples] at 16 kHz, one output of a probability for each label."""

    def __init__(self, path: Path, labels: LabelMap, interpreter: Any) -> None:
        """Raises `WeightsError` when the file is another kind of model, `LabelMapError` when the labels do not fit."""
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        names = label_list(path)
        shape = [int(size) for size in inputs[0]["shape"]]
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32 or shape[:-1] not in ([], [1]):
            raise WeightsError(f"{path}: its input is {shape}, {inputs[0]['dtype'].__name__}; fp32 samples are wanted")
        if int(outputs[0]["shape"][-1]) != len(names):
            raise WeightsError(f"{path}: gives {outputs[0]['shape'][-1]} scores and lists {len(names)} labels")
        if labels.activation != "sigmoid":
            raise LabelMapError("activation must be sigmoid: a .tflite classifier gives probabilities itself")
        self._samples = shape[-1]
        if round(labels.window_s * SAMPLE_RATE) != self._samples:
            raise LabelMapError(f"window_s is {labels.window_s:g}; {path.name} hears {self._samples / SAMPLE_RATE:g} s")
        self._interpreter, self._shape = interpreter, shape
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        with path.open("rb") as file:
            version = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        super().__init__(path.stem, version, dict(enumerate(names)), labels, str(path))
        self._try(str(path), "use a model of LiteRT's built-in operators")

    @classmethod
    def load(cls, path: Path, label_map: Path) -> TfliteAcousticClassifier:
        """Raises `WeightsError`, `LabelMapError`."""
        labels = LabelMap.load(label_map)
        try:
            litert = importlib.import_module("ai_edge_litert.interpreter")
        except ImportError as error:
            raise WeightsError(f"{path}: LiteRT is not installed; pip install 'aircheck[litert]'") from error
        try:
            interpreter = litert.Interpreter(str(path), num_threads=1)
        except ValueError as error:
            raise WeightsError(f"{path}: not a readable .tflite file ({error})") from error
        try:
            return cls(path, labels, interpreter)
        except LabelMapError as error:
            raise LabelMapError(f"{label_map}: {error}") from error

    def _label_scores(self, clips: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = []
        for clip in clips:
            self._interpreter.set_tensor(self._input, clip.astype(np.float32).reshape(self._shape))
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output).reshape(-1).copy())
        return np.stack(rows)


def label_list(path: Path) -> list[str]:
    """The labels in a .tflite file's metadata, a text file with one a line. Raises `WeightsError`."""
    try:
        with zipfile.ZipFile(path) as metadata:
            files = [name for name in metadata.namelist() if name.endswith(".txt")]
            text = metadata.read(files[0]).decode("utf-8") if len(files) == 1 else ""
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path}: no list of labels in its metadata ({error}); use a file that carries one, as MediaPipe's do"
        ) from error
    if not text:
        raise WeightsError(f"{path}: its metadata holds {files or 'no list of labels'}; one .txt is wanted")
    return text.splitlines()
