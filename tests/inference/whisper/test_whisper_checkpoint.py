"""Loading checkpoints, and what is said of those that cannot be loaded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from safetensors.torch import save_file
from torch import nn
from whisper.model import LayerNorm, Whisper

from aircheck.inference.whisper.weights.checkpoint import CheckpointError, load, n_mels
from support.pickles import Runs
from support.whisper_models import (
    CPU,
    decoded,
    log_mel,
    random_whisper,
    save_pt,
    save_safetensors,
    state_of,
    tiny_whisper,
)


@pytest.fixture(scope="module")
def model() -> Whisper:
    return random_whisper(n_mels=80, n_vocab=51865, n_state=16)


@pytest.mark.parametrize("save", [save_pt, save_safetensors])
def test_a_checkpoint_of_either_format_is_loaded_whole(save: object, model: Whisper, tmp_path: Path) -> None:
    path = save(model, tmp_path / ("my.pt" if save is save_pt else "my.safetensors"))  # type: ignore[operator]
    loaded = load(str(path), CPU, torch.float32)
    assert loaded.name == "my"
    assert loaded.model.dims == model.dims
    assert not loaded.model.training
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert loaded.tokenizer.encoding.n_vocab == model.dims.n_vocab


def test_matrices_take_the_dtype_and_layer_norms_stay_in_fp32(model: Whisper, tmp_path: Path) -> None:
    loaded = load(str(save_pt(model, tmp_path / "m.pt")), CPU, torch.bfloat16).model
    for module in loaded.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            assert module.weight.dtype == torch.bfloat16
        elif isinstance(module, LayerNorm):
            assert module.weight.dtype == torch.float32


def test_the_version_is_the_files_own_or_follows_from_its_content(model: Whisper, tmp_path: Path) -> None:
    named = save_safetensors(model, tmp_path / "named.safetensors", version="2.1")
    assert load(str(named), CPU, torch.float32).version == "2.1"
    one, copy = (save_safetensors(model, tmp_path / f"{name}.safetensors") for name in ("one", "copy"))
    other = save_safetensors(model, tmp_path / "other.safetensors", note="differs")
    versions = [load(str(path), CPU, torch.float32).version for path in (one, copy, other)]
    assert versions[0] == versions[1] != versions[2]


def test_a_stored_causal_mask_does_no_harm(model: Whisper, tmp_path: Path) -> None:
    state = state_of(model) | {"decoder.mask": torch.zeros(448, 448)}
    save_file(state, tmp_path / "masked.safetensors", {"dims": json.dumps(asdict(model.dims))})
    loaded = load(str(tmp_path / "masked.safetensors"), CPU, torch.float32)
    assert torch.equal(loaded.model.decoder.mask, model.decoder.mask)


def refused(path: Path | str, *words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        load(str(path), CPU, torch.float32)
    for word in (str(path), *words):
        assert word in str(raised.value)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    refused("trubo", "turbo", "large-v3", ".safetensors", "CTranslate2")


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_refused(name: str, model: Whisper, tmp_path: Path) -> None:
    path = tmp_path / name
    (save_pt if path.suffix == ".pt" else save_safetensors)(model, path)
    path.write_bytes(path.read_bytes()[:1000])
    refused(path, "truncated")


@pytest.mark.parametrize("name", ["empty.pt", "empty.safetensors"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    refused(path, "truncated")


def test_a_pickled_model_is_refused_unread(model: Whisper, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "whole.pt")
    refused(tmp_path / "whole.pt", "pickled")


@pytest.mark.parametrize("zipped", [True, False], ids=["since-torch-1.6", "before"])
def test_code_in_a_pickle_is_refused_and_not_run(model: Whisper, tmp_path: Path, zipped: bool) -> None:
    made, path = tmp_path / "made", tmp_path / "trojan.pt"
    content = {"dims": asdict(model.dims), "model_state_dict": state_of(model), "extra": Runs(made)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, "never run", "model_state_dict")
    with pytest.raises(CheckpointError, match=r"trojan\.pt"):
        n_mels(str(path))
    assert not made.exists()
    torch.load(path, weights_only=False)  # the file does hold what it should
    assert made.exists()


def test_a_state_that_is_not_tensors_is_refused(model: Whisper, tmp_path: Path) -> None:
    torch.save({"dims": asdict(model.dims), "model_state_dict": [1, 2]}, tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "model_state_dict", "tensors")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    refused(path, ".onnx", ".safetensors")


def test_a_file_without_dims_is_refused(model: Whisper, tmp_path: Path) -> None:
    save_file(state_of(model), tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", "dims", "transformers")
    torch.save(state_of(model), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "dims", "model_state_dict")


def test_incomplete_dims_are_refused(model: Whisper, tmp_path: Path) -> None:
    save_file(state_of(model), tmp_path / "dims.safetensors", {"dims": '{"n_mels": 80}'})
    refused(tmp_path / "dims.safetensors", "ModelDimensions", "n_audio_ctx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_vocab": 52000}, ["n_vocab 52000", "51866"]),
        ({"n_audio_ctx": 750}, ["n_audio_ctx 750", "1500"]),
        ({"n_audio_head": 3}, ["n_audio_head 3", "multiple"]),
        ({"n_text_state": 32}, ["n_text_state 32", "equal"]),
        ({"n_text_layer": 0}, ["n_text_layer 0", "positive"]),
        ({"n_mels": "80"}, ["n_mels '80'", "positive"]),
        ({"n_mels": 128}, ["encoder.conv1.weight", "[16, 80, 3]", "[16, 128, 3]"]),
        ({"n_text_layer": 3}, ["lacks", "decoder.blocks.2."]),
        ({"n_text_layer": 1}, ["holds a tensor decoder.blocks.1."]),
    ],
    ids=lambda value: "-".join(f"{name}-{number}" for name, number in value.items()) if type(value) is dict else "",
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_dims_that_fit_neither_whisper_nor_the_tensors_are_refused(
    model: Whisper, tmp_path: Path, suffix: str, change: dict[str, object], words: list[str]
) -> None:
    dims, path = asdict(model.dims) | change, tmp_path / f"dims{suffix}"
    if suffix == ".pt":
        torch.save({"dims": dims, "model_state_dict": state_of(model)}, path)
    else:
        save_file(state_of(model), path, {"dims": json.dumps(dims)})
    refused(path, *words)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(model: Whisper, tmp_path: Path, value: float) -> None:
    state = state_of(model)
    state["decoder.blocks.0.mlp.0.bias"][3] = value
    save_file(state, tmp_path / "nan.safetensors", {"dims": json.dumps(asdict(model.dims))})
    refused(tmp_path / "nan.safetensors", "decoder.blocks.0.mlp.0.bias", "NaN", "again")


def test_whole_numbers_are_no_weights(model: Whisper, tmp_path: Path) -> None:
    state = {name: tensor.to(torch.int8) for name, tensor in state_of(model).items()}
    save_file(state, tmp_path / "int8.safetensors", {"dims": json.dumps(asdict(model.dims))})
    refused(tmp_path / "int8.safetensors", "int8", "floating point")


@pytest.mark.parametrize("n_vocab", [51865, 51866])
def test_an_own_checkpoint_is_decoded_as_openai_whisper_decodes_it(tmp_path: Path, n_vocab: int) -> None:
    """Other dims, 128 mels, multilingual tokens, in openai-whisper's own format."""
    path = save_pt(random_whisper(n_mels=128, n_vocab=n_vocab, n_state=32), tmp_path / "mine.pt")
    samples = np.random.default_rng(5).normal(0, 0.1, (2, 64_000)).astype(np.float32)
    mels = torch.stack([log_mel(row, n_mels=128) for row in samples])
    theirs = whisper.load_model(str(path), device="cpu").decode(mels, whisper.DecodingOptions(fp16=False))
    ours = decoded(load(str(path), CPU, torch.float32).model, mels)
    assert [list(window.tokens) for window in ours] == [result.tokens for result in theirs]
    assert [window.language for window in ours] == [result.language for result in theirs]
    assert all(len(window.tokens) > 2 for window in ours)


def test_missing_surplus_and_misshapen_tensors_are_refused(model: Whisper, tmp_path: Path) -> None:
    name = "encoder.conv1.weight"
    for state in (
        {key: tensor for key, tensor in state_of(model).items() if key != name},
        state_of(model) | {"extra": torch.zeros(1)},
        state_of(model) | {name: torch.zeros(3)},
    ):
        save_file(state, tmp_path / "bad.safetensors", {"dims": json.dumps(asdict(model.dims))})
        refused(tmp_path / "bad.safetensors", name if "extra" not in state else "extra")


@pytest.mark.parametrize(("name", "bands"), [("tiny.en", 80), ("base", 80), ("turbo", 128), ("large-v3", 128)])
def test_the_mel_bands_of_official_models_are_known_without_a_download(name: str, bands: int) -> None:
    assert n_mels(name) == bands


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_mel_bands_of_a_file_are_read_from_its_dims(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    (save_pt if suffix == ".pt" else save_safetensors)(tiny_whisper(n_mels=128, n_vocab=51866), path)
    assert n_mels(str(path)) == 128
