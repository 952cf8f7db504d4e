"""What the text and the acoustic classifier share in loading a transformers checkpoint.

Weights come from safetensors only and no code of a checkpoint is run. What would only fail, or answer at random, once
requests come is refused here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

_TRAINING_ONLY = ("masked_spec_embed",)  # weights that a checkpoint may lack, because only training uses them


class UnusableError(ValueError):
    """What is wrong with a checkpoint, and the remedy; who catches it says which checkpoint."""


def load_model(auto_class: Any, name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The model, in `dtype` on the CPU and in evaluation mode.

    auto_class : which of transformers' Auto classes, for example `AutoModelForAudioClassification`
    name : a folder, or a hub name that transformers finds in its cache or downloads

    Raises UnusableError.
    """
    try:
        model, report = auto_class.from_pretrained(
            name,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
        )
    except Exception as error:  # a folder that is not what it should be makes transformers raise anything
        raise UnusableError(f"cannot be loaded ({type(error).__name__}: {error}){_hint(Path(name))}") from error
    if misshapen := sorted(report["mismatched_keys"]):
        tensor, found, wanted = misshapen[0]
        raise UnusableError(
            f"its tensor {tensor} has the shape {list(found)}, but its config.json wants {list(wanted)}; save the "
            "model and its config again, together"
        )
    if missing := sorted(key for key in report["missing_keys"] if not key.endswith(_TRAINING_ONLY)):
        raise UnusableError(
            f"its weights lack {missing[0]}{_more(missing)}, so it would answer at random; choose a checkpoint "
            "fine-tuned for classification, or save it again whole"
        )
    broken = [key for key, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise UnusableError(
            f"its tensor {broken[0]}{_more(broken)} holds NaN or infinity; did its training diverge? Use another"
        )
    return model.eval().requires_grad_(False)


def try_out(scores: Callable[[], np.ndarray], task: str, remedy: str) -> None:
    """Asks a loaded model once: what fails there would fail at every request.

    task : what is asked of it, after "cannot"
    remedy : what to check when it fails

    Raises UnusableError.
    """
    try:
        found = scores()
    except Exception as error:  # whatever a model raises whose parts do not fit together
        raise UnusableError(f"cannot {task} ({type(error).__name__}: {error}); {remedy}") from error
    if not np.isfinite(found).all():
        raise UnusableError(f"cannot {task}: it answers with NaN; its weights are unusable, use others")


def version(model: PreTrainedModel, name: str) -> str:
    """The hub's commit, or the first twelve digits of the SHA-256 of a local checkpoint's weights."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted(Path(name).glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _hint(folder: Path) -> str:
    """What a folder lacks, where it can be seen."""
    if not folder.is_dir():
        return ""
    if not (folder / "config.json").is_file():
        return "; the folder holds no config.json"
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    if not weights and pickles:
        return f"; the folder holds {pickles[0]}, a pickle, which is never read: save it again with save_pretrained"
    return "" if weights else "; the folder holds no model.safetensors"
