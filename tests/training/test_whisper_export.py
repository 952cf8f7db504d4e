"""What the export writes: small, read by the server and by openai-whisper, and saying what the weights said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from safetensors import safe_open
from torch import Tensor
from whisper.model import Whisper

from aircheck.inference.whisper.token_table import SCALE, TABLE
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper, from_path, load
from support.speech import speak
from support.whisper_models import CPU, EMBEDDED_CHECKPOINT, decoded, log_mel, save_safetensors, tiny_whisper
from training.whisper.export import mean_weights, save

LINES = [
    ("the old house at the end of the street has been sold twice", "en-us"),
    ("she bought bread milk and a bottle of water", "en-us+f3"),
    ("there were seven people waiting in the small room", "en-gb-x-rp+m2"),
    ("today we talk about films food and the news of the week", "en-us+m2"),
    ("please talk to a doctor or a friend before you decide", "en-us+f2"),
    ("we will shoot the last scene on thursday morning", "en-gb-scotland+m3"),
    ("nobody knew where the money had gone", "en-us+m1"),
    ("it will rain in the north and stay dry in the south", "en-us+f4"),
]


def export(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "training.whisper.export", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded weights, exported again with both formats."""
    folder = tmp_path_factory.mktemp("export")
    said = export(
        EMBEDDED_CHECKPOINT, "--out", folder / "out.safetensors", "--version", "9.9", "--pt", folder / "out.pt"
    )
    assert "version 9.9" in said
    return folder


@pytest.fixture(scope="module")
def windows() -> Tensor:
    """[8, 80, 3000]"""
    return torch.stack([log_mel(speak(text, voice)) for text, voice in LINES])


def tokens_of(loaded: LoadedWhisper, windows: Tensor) -> list[tuple[int, ...]]:
    return [window.tokens for window in decoded(loaded.model, windows)]


def test_the_file_is_small_and_says_what_it_is(exported: Path) -> None:
    path = exported / "out.safetensors"
    assert path.stat().st_size <= 30e6
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert file.get_slice(TABLE).get_dtype() == "I8"
        assert file.get_slice(SCALE).get_shape() == file.get_slice(TABLE).get_shape()[:1]
        others = {file.get_slice(name).get_dtype() for name in set(file.keys()) - {TABLE, SCALE}}
    assert others == {"F16"}
    assert metadata["format"] == "token_embedding: int8 rows"
    assert metadata["version"] == "9.9"
    assert metadata["recipe"] == "training/whisper"
    assert json.loads(metadata["dims"])["n_vocab"] == 51864


def test_speech_is_heard_as_before_with_an_int8_token_table(exported: Path, windows: Tensor, tmp_path: Path) -> None:
    state, dims = mean_weights([EMBEDDED_CHECKPOINT])
    save(state, dims, tmp_path / "fp16.safetensors", "fp16")
    plain = load(str(tmp_path / "fp16.safetensors"), CPU, torch.float32)
    small = load(str(exported / "out.safetensors"), CPU, torch.float32)
    before, after = tokens_of(plain, windows), tokens_of(small, windows)
    same = sum(a == b for one, other in zip(before, after, strict=True) for a, b in zip(one, other, strict=False))
    share = same / max(sum(map(len, before)), sum(map(len, after)))
    tokens = torch.tensor([[*plain.tokenizer.sot_sequence, *before[0]]])
    with torch.inference_mode():
        logits = [loaded.model(windows[:1], tokens) for loaded in (plain, small)]
    change = float((logits[0] - logits[1]).abs().max())
    print(f"identical tokens {share:.1%} of {sum(map(len, before))}, largest logit change {change:.3f}")
    assert min(map(len, before)) > 3  # something was said
    assert share >= 0.95
    assert 0 < change < 0.5


def test_whisper_itself_opens_the_pt_and_hears_the_same(exported: Path, windows: Tensor) -> None:
    model = whisper.load_model(str(exported / "out.pt"), device="cpu")
    assert isinstance(model, Whisper)
    options = whisper.DecodingOptions(language="en", fp16=False)
    heard = [result.text for result in model.decode(windows[:2], options)]
    ours = load(str(exported / "out.safetensors"), CPU, torch.float32)
    expected = [ours.tokenizer.decode(list(tokens)).strip() for tokens in tokens_of(ours, windows[:2])]
    assert heard == expected
    assert "house" in heard[0] or "street" in heard[0]


def test_several_runs_are_averaged(tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        model = tiny_whisper(n_state=16, seed=seed)
        paths.append(save_safetensors(model, tmp_path / f"{seed}.safetensors"))
    export(*paths, "--out", tmp_path / "mean.safetensors", "--version", "1", "--table", "fp16")
    first, second, mean = (from_path(path).state_dict() for path in (*paths, tmp_path / "mean.safetensors"))
    for name in mean:
        assert np.allclose(mean[name], (first[name] + second[name]) / 2, atol=1e-3, rtol=1e-3), name


def test_what_fp16_cannot_hold_is_not_exported(tmp_path: Path) -> None:
    state, dims = tiny_whisper(n_state=16).state_dict(), tiny_whisper(n_state=16).dims
    state["encoder.conv1.weight"] = state["encoder.conv1.weight"] + 1e6
    with pytest.raises(ValueError, match=r"encoder\.conv1\.weight"):
        save(state, dims, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_runs_of_different_dims_are_not_averaged(tmp_path: Path) -> None:
    paths = [save_safetensors(tiny_whisper(n_state=state), tmp_path / f"{state}.safetensors") for state in (16, 32)]
    with pytest.raises(ValueError, match=r"32\.safetensors.*dims"):
        mean_weights(paths)
