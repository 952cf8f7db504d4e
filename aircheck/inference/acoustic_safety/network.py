"""The embedded sound-event network: a log-mel front end, a small 2-D stem and dilated 1-D convolutions over time.

It works on the waveform, not on Whisper's log-mel: that tensor is scaled to the loudest point of its window, which
hides how loud a sound is, and has 80 or 128 bands depending on the Whisper checkpoint. Layout after Kong et al.,
"Sound event detection of weakly labelled data with CNN-Transformer" (2020) and Bai et al. (2018) on dilated
convolutions; everything is non-causal, because a window is classified whole.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from aircheck.inference.acoustic_safety.events import EVENTS

SAMPLE_RATE = 16_000
N_FFT = 512  # 32 ms
MEL_HOP = 320  # 20 ms
N_MELS = 64
TIME_STRIDE = 4  # the first two convolutions have stride 2
FRAME_SAMPLES = MEL_HOP * TIME_STRIDE
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE  # 0.08 s between predictions
POWER_FLOOR = 1e-5  # white noise of -73 dBFS has about this power in a bin of the spectrogram

STEM_CHANNELS = (16, 32, 48, 64)
HIDDEN = 96
DILATIONS = (1, 2, 4, 8, 16)  # with kernels of 5, a view of 5 s to either side


def frames_in(duration_s: float) -> int:
    """Predictions that begin before `duration_s`."""
    return math.ceil(round(duration_s / FRAME_S, 6))


class MelFrontEnd(nn.Module):
    """Waveform to the power in each mel band."""

    window: Tensor  # [N_FFT]
    filters: Tensor  # [N_FFT // 2 + 1, N_MELS]

    def __init__(self) -> None:
        super().__init__()
        filters = melscale_fbanks(N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, N_MELS, SAMPLE_RATE, mel_scale="slaney")
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Power, shape = (batch, samples // MEL_HOP, N_MELS); the centre of frame i is at sample i * MEL_HOP."""
        padded = F.pad(waveforms, (N_FFT // 2, N_FFT // 2))  # zeros: a mirrored edge would fake an event
        spectrum = torch.stft(padded, N_FFT, MEL_HOP, window=self.window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power[..., : waveforms.shape[-1] // MEL_HOP].transpose(1, 2) @ self.filters


class _Stage(nn.Sequential):
    """Halves the bands, and where told the frames; an early stride in time halves the cost of training and scanning."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, time_stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride=(time_stride, 2), padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class _Temporal(nn.Module):
    """Residual block that widens the view in time."""

    def __init__(self, dilation: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(F.relu(self.norm(self.convolution(x))))


class AcousticNetwork(nn.Module):
    """Per-frame, multi-label logits for `events`, one prediction every `FRAME_S` seconds."""

    def __init__(self, n_events: int = len(EVENTS), dropout: float = 0.1) -> None:
        super().__init__()
        self.front_end = MelFrontEnd()
        shapes = zip((1, *STEM_CHANNELS[:-1]), STEM_CHANNELS, (5, 3, 3, 3), (2, 2, 1, 1), strict=True)
        self.stem = nn.Sequential(*(_Stage(*shape) for shape in shapes))
        bands = N_MELS // 2 ** len(STEM_CHANNELS)
        self.project = nn.Sequential(
            nn.Conv1d(STEM_CHANNELS[-1] * bands, HIDDEN, 1, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()
        )
        self.temporal = nn.Sequential(*(_Temporal(dilation, dropout) for dilation in DILATIONS))
        self.head = nn.Conv1d(HIDDEN, n_events, 1)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Logits, shape = (batch, samples // FRAME_SAMPLES, events), of waveforms, shape = (batch, samples)."""
        return self.classify(self.front_end(waveforms))

    def classify(self, power: Tensor) -> Tensor:
        """Logits from the front end's output; training starts here, from cached and augmented spectrograms."""
        log_power = (torch.log10(power + POWER_FLOOR) + 1.0) / 2.0  # about zero mean, unit deviation on speech
        x = self.stem(log_power.unsqueeze(1))  # [batch, channels, frames, bands]
        x = x.permute(0, 1, 3, 2).flatten(1, 2)  # [batch, channels * bands, frames]
        logits: Tensor = self.head(self.temporal(self.project(x)))
        return logits.transpose(1, 2)
