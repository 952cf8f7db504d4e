"""Whisper models and their input, for tests."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from safetensors.torch import save_file
from torch import Tensor, nn
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions
from aircheck.inference.whisper.scheduling.model_runner import ModelRunner
from aircheck.inference.whisper.scheduling.scheduler import Scheduler
from aircheck.inference.whisper.scheduling.sequence import Window
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper

CPU = torch.device("cpu")


def random_whisper(n_mels: int, n_vocab: int, n_state: int = 64) -> Whisper:
    """A tiny Whisper of random weights whose output varies: text, timestamps and ends all get said."""
    torch.manual_seed(n_mels)
    model = Whisper(ModelDimensions(n_mels, 1500, n_state, 4, 2, n_vocab, 448, n_state, 4, 2))
    embedding = model.decoder.token_embedding.weight
    # final hidden states have norm √n_state, so logits get a standard deviation of 3: the whole of the timestamps and
    # the likeliest text token are then about equally probable
    torch.nn.init.normal_(embedding, std=3 * n_state**-0.5)
    torch.nn.init.normal_(model.decoder.positional_embedding)
    n_special = 1501 + 6 + model.num_languages
    with torch.no_grad():
        embedding[n_vocab - n_special - 2] *= 2.2  # the end of text: now and then the likeliest
    for block in model.decoder.blocks:  # attention that picks frames, so that what is heard decides what is said
        for projection in (block.cross_attn.query, block.cross_attn.key, block.cross_attn.out):
            torch.nn.init.normal_(projection.weight, std=4 * n_state**-0.5)
    return model.eval().requires_grad_(False)


def random_loaded(dtype: torch.dtype = torch.float32) -> LoadedWhisper:
    """A multilingual `random_whisper` as `load` gives a checkpoint."""
    model = random_whisper(80, 51865)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            module.to(dtype)
    tokenizer = get_tokenizer(multilingual=True, num_languages=model.num_languages, task="transcribe")
    return LoadedWhisper(model, tokenizer, "random", "0")


def tiny_whisper(n_mels: int = 80, n_vocab: int = 51864, n_state: int = 16, seed: int = 0) -> Whisper:
    """The smallest useful Whisper of random weights, for what does not depend on what is said."""
    torch.manual_seed(seed)
    model = Whisper(ModelDimensions(n_mels, 1500, n_state, 2, 1, n_vocab, 448, n_state, 2, 1))
    torch.nn.init.normal_(model.decoder.positional_embedding)
    return model.eval().requires_grad_(False)


def scheduler(model: Whisper, n_slots: int = 8, **options: Any) -> Scheduler:
    """Decodes at temperature 0 only, unless told otherwise."""
    return Scheduler(ModelRunner(model, DecodingOptions(**{"temperatures": (0.0,), **options}), n_slots))


def decoded(model: Whisper, log_mels: Tensor, n_slots: int = 8, **options: Any) -> list[DecodedWindow]:
    """Every window through the slots; log_mels: [B, n_mels, 3000]."""
    return scheduler(model, n_slots, **options).decode([Window(log_mel, 30.0) for log_mel in log_mels])


def state_of(model: Whisper) -> dict[str, Tensor]:
    """Copies of the model's weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save_pt(model: Whisper, path: Path) -> Path:
    """As openai-whisper's own checkpoints."""
    torch.save({"dims": asdict(model.dims), "model_state_dict": state_of(model)}, path)
    return path


def save_safetensors(model: Whisper, path: Path, **metadata: str) -> Path:
    """As the server's own checkpoints."""
    save_file(state_of(model), path, {"dims": json.dumps(asdict(model.dims)), **metadata})
    return path


def log_mel(samples: np.ndarray, n_mels: int = 80) -> Tensor:
    """fp32 [samples] at 16 kHz -> [n_mels, 3000]"""
    return whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), n_mels)
