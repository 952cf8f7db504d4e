"""A CTranslate2 Whisper folder (what faster-whisper loads), read as what openai-whisper would have saved.

The folder holds `model.bin`, or the same bytes cut into `model.bin.part1`, `model.bin.part2` and so on, and a
`config.json` with the alignment heads. The file is little-endian
(https://github.com/OpenNMT/CTranslate2/blob/master/python/ctranslate2/specs/model_spec.py, `_serialize`):

    u32 version, string spec, u32 revision, u32 n_variables
    n_variables × (string name, u8 rank, rank × u32 dims, u8 dtype, u32 n_bytes, n_bytes of data)
    u32 n_aliases, n_aliases × (string alias, string variable)

A string is its u16 length, the closing NUL included, and its bytes. The folder is read as data, never as code.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

WEIGHTS = "model.bin"
_PARTS = f"{WEIGHTS}.part"
_CONFIG = "config.json"
_SPEC = "WhisperSpec"
_VERSIONS = range(4, 7)  # the layout above; earlier ones store the size of an item instead of its dtype
_GELU = 3  # `ctranslate2::ops::ActivationType::GELU`
_DTYPES: tuple[type[np.generic], ...] = (np.float32, np.int8, np.int16, np.int32, np.float16)

_NAMES = [  # variables of a layer, in encoder and decoder alike, under openai-whisper's names
    (r"/layer_(\d+)/", r".blocks.\1."),
    (r"/layer_norm/gamma$", "/layer_norm/weight"),
    (r"/layer_norm/beta$", "/layer_norm/bias"),
    (r"self_attention/layer_norm/", "attn_ln."),
    (r"self_attention/linear_1/", "attn.out."),
    (r"self_attention/", "attn/"),
    (r"\.attention/layer_norm/", ".cross_attn_ln."),
    (r"\.attention/linear_0/", ".cross_attn.query."),
    (r"\.attention/linear_2/", ".cross_attn.out."),
    (r"\.attention/", ".cross_attn/"),
    (r"ffn/layer_norm/", "mlp_ln."),
    (r"ffn/linear_0/", "mlp.0."),
    (r"ffn/linear_1/", "mlp.2."),
    (r"^encoder/layer_norm/", "encoder.ln_post."),
    (r"^decoder/layer_norm/", "decoder.ln."),
    (r"/position_encodings/encodings$", "/positional_embedding"),
    (r"^decoder/embeddings/", "decoder.token_embedding."),
]
_JOINED = {"attn/linear_0/": ("query", "key", "value"), "cross_attn/linear_1/": ("key", "value")}


@dataclass(frozen=True)
class _Variable:
    """Where a tensor lies in the file."""

    shape: tuple[int, ...]
    dtype: type[np.generic]
    offset: int
    n_bytes: int


def weight_files(folder: Path) -> list[Path]:
    """The files that make up `model.bin`, in order; none where there is no such file."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    parts = [path for path in folder.glob(f"{_PARTS}*") if path.name.removeprefix(_PARTS).isdigit()]
    return sorted(parts, key=lambda path: int(path.name.removeprefix(_PARTS)))


def sha256(files: Sequence[Path]) -> str:
    """The hexadecimal digest of the joined bytes."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def dims(files: Sequence[Path]) -> dict[str, int]:
    """openai-whisper's dims, from the file's index alone. Raises ValueError that says what is wrong with it."""
    with _Joined(files) as source:
        index = _index(source)
        _check_network(source, index)
        shape = {name: variable.shape for name, variable in index.items()}
        try:
            n_state, n_mels, _ = shape["encoder/conv1/weight"]
            n_vocab, n_text_state = shape["decoder/embeddings/weight"]
            return {
                "n_mels": n_mels,
                "n_audio_ctx": shape["encoder/position_encodings/encodings"][0],
                "n_audio_state": n_state,
                "n_audio_head": _scalar(source, index["encoder/num_heads"]),
                "n_audio_layer": _n_layers(index, "encoder"),
                "n_vocab": n_vocab,
                "n_text_ctx": shape["decoder/position_encodings/encodings"][0],
                "n_text_state": n_text_state,
                "n_text_head": _scalar(source, index["decoder/num_heads"]),
                "n_text_layer": _n_layers(index, "decoder"),
            }
        except KeyError as error:
            raise ValueError(f"its {WEIGHTS} lacks the variable {error}; convert the checkpoint again") from None
        except ValueError as error:
            raise ValueError(f"its {WEIGHTS} holds variables of another shape than Whisper's ({error})") from None


def state(files: Sequence[Path]) -> dict[str, Tensor]:
    """The weights under openai-whisper's names, in fp32. Raises ValueError that says what is wrong with them."""
    found: dict[str, Tensor] = {}
    with _Joined(files) as source:
        index = _index(source)
        for name in index:
            if name.endswith(("/weight", "/bias", "/gamma", "/beta", "/encodings")):
                found |= _renamed(name, _dequantized(source, index, name))
    return found


def alignment_heads(folder: Path) -> list[tuple[int, int]] | None:
    """(layer, head) of the heads that `config.json` names; None where it names none. Raises ValueError."""
    if not (folder / _CONFIG).is_file():
        return None
    try:
        config: Any = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        heads = config.get("alignment_heads")
        return [(int(layer), int(head)) for layer, head in heads] if heads else None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"its {_CONFIG} cannot be read ({error}); copy the whole folder") from error


class _Joined:
    """Several files as one, for reading at any offset."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._paths = files
        self._files: list[BinaryIO] = []
        self._sizes = [path.stat().st_size for path in files]
        self.size = sum(self._sizes)

    def __enter__(self) -> _Joined:
        self._files = [path.open("rb") for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Raises ValueError beyond the end."""
        if offset + n_bytes > self.size:
            raise ValueError(f"its {WEIGHTS} ends after {self.size} bytes, in the middle of a tensor; is it truncated?")
        parts = []
        for file, size in zip(self._files, self._sizes, strict=True):
            if n_bytes and offset < size:
                file.seek(offset)
                parts.append(file.read(min(n_bytes, size - offset)))
                offset, n_bytes = offset + len(parts[-1]), n_bytes - len(parts[-1])
            offset -= size
        return b"".join(parts)


class _Cursor:
    """Reads the small fields of the file one after another."""

    def __init__(self, source: _Joined) -> None:
        self._source, self.offset = source, 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        n_bytes = struct.calcsize(f"<{layout}")
        values = struct.unpack(f"<{layout}", self._source.read(self.offset, n_bytes))
        self.offset += n_bytes
        return values

    def string(self) -> str:
        (n_bytes,) = self.unpack("H")
        raw = self._source.read(self.offset, n_bytes)
        self.offset += n_bytes
        return raw.rstrip(b"\0").decode("utf-8", errors="replace")


def _index(source: _Joined) -> dict[str, _Variable]:
    cursor = _Cursor(source)
    (version,) = cursor.unpack("I")
    if version not in _VERSIONS:
        raise ValueError(
            f"its {WEIGHTS} is of CTranslate2's format {version}; known are {_VERSIONS[0]} to {_VERSIONS[-1]}"
        )
    if (spec := cursor.string()) != _SPEC:
        raise ValueError(f"its {WEIGHTS} holds a '{spec}', not a '{_SPEC}'; is it a Whisper checkpoint?")
    _, n_variables = cursor.unpack("II")
    return dict(_variable(source, cursor) for _ in range(n_variables))


def _variable(source: _Joined, cursor: _Cursor) -> tuple[str, _Variable]:
    name = cursor.string()
    (rank,) = cursor.unpack("B")
    shape = cursor.unpack(f"{rank}I")
    code, n_bytes = cursor.unpack("BI")
    if code >= len(_DTYPES):
        raise ValueError(f"its variable {name} has the dtype {code}, which is not one of CTranslate2's")
    dtype = _DTYPES[code]
    if math.prod(shape) * np.dtype(dtype).itemsize != n_bytes:
        raise ValueError(f"its variable {name} has {n_bytes} bytes, but the shape {list(shape)}; is the file damaged?")
    variable = _Variable(shape, dtype, cursor.offset, n_bytes)
    cursor.offset += n_bytes
    if cursor.offset > source.size:
        raise ValueError(f"its {WEIGHTS} ends within the variable {name}; is it truncated, or is a part missing?")
    return name, variable


def _check_network(source: _Joined, index: Mapping[str, _Variable]) -> None:
    """openai-whisper's network cannot be told these: a checkpoint that has them otherwise computes something else."""
    for name, expected in (("decoder/activation", _GELU), ("decoder/pre_norm", 1), ("decoder/alibi", 0)):
        if name in index and (found := _scalar(source, index[name])) != expected:
            raise ValueError(f"its {WEIGHTS} says {name} {found}, not {expected}; is it a Whisper checkpoint?")


def _n_layers(index: Mapping[str, _Variable], part: str) -> int:
    return 1 + max((int(at[1]) for name in index if (at := re.match(rf"{part}/layer_(\d+)/", name))), default=-1)


def _scalar(source: _Joined, variable: _Variable) -> int:
    return int(_array(source, variable).reshape(-1)[0])


def _array(source: _Joined, variable: _Variable) -> np.ndarray:
    raw = bytearray(source.read(variable.offset, variable.n_bytes))  # writable: torch shares it
    return np.frombuffer(raw, variable.dtype).reshape(variable.shape)


def _dequantized(source: _Joined, index: Mapping[str, _Variable], name: str) -> Tensor:
    """fp32; an integer weight is divided by its scale, one for each output row or one for all."""
    array = _array(source, index[name])
    tensor = torch.from_numpy(array).float()
    if not np.issubdtype(array.dtype, np.integer):
        return tensor
    if f"{name}_scale" not in index:
        raise ValueError(f"its variable {name} is {array.dtype}, but has no {name}_scale; convert the checkpoint again")
    scale = torch.from_numpy(_array(source, index[f"{name}_scale"]).astype(np.float32))
    if scale.numel() not in (1, len(tensor)):
        raise ValueError(f"its variable {name} has {len(tensor)} rows, but {scale.numel()} scales")
    return tensor / scale.reshape(-1, *[1] * (tensor.ndim - 1))


def _renamed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One variable as openai-whisper's tensors: query, key and value are joined there."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    for joined, parts in _JOINED.items():
        if joined in name:
            prefix = joined.split("/")[0]
            return dict(_parts(name.replace(joined, f"{prefix}.{{}}."), parts, tensor))
    return {name.replace("/", "."): tensor}


def _parts(name: str, parts: Sequence[str], tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Keys have no bias in openai-whisper: it would change nothing, and is zero here."""
    if len(tensor) % len(parts):
        raise ValueError(f"its variable for {name.format('+'.join(parts))} has {len(tensor)} rows, which do not split")
    for part, rows in zip(parts, tensor.chunk(len(parts)), strict=True):
        if not (part == "key" and name.endswith("bias")):
            yield name.format(part), rows.clone()
