"""Checkpoints whose token table is int8 rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from aircheck.inference.whisper.token_table import INT8_ROWS, SCALE, TABLE, quantised, restored
from aircheck.inference.whisper.weights.checkpoint import CheckpointError, load
from support.whisper_models import CPU, state_of, tiny_whisper

MODEL = tiny_whisper()


def saved(state: dict[str, Tensor], path: Path, **metadata: str) -> Path:
    save_file(state, path, {"dims": json.dumps(asdict(MODEL.dims)), **metadata})
    return path


def test_every_weight_comes_back_within_half_a_step_of_its_row(tmp_path: Path) -> None:
    state = state_of(MODEL)
    state[TABLE][7] = 0.0  # such as a token never trained
    state[TABLE][8] *= 1000  # one large row does not coarsen the others
    loaded = load(str(saved(quantised(state), tmp_path / "m.safetensors", format=INT8_ROWS)), CPU, torch.float32)
    step = state[TABLE].abs().amax(dim=1, keepdim=True) / 127
    found = loaded.model.state_dict()
    assert bool(((found[TABLE] - state[TABLE]).abs() <= step * 0.5001).all())
    assert not torch.equal(found[TABLE], state[TABLE])
    assert not found[TABLE][7].any()
    for name in state.keys() - {TABLE}:
        assert torch.equal(found[name], state[name]), name


def test_quantising_what_was_quantised_changes_nothing() -> None:
    once = quantised(state_of(MODEL))
    again = quantised(restored(once, INT8_ROWS))
    assert torch.equal(once[TABLE], again[TABLE])


@pytest.mark.parametrize("file_format", [{}, {"format": "pt"}])
def test_plain_files_are_read_as_ever(tmp_path: Path, file_format: dict[str, str]) -> None:
    state = {name: tensor.half() for name, tensor in state_of(MODEL).items()}
    loaded = load(str(saved(state, tmp_path / "m.safetensors", **file_format)), CPU, torch.float32)
    assert torch.equal(loaded.model.decoder.token_embedding.weight, state[TABLE].float())


ROWS = quantised(state_of(MODEL))
CASES = {
    "missing-scale": ({SCALE: None}, INT8_ROWS, ["lacks", SCALE]),
    "missing-table": ({TABLE: None}, INT8_ROWS, ["lacks", TABLE]),
    "too-few-scales": ({SCALE: ROWS[SCALE][:-1].clone()}, INT8_ROWS, [SCALE, "[51863]", "51864 rows"]),
    "whole-scales": ({SCALE: ROWS[SCALE].to(torch.int32)}, INT8_ROWS, [SCALE, "int32", "floating-point"]),
    "nan-scale": ({SCALE: ROWS[SCALE] * float("nan")}, INT8_ROWS, [SCALE, "NaN"]),
    "negative-scale": ({SCALE: -ROWS[SCALE] - 1}, INT8_ROWS, [SCALE, "negative"]),
    "float-table": ({TABLE: state_of(MODEL)[TABLE]}, INT8_ROWS, [TABLE, "float32", "not int8"]),
    "flat-table": ({TABLE: ROWS[TABLE].flatten()}, INT8_ROWS, [TABLE, "not int8"]),
    "narrow-table": ({TABLE: ROWS[TABLE][:, :8].clone()}, INT8_ROWS, [TABLE, "[51864, 8]", "[51864, 16]"]),
    "unknown-format": ({}, "token_embedding: int4 rows", ["int4 rows", INT8_ROWS]),
    "unsaid-format": ({}, "", [SCALE, "does not say", INT8_ROWS]),
    "unsaid-format-without-scale": ({SCALE: None}, "", [TABLE, "int8", "floating point"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_table_is_refused_by_name_and_fault(tmp_path: Path, case: str) -> None:
    change, file_format, words = CASES[case]
    state = {name: tensor for name, tensor in (ROWS | change).items() if tensor is not None}
    path = saved(state, tmp_path / "bad.safetensors", **({"format": file_format} if file_format else {}))
    with pytest.raises(CheckpointError) as raised:
        load(str(path), CPU, torch.float32)
    for word in ("bad.safetensors", "again", *words):
        assert word in str(raised.value)
