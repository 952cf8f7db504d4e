"""What the embedded classifier knows of a piece of audio before its head: two frozen networks' features.

Whisper `base`'s encoder, first blocks, hears voices and their noises (Gong et al., "Whisper-AT", 2023); YAMNet, trained
on AudioSet, hears the rest. It is always this encoder, whatever Whisper transcribes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters
from whisper.model import AudioEncoder

from aircheck.inference.acoustic_safety.pieces import PIECE_FRAMES, PIECE_SAMPLES
from aircheck.inference.acoustic_safety.yamnet import YamnetTrunk
from aircheck.inference.device import bf16_products
from aircheck.inference.whisper.weights import checkpoint

WHISPER = "base"
BLOCKS = (1, 2)  # whose outputs are the features: the second and the third
N_MELS = 80
POSITIONS = PIECE_SAMPLES // HOP_LENGTH // 2  # 256, of 20 ms
POOLED = 4  # positions in one feature vector, 80 ms
STEPS = POSITIONS // POOLED // PIECE_FRAMES  # such vectors in a frame
N_WHISPER = 512 * len(BLOCKS)


class WhisperFeatures(nn.Module):
    """The first blocks of a Whisper encoder, over fewer positions than its window's 1500."""

    filters: Tensor  # [N_MELS, N_FFT // 2 + 1]
    positions: Tensor  # [POSITIONS, n_state]
    window: Tensor

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.blocks = nn.ModuleList(list(encoder.blocks)[: BLOCKS[-1] + 1])
        self.register_buffer("positions", encoder.positional_embedding[:POSITIONS].clone())
        self.register_buffer("filters", mel_filters("cpu", N_MELS).clone())
        self.register_buffer("window", torch.hann_window(N_FFT))

    @classmethod
    def load(cls) -> WhisperFeatures:
        """Those of `WHISPER`, in fp32 on the CPU. Raises `whisper.weights.checkpoint.CheckpointError`."""
        return cls(checkpoint.load(WHISPER, torch.device("cpu"), torch.float32).model.encoder)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """Whisper's own, scaled to the loudest point of each piece: [B, PIECE_SAMPLES] -> [B, N_MELS, frames]"""
        spectrum = torch.stft(waveforms, N_FFT, HOP_LENGTH, window=self.window, return_complex=True)[..., :-1]
        log_mel = (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
        return (torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def forward(self, waveforms: Tensor) -> Tensor:
        """fp32 [B, PIECE_SAMPLES] -> fp32 [B, PIECE_FRAMES · STEPS, N_WHISPER]"""
        log_mel = self.log_mel(waveforms)
        with bf16_products(waveforms.device):
            x = F.gelu(self.conv1(log_mel))
            x = F.gelu(self.conv2(x)).transpose(1, 2) + self.positions
            outputs = []
            for block in self.blocks:
                x = block(x)
                outputs.append(x)
        chosen = [outputs[block].float().unflatten(1, (-1, POOLED)).mean(2) for block in BLOCKS]
        return torch.cat(chosen, -1)


class Features(nn.Module):
    """Both networks on pieces."""

    def __init__(self, whisper: WhisperFeatures, yamnet: YamnetTrunk) -> None:
        super().__init__()
        self.whisper, self.yamnet = whisper, yamnet

    def forward(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        """fp32 [B, PIECE_SAMPLES] -> Whisper's [B, PIECE_FRAMES · STEPS, N_WHISPER], YAMNet's [B, PIECE_FRAMES, N]"""
        return self.whisper(pieces), self.yamnet(pieces)
