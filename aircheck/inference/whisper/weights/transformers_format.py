"""A transformers `WhisperForConditionalGeneration` folder, read as what openai-whisper would have saved.

Both are the same network under other names. The folder is read as data: its JSON and its safetensors, never a pickle
and never code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

CONFIG = "config.json"
_GENERATION = "generation_config.json"
_TABLE = "decoder.token_embedding.weight"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"  # where the weights are split into several files
_SAVE = "save it with WhisperForConditionalGeneration.save_pretrained(folder)"

_DIMS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
# what openai-whisper's network cannot be told: a checkpoint that has it otherwise would compute something else
_FIXED = {"model_type": "whisper", "activation_function": "gelu", "scale_embedding": False}
_FIXED_DEFAULTS = {"activation_function": "gelu", "scale_embedding": False}

_NAMES = [
    (r"^model\.", ""),
    (r"embed_positions\.weight$", "positional_embedding"),
    (r"^decoder\.embed_tokens\.", "decoder.token_embedding."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
]


def dims(folder: Path) -> dict[str, Any]:
    """openai-whisper's dims from the folder's config. Raises ValueError that says what is wrong with it."""
    config = _json(folder / CONFIG)
    for key, value in _FIXED.items():
        if (found := config.get(key, _FIXED_DEFAULTS.get(key))) != value:
            raise ValueError(f"its {CONFIG} says {key} {found!r}, not {value!r}; is it a Whisper checkpoint?")
    if absent := sorted({theirs for theirs in _DIMS.values() if theirs not in config}):
        raise ValueError(f"its {CONFIG} lacks {', '.join(absent)}; {_SAVE}")
    _check_vocabulary(folder, config["vocab_size"])
    return {ours: config[theirs] for ours, theirs in _DIMS.items()}


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files. Raises ValueError when it has none."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).is_file():
        names = sorted(set(_json(folder / _INDEX).get("weight_map", {}).values()))
        if strange := [name for name in names if Path(name).name != name]:
            raise ValueError(f"its {_INDEX} names '{strange[0]}', which is not a file of the folder")
        if absent := [name for name in names if not (folder / name).is_file()]:
            raise ValueError(f"its {_INDEX} names {absent[0]}, which is not there; copy the whole folder")
        if names:
            return [folder / name for name in names]
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    instead = f" ({', '.join(pickles)}: pickles are never read)" if pickles else ""
    raise ValueError(f"it holds no {_WEIGHTS}{instead}; {_SAVE}")


def state(folder: Path) -> dict[str, Tensor]:
    """The weights under openai-whisper's names. Raises ValueError; SafetensorError for a file that is not readable."""
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            found |= {_renamed(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    output = found.pop("proj_out.weight", None)
    if (
        output is not None
        and _TABLE in found
        and not (output.shape == found[_TABLE].shape and output.equal(found[_TABLE]))
    ):
        raise ValueError("its proj_out differs from its embed_tokens, but Whisper uses one table for both; tie them")
    return found


def alignment_heads(folder: Path) -> Any:
    """(layer, head) pairs as `generation_config.json` has them; None where it has none. Raises ValueError."""
    if not (folder / _GENERATION).is_file():
        return None
    return _json(folder / _GENERATION).get("alignment_heads")


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _check_vocabulary(folder: Path, n_vocab: Any) -> None:
    """Refuse tokens numbered otherwise than openai-whisper's tokenizer does (for example, with tokens added)."""
    if not isinstance(n_vocab, int) or not (folder / _GENERATION).is_file():
        return
    found = _json(folder / _GENERATION).get("no_timestamps_token_id")
    expected = n_vocab - 1502  # <|notimestamps|> stands before the 1501 timestamps, which end the vocabulary
    if found is not None and found != expected:
        raise ValueError(
            f"its tokens are not Whisper's: of {n_vocab}, <|notimestamps|> should be {expected}, but its "
            f"{_GENERATION} says {found}; were tokens added?"
        )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"its {path.name} cannot be read ({error}); {_SAVE}") from error
    if not isinstance(content, dict):
        raise ValueError(f"its {path.name} is not a JSON object; {_SAVE}")
    return content
