"""Reads openai-whisper checkpoints: the embedded one, an official name, or a file.

A file is either openai-whisper's own format (`.pt`: a dict with `dims` and `model_state_dict`) or the same state dict
as safetensors, with the dims as JSON under `dims` in the metadata and, if it has one, its `version`.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import whisper
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

EMBEDDED = "embedded"

_OFFICIAL_WITH_128_MELS = {"large-v3", "large", "large-v3-turbo", "turbo"}
_HASH_DIGITS = 12  # of the sha256, where a checkpoint does not name its version


class CheckpointError(Exception):
    """A Whisper checkpoint is missing or is not what it should be; the message names it and the remedy."""


@dataclass(frozen=True)
class LoadedWhisper:
    """A Whisper model ready to run.

    model : on its device, in evaluation mode; matrices in the dtype asked for, layer norms and positions in fp32
    tokenizer : fits the model's vocabulary (its language is a placeholder for a multilingual model)
    name : "embedded", the official name, or the file's stem
    version : the one the checkpoint names, otherwise the beginning of its file's sha256
    """

    model: Whisper
    tokenizer: Tokenizer
    name: str
    version: str


@dataclass(frozen=True)
class _Checkpoint:
    dims: Mapping[str, Any]
    state: Mapping[str, Tensor]
    version: str | None  # None where the file does not name it


def load(name_or_path: str, device: torch.device, dtype: torch.dtype, *, embedded: Path | None = None) -> LoadedWhisper:
    """Load a Whisper checkpoint.

    name_or_path : "embedded", one of `whisper.available_models()` (downloaded once by openai-whisper's own code, to
        its cache folder), or the path of a `.pt` or `.safetensors` file
    embedded : the file that "embedded" stands for

    Raises CheckpointError.
    """
    if name_or_path == EMBEDDED:
        if embedded is None:
            raise CheckpointError(f"whisper '{EMBEDDED}': no embedded checkpoint here; give an official name or a path")
        name, model, version = EMBEDDED, *_from_file(embedded)
    elif name_or_path in whisper.available_models():
        name, model, version = name_or_path, *_official(name_or_path)
    else:
        path = Path(name_or_path)
        name, model, version = path.stem, *_from_file(path)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            module.to(dtype)
    model.to(device).eval().requires_grad_(False)
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages, task="transcribe")
    return LoadedWhisper(model, tokenizer, name, version)


def n_mels(name_or_path: str, *, embedded: Path | None = None) -> int:
    """Mel bands that a checkpoint hears (80, or 128 from large-v3 on), without loading its weights.

    Takes what `load` takes. Raises CheckpointError.
    """
    if name_or_path in whisper.available_models():
        return 128 if name_or_path in _OFFICIAL_WITH_128_MELS else 80
    path = embedded if name_or_path == EMBEDDED and embedded is not None else Path(name_or_path)
    dims = _read(path, with_weights=False).dims
    if not isinstance(dims.get("n_mels"), int):
        raise CheckpointError(f"{path}: its dims hold no number 'n_mels'; is it an openai-whisper checkpoint?")
    return int(dims["n_mels"])


def _official(name: str) -> tuple[Whisper, str]:
    try:
        model = whisper.load_model(name, device="cpu")
    except (OSError, RuntimeError) as error:  # no network, no space, a broken download
        raise CheckpointError(
            f"whisper '{name}': openai-whisper could not download it ({error}); check the network, or fetch the .pt "
            f"file elsewhere and give its path"
        ) from error
    sha256 = whisper._MODELS[name].split("/")[-2]  # openai-whisper keeps each file's checksum in its address
    return model, sha256[:_HASH_DIGITS]


def _from_file(path: Path) -> tuple[Whisper, str]:
    checkpoint = _read(path)
    return _build(path, checkpoint), checkpoint.version or _sha256(path)


def _read(path: Path, with_weights: bool = True) -> _Checkpoint:
    if not path.is_file():
        raise CheckpointError(
            f"whisper '{path}': neither a file nor a known model; use '{EMBEDDED}', the path of a .pt or .safetensors "
            f"file, or one of: {', '.join(whisper.available_models())}"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path, with_weights)
    if path.suffix == ".pt":
        return _read_pt(path)
    raise CheckpointError(f"{path}: a Whisper checkpoint is a .pt or a .safetensors file, not '{path.suffix}'")


def _read_safetensors(path: Path, with_weights: bool) -> _Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if with_weights else ()
            state = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); is it truncated?") from error
    try:
        dims = json.loads(metadata["dims"])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path}: its metadata holds no 'dims' (JSON of openai-whisper's ModelDimensions); if it is a transformers "
            f"checkpoint, use the openai-whisper one instead"
        ) from error
    return _Checkpoint(dims, state, metadata.get("version"))


def _read_pt(path: Path) -> _Checkpoint:
    try:
        # mapped where the format allows it (every file since torch 1.6), so that reading the dims alone stays cheap
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable file of plain tensors ({type(error).__name__}); is it truncated, or a whole "
            f"pickled model?"
        ) from error
    if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
        raise CheckpointError(f"{path}: holds no 'dims' and 'model_state_dict'; is it an openai-whisper checkpoint?")
    return _Checkpoint(content["dims"], content["model_state_dict"], None)


def _build(path: Path, checkpoint: _Checkpoint) -> Whisper:
    try:
        model = Whisper(ModelDimensions(**checkpoint.dims))
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: its dims are not openai-whisper's ModelDimensions: {error}") from error
    # some writers also store what is computed anew with every model, such as the causal mask
    computed = {name for name, _ in model.named_buffers()} - model.state_dict().keys()
    try:
        model.load_state_dict({name: tensor for name, tensor in checkpoint.state.items() if name not in computed})
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its tensors do not fit its dims; is it a Whisper checkpoint? {error}"
        ) from error
    return model


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_HASH_DIGITS]
