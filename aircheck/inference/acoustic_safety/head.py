"""The trained part of the embedded classifier: a small temporal network on two frozen networks' features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aircheck.inference.acoustic_safety.events import EVENTS
from aircheck.inference.acoustic_safety.features import N_WHISPER, STEPS
from aircheck.inference.acoustic_safety.yamnet import N_FEATURES

LEARNED = tuple(event for event in EVENTS if event != "silence")  # silence is a level, not learned
HIDDEN = 64
DILATIONS = (1, 2)  # with kernels of 3, a view of 0.96 s to either side

# AudioSet's classes that YAMNet's own output layer names, by what they say about our events
YAMNET_CLASSES: dict[str, tuple[str, ...]] = {
    "gunshot": ("Gunshot, gunfire", "Machine gun", "Fusillade"),
    "explosion": ("Explosion", "Boom", "Artillery fire", "Eruption"),
    "scream": ("Screaming", "Shout", "Yell", "Children shouting", "Baby cry, infant cry", "Crying, sobbing"),
    "siren": (
        "Siren", "Police car (siren)", "Ambulance (siren)", "Fire engine, fire truck (siren)", "Civil defense siren",
        "Emergency vehicle", "Alarm", "Car alarm",
    ),
    "glass_breaking": ("Shatter", "Glass", "Breaking", "Smash, crash", "Chink, clink"),
    "speech": ("Speech", "Conversation", "Narration, monologue"),
    "music": ("Music", "Musical instrument", "Drum", "Drum kit", "Singing"),
    "": (  # what resembles them
        "Thunder", "Thunderstorm", "Fireworks", "Firecracker", "Burst, pop", "Door", "Slam", "Animal", "Vehicle",
        "Vehicle horn, car horn, honking", "Silence", "Telephone", "Ringtone", "Church bell", "Wind chime", "Bird",
        "Cat", "Dog", "Crowd", "Cheering", "Typing", "Bass drum", "Snare drum", "Cymbal", "Rain", "Engine",
    ),
}  # fmt: skip
CLASSES = tuple(name for names in YAMNET_CLASSES.values() for name in names)


class AcousticHead(nn.Module):
    """Logits of `LEARNED` for every frame.

    YAMNet's own opinion (`classes`, rows of its output layer, frozen) goes to the output beside what is learned: few
    recordings of a siren are at hand, and it has heard thousands.
    """

    def __init__(self, hidden: int = HIDDEN, dropout: float = 0.3) -> None:
        super().__init__()
        self.whisper = nn.Linear(N_WHISPER, hidden)
        self.yamnet = nn.Linear(N_FEATURES, hidden)
        self.classes = nn.Linear(N_FEATURES, len(CLASSES))
        self.merge = nn.Linear((STEPS + 1) * hidden + len(CLASSES), hidden)
        self.temporal = nn.ModuleList(nn.Conv1d(hidden, hidden, 3, padding=d, dilation=d) for d in DILATIONS)
        self.context = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, len(LEARNED))
        self.opinion = nn.Linear(len(CLASSES), len(LEARNED), bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, whisper: Tensor, yamnet: Tensor) -> Tensor:
        """[B, F · STEPS, N_WHISPER] and [B, F, N_FEATURES] -> [B, F, len(LEARNED)]"""
        return self.classify(self.whisper(whisper), self.yamnet(yamnet), self.classes(smoothed(yamnet)))

    def classify(self, whisper: Tensor, yamnet: Tensor, classes: Tensor) -> Tensor:
        """What follows the projections: [B, F · STEPS, hidden], [B, F, hidden], [B, F, len(CLASSES)]"""
        whisper = F.gelu(whisper).unflatten(1, (-1, STEPS)).flatten(2)
        x = F.gelu(self.merge(self.dropout(torch.cat([whisper, F.gelu(yamnet), classes / 4.0], -1))))
        x = x + self.dropout(F.gelu(self.context(x.mean(1, keepdim=True))))  # in music, a bang is a drum
        x = x.transpose(1, 2)
        for layer in self.temporal:
            x = x + self.dropout(F.gelu(layer(x)))
        logits: Tensor = self.output(x.transpose(1, 2)) + self.opinion(classes)
        return logits


def smoothed(yamnet: Tensor) -> Tensor:
    """Mean of three frames, 0.96 s as in the patches that YAMNet was trained on: [B, F, N] -> the same"""
    return F.avg_pool1d(yamnet.transpose(1, 2), 3, 1, 1, count_include_pad=False).transpose(1, 2)
