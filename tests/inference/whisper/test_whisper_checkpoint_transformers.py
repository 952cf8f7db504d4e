"""Whisper checkpoints as transformers saves them, made on the spot and converted on load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from aircheck.inference.whisper.weights.checkpoint import CheckpointError, load, n_mels
from support.pickles import Runs
from support.whisper_models import CPU, log_mel

SPECIAL = {"pad_token_id": 50257, "bos_token_id": 50257, "eos_token_id": 50257, "decoder_start_token_id": 50258}


def transformers_whisper(n_mels: int, n_vocab: int) -> WhisperForConditionalGeneration:
    """Of random weights, large enough that outputs differ from token to token."""
    torch.manual_seed(n_mels)
    config = WhisperConfig(
        vocab_size=n_vocab,
        num_mel_bins=n_mels,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        init_std=0.3,
        **SPECIAL,
    )
    model = WhisperForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():  # biases and norms start at 0 and 1: mix-ups would not show
        if name.endswith("bias") or "layer_norm" in name:
            torch.nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=0.2)
    model.generation_config = GenerationConfig(no_timestamps_token_id=n_vocab - 1502, **SPECIAL)
    return model


@pytest.fixture(scope="module", params=[(80, 51864), (80, 51865), (128, 51866)], ids=["english", "v2", "v3"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A transformers model and the folder it was saved to."""
    model = transformers_whisper(*request.param)
    folder = tmp_path_factory.mktemp("saved") / "my-whisper-1.0"
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of its own, to break."""
    transformers_whisper(80, 51865).save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


@torch.inference_mode()
def greedy(logits: Any, start: Tensor, steps: int) -> list[int]:
    tokens = start
    for _ in range(steps):
        tokens = torch.cat([tokens, logits(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return tokens[0].tolist()


@torch.inference_mode()
def test_the_converted_model_computes_what_transformers_computes(pair: Any) -> None:
    theirs, folder = pair
    loaded = load(str(folder), CPU, torch.float32)
    ours = loaded.model
    assert loaded.name == "my-whisper-1.0"
    assert loaded.tokenizer.encoding.n_vocab == theirs.config.vocab_size
    assert n_mels(str(folder)) == theirs.config.num_mel_bins == ours.dims.n_mels
    samples = np.random.default_rng(3).normal(0, 0.1, 48_000).astype(np.float32)
    mel = log_mel(samples, ours.dims.n_mels)[None]
    audio = theirs.model.encoder(mel).last_hidden_state
    assert torch.allclose(ours.encoder(mel), audio, atol=1e-4)
    assert audio.std() > 0.1
    tokens = torch.tensor([[*loaded.tokenizer.sot_sequence, 50, 500, 5000, 50000]])
    logits = theirs(encoder_outputs=(audio,), decoder_input_ids=tokens).logits
    assert torch.allclose(ours.decoder(tokens, audio), logits, atol=2e-4)
    assert logits.std() > 0.1
    start = tokens[:, :1]
    said = greedy(lambda given: ours.decoder(given, audio), start, 30)
    assert said == greedy(lambda given: theirs(encoder_outputs=(audio,), decoder_input_ids=given).logits, start, 30)
    assert len(set(said)) > 3


def test_weights_in_several_files_are_joined(pair: Any, tmp_path: Path) -> None:
    model, folder = pair
    model.save_pretrained(tmp_path / "shards", max_shard_size="1MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    whole, shards = (load(str(path), CPU, torch.float32) for path in (folder, tmp_path / "shards"))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, shards.model.state_dict()[name]), name
    next((tmp_path / "shards").glob("*.safetensors")).unlink()
    refused(tmp_path / "shards", "model.safetensors.index.json", "not there")


def test_the_version_follows_from_the_weights(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    transformers_whisper(128, 51866).save_pretrained(tmp_path / "other")
    one, copy, other = (load(str(tmp_path / name), CPU, torch.float32).version for name in ("hf", "copy", "other"))
    assert one == copy != other


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        load(str(folder), CPU, torch.float32)
    for word in (str(folder), *words):
        assert word in str(raised.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_without_a_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(folder, "config.json", "save_pretrained")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bart"}, ["model_type 'bart'", "Whisper"]),
        ({"activation_function": "relu"}, ["activation_function 'relu'", "gelu"]),
        ({"scale_embedding": True}, ["scale_embedding True"]),
        ({"max_source_positions": 750}, ["n_audio_ctx 750"]),
        ({"num_mel_bins": 128}, ["encoder.conv1.weight", "[32, 128, 3]"]),
        ({"decoder_layers": 4}, ["lacks", "decoder.blocks.3"]),
        ({"vocab_size": 51866}, ["<|notimestamps|>", "50364", "added"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_that_openai_whisper_cannot_follow_is_refused(
    folder: Path, changes: dict[str, Any], words: list[str]
) -> None:
    edit(folder / "config.json", **changes)
    refused(folder, *words)


def test_an_output_layer_of_its_own_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    table = weights["model.decoder.embed_tokens.weight"]
    save_file(weights | {"proj_out.weight": table.clone()}, folder / "model.safetensors")
    load(str(folder), CPU, torch.float32)  # stored, but the same
    save_file(weights | {"proj_out.weight": table + 1}, folder / "model.safetensors")
    refused(folder, "proj_out", "embed_tokens")


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(folder, "truncated")


def test_weights_that_are_not_numbers_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.encoder.conv1.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    refused(folder, "encoder.conv1.bias", "NaN")


def test_pickled_weights_are_refused_unread_and_ignored_beside_safetensors(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"model.encoder.conv1.bias": Runs(made)}, folder / "pytorch_model.bin")
    load(str(folder), CPU, torch.float32)
    (folder / "model.safetensors").unlink()
    refused(folder, "pytorch_model.bin", "never read", "save_pretrained")
    assert not made.exists()


def test_alignment_heads_come_with_the_generation_config(folder: Path) -> None:
    heads = [[1, 0], [2, 1]]
    edit(folder / "generation_config.json", alignment_heads=heads)
    found = load(str(folder), CPU, torch.float32).model.alignment_heads.indices().T.tolist()
    assert found == heads
    edit(folder / "generation_config.json", alignment_heads=[[7, 0]])
    refused(folder, "alignment_heads")
