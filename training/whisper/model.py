"""Whisper's forward pass for training: windows shorter than 30 s at the cost of their own length.

The server always gives Whisper 30 s: a window's speech, then zeros. Behind the speech the log-mel is one constant, so
every encoder position there is the same convolution output plus its position. `encode` keeps every TAIL_STRIDE-th of
them and adds log(TAIL_STRIDE) to their attention scores, which stands for the ones left out. A 6 s window then costs
337 positions instead of 1500, and the model still learns to live with a long silent tail.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from whisper.model import ModelDimensions, ResidualAttentionBlock, Whisper

from aircheck.inference.device import cpu_has_fast_bf16

DIMS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=256,
    n_audio_head=4,
    n_audio_layer=4,
    n_vocab=51864,  # the English tokenizer
    n_text_ctx=448,
    n_text_state=256,
    n_text_head=4,
    n_text_layer=2,
)
N_POSITIONS = 1500  # encoder positions of 20 ms in 30 s
TAIL_STRIDE = 32


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16, but fp32 on CPUs without instructions for it (there bfloat16 is far slower than fp32)."""
    fast = device != "cpu" or cpu_has_fast_bf16()
    return torch.bfloat16 if fast else torch.float32


def mixed_precision(device: str) -> torch.autocast:
    """The context in which models are trained: matrix products in `fast_dtype`."""
    dtype = fast_dtype(device)
    return torch.autocast(device, dtype, enabled=dtype != torch.float32)


def untrained() -> Whisper:
    """A model of the embedded shape to begin from nothing with; openai-whisper leaves its embeddings uninitialised."""
    model = Whisper(DIMS)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.01)
    torch.nn.init.normal_(model.decoder.token_embedding.weight, std=0.02)
    return model


def save(model_state: dict[str, Tensor], dims: ModelDimensions, path: Path, **metadata: str) -> None:
    """fp16 safetensors, written beside and renamed, so that a reader never sees half a file."""
    state = {key: value.detach().half().cpu().contiguous() for key, value in model_state.items()}
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"dims": json.dumps(vars(dims)), **metadata})
    partial.rename(path)


def tail_positions(frames: int) -> Tensor:
    """Encoder positions that stand for the padding behind `frames` mel frames."""
    return torch.arange(min(frames // 2 + TAIL_STRIDE // 2, N_POSITIONS), N_POSITIONS, TAIL_STRIDE)


def _heads(x: Tensor, n_head: int) -> Tensor:
    """[B, T, state] -> [B, heads, T, state / heads]"""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def _encoder_block(block: ResidualAttentionBlock, x: Tensor, bias: Tensor) -> Tensor:
    attn, y = block.attn, block.attn_ln(x)
    q, k, v = (_heads(part(y), attn.n_head) for part in (attn.query, attn.key, attn.value))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # plain products: 3 times faster than SDPA on these CPUs
    y = (scores + bias.to(q.dtype)).softmax(-1, dtype=q.dtype) @ v
    x = x + attn.out(y.transpose(1, 2).flatten(2))
    return x + block.mlp(block.mlp_ln(x))


def encode(model: Whisper, mel: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Audio features of windows whose padding is left out.

    mel: [B, 80, frames] normalised log-mel, frames even and at most 3000; floor: [B] its value in zero padding.
    -> features [B, frames / 2 + tail, state], attention bias [1, 1, 1, frames / 2 + tail].
    """
    encoder, n = model.encoder, mel.shape[-1] // 2
    tail = tail_positions(mel.shape[-1]).to(mel.device)
    if len(tail):
        mel = torch.cat([mel, floor[:, None, None].expand(-1, mel.shape[1], 16)], -1)
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
    positions = encoder.positional_embedding
    pieces, bias = [x[:, :n] + positions[:n]], torch.zeros(n + len(tail), device=mel.device)
    if len(tail):
        pieces.append(x[:, n + 3 : n + 4] + positions[tail])  # two positions away from either edge
        bias[n:] = math.log((N_POSITIONS - n) / len(tail))
    x, bias = torch.cat(pieces, 1), bias[None, None, None]
    for block in encoder.blocks:
        x = _encoder_block(block, x, bias)
    return encoder.ln_post(x), bias


def decode(model: Whisper, tokens: Tensor, audio: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Teacher-forced decoder.

    tokens: [B, T]; audio, bias: from `encode` -> hidden [B, T, state], the last layer's cross-attention weights
    [B, heads, T, positions].
    """
    decoder = model.decoder
    x = (decoder.token_embedding(tokens) + decoder.positional_embedding[: tokens.shape[1]]).to(audio.dtype)
    weights = x
    for block in decoder.blocks:
        x = x + block.attn(block.attn_ln(x), mask=decoder.mask)[0]
        cross, y = block.cross_attn, block.cross_attn_ln(x)
        q, k, v = (_heads(p, cross.n_head) for p in (cross.query(y), cross.key(audio), cross.value(audio)))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias).float().softmax(-1)
        x = x + cross.out((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.mlp_ln(x))
    return decoder.ln(x), weights
