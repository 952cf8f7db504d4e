"""YAMNet's trunk in torch: MobileNet v1 on log-mel frames, as published for TensorFlow Lite (Google, Apache-2.0).

The network sees patches of 0.96 s there; it is fully convolutional, so here it runs once over a whole piece and gives a
frame each 0.32 s. Weights stay in the published 8 bits, a scale for each output channel, and are multiplied out on
load. Layers after Howard et al., "MobileNets" (2017); trained by Google on AudioSet (Gemmeke et al., 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_FFT = 512
WIN_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
N_MELS = 64
FRAME_HOPS = 32  # the trunk's stride in time
N_FEATURES = 1024
LOG_OFFSET = 1e-3
# (channels out, stride) of the first convolution, then of each pair of a depthwise and a pointwise one
STEM = (32, 2)
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    *[(512, 1)] * 5,
    (1024, 2), (1024, 1),
)  # fmt: skip


class _Convolution(nn.Module):
    """A convolution with its batch norm folded in, then ReLU6; padded as TensorFlow's SAME on even sizes."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        shape = (channels_out, channels_in // groups, kernel, kernel)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.stride, self.groups = stride, groups
        self.padding = (0, 0, 0, 0) if kernel == 1 else (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.padding)
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups).clamp(0.0, 6.0)


class YamnetTrunk(nn.Module):
    """Waveform to YAMNet's embeddings."""

    mel: Tensor  # [N_FFT // 2 + 1, N_MELS]
    window: Tensor  # [WIN_SAMPLES]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mel", torch.zeros(N_FFT // 2 + 1, N_MELS))
        self.register_buffer("window", torch.hann_window(WIN_SAMPLES), persistent=False)
        layers = [_Convolution(1, STEM[0], 3, STEM[1])]
        channels = STEM[0]
        for channels_out, stride in BLOCKS:
            layers += [
                _Convolution(channels, channels, 3, stride, groups=channels),
                _Convolution(channels, channels_out, 1),
            ]
            channels = channels_out
        self.layers = nn.ModuleList(layers)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """fp32 [B, samples] -> [B, samples // HOP_SAMPLES, N_MELS]; a frame starts at each hop, none is centred."""
        padded = F.pad(waveforms, (0, WIN_SAMPLES - HOP_SAMPLES))
        frames = padded.unfold(-1, WIN_SAMPLES, HOP_SAMPLES) * self.window
        magnitude = torch.fft.rfft(F.pad(frames, (0, N_FFT - WIN_SAMPLES))).abs()
        return torch.log(magnitude @ self.mel + LOG_OFFSET)

    def forward(self, waveforms: Tensor) -> Tensor:
        """fp32 [B, samples] -> [B, samples // (FRAME_HOPS · HOP_SAMPLES), N_FEATURES]"""
        x = self.log_mel(waveforms).unsqueeze(1)  # [B, 1, frames, mels]
        for layer in self.layers:
            x = layer(x)
        return x.mean(3).transpose(1, 2)
