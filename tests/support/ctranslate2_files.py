"""CTranslate2 Whisper folders as its converter writes them, from openai-whisper models."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor
from whisper.model import Whisper

Precision = Literal["fp32", "fp16", "int8"]
DTYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def save_ctranslate2(
    model: Whisper,
    folder: Path,
    precision: Precision = "fp32",
    n_parts: int = 1,
    alignment_heads: list[tuple[int, int]] | None = None,
    spec: str = "WhisperSpec",
    version: int = 6,
) -> Path:
    """Write `model.bin`, or its bytes cut into `n_parts`, and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = encode(variables(model, precision), spec, version)
    size = -(-len(content) // n_parts)
    for part in range(n_parts):
        name = "model.bin" if n_parts == 1 else f"model.bin.part{part + 1}"
        (folder / name).write_bytes(content[part * size : (part + 1) * size])
    (folder / "config.json").write_text(json.dumps({"alignment_heads": alignment_heads, "lang_ids": []}))
    return folder


def encode(arrays: Mapping[str, np.ndarray], spec: str = "WhisperSpec", version: int = 6) -> bytes:
    """The bytes of a `model.bin`."""
    parts = [struct.pack("<I", version), _string(spec), struct.pack("<II", 3, len(arrays))]
    for name, array in sorted(arrays.items()):
        parts += [_string(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", DTYPES[array.dtype.name], array.nbytes), array.tobytes()]
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    parts.append(struct.pack("<I", len(aliases)))
    parts += [_string(name) for pair in aliases.items() for name in pair]
    return b"".join(parts)


def _string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def variables(model: Whisper, precision: Precision = "fp32") -> dict[str, np.ndarray]:
    """The model's tensors under CTranslate2's names; int8 matrices have a scale for each row."""
    dims, state = model.dims, model.state_dict()
    found: dict[str, np.ndarray] = {}

    def put(name: str, tensor: Tensor, is_matrix: bool = False) -> None:
        array = tensor.detach().float().numpy()
        if precision == "int8" and is_matrix:
            scale = 127 / np.abs(array).max(axis=1)
            found[f"{name}_scale"] = scale.astype(np.float32)
            found[name] = np.rint(array * scale[:, None]).astype(np.int8)
        else:
            found[name] = array.astype(np.float16 if precision == "fp16" else np.float32)

    def linear(name: str, *sources: str) -> None:
        weights = [state[f"{source}.weight"] for source in sources]
        biases = [
            state.get(f"{source}.bias", weight.new_zeros(len(weight)))
            for source, weight in zip(sources, weights, strict=True)
        ]
        put(f"{name}/weight", weights[0].new_tensor(np.concatenate([w.numpy() for w in weights])), is_matrix=True)
        put(f"{name}/bias", biases[0].new_tensor(np.concatenate([b.numpy() for b in biases])))

    def norm(name: str, source: str) -> None:
        put(f"{name}/gamma", state[f"{source}.weight"])
        put(f"{name}/beta", state[f"{source}.bias"])

    for side, n_layers, n_heads in (
        ("encoder", dims.n_audio_layer, dims.n_audio_head),
        ("decoder", dims.n_text_layer, dims.n_text_head),
    ):
        found[f"{side}/num_heads"] = np.array(n_heads, np.int16)
        put(f"{side}/position_encodings/encodings", state[f"{side}.positional_embedding"])
        norm(f"{side}/layer_norm", "encoder.ln_post" if side == "encoder" else "decoder.ln")
        for layer in range(n_layers):
            ours, theirs = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.attn_ln")
            linear(f"{theirs}/self_attention/linear_0", *(f"{ours}.attn.{part}" for part in ("query", "key", "value")))
            linear(f"{theirs}/self_attention/linear_1", f"{ours}.attn.out")
            if side == "decoder":
                norm(f"{theirs}/attention/layer_norm", f"{ours}.cross_attn_ln")
                linear(f"{theirs}/attention/linear_0", f"{ours}.cross_attn.query")
                linear(f"{theirs}/attention/linear_1", f"{ours}.cross_attn.key", f"{ours}.cross_attn.value")
                linear(f"{theirs}/attention/linear_2", f"{ours}.cross_attn.out")
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")
            linear(f"{theirs}/ffn/linear_0", f"{ours}.mlp.0")
            linear(f"{theirs}/ffn/linear_1", f"{ours}.mlp.2")
    for conv in ("conv1", "conv2"):
        put(f"encoder/{conv}/weight", state[f"encoder.{conv}.weight"])
        put(f"encoder/{conv}/bias", state[f"encoder.{conv}.bias"])
    put("decoder/embeddings/weight", state["decoder.token_embedding.weight"], is_matrix=True)
    for flag in ("decoder/scale_embeddings", "encoder/pre_norm", "decoder/pre_norm"):
        found[flag] = np.array(0 if flag.endswith("embeddings") else 1, np.int8)
    for side in ("encoder", "decoder"):
        found[f"{side}/activation"] = np.array(3, np.int8)  # GELU
    return found
