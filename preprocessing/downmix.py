"""Any number of channels to one, so that nothing that a listener hears is lost.

Channels are weighed as in FFmpeg's matrix (ITU-R BS.775: the centre at full level, left and right at -3 dB, surround at
-6 dB), with two differences: stereo is averaged, which keeps the level of a mono recording, and the low-frequency
channel, which the standard leaves out, is taken in at -6 dB, since words could hide in it.

Opposite phase: channels that cancel each other in the sum are heard on two loudspeakers, and would be silence to the
models. Where they do, the loudest of them is taken in place of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.audio.layout import AudioLayout

STRETCH = 4_000  # samples for which one decision holds: 0.25 s at 16 kHz
_FADE = 160  # samples from the sum to one channel and back: 10 ms, so that no click is made
# Power of the sum over the channels' summed powers: 1 for unrelated channels, 0 for opposite ones. 0.18 is a
# correlation of -0.82, i.e. the difference 10 dB above the sum; no ordinary stereo recording is near it.
_MAX_CANCELLED = 0.18
_MIN_POWER = 1e-12  # below (-120 dB) there is nothing to decide by: the last decision stands
MAX_SAMPLE = 1e6  # full scale is 1: NaN, and what is beyond this, is no sound
_ITU = {"FC": 1.0, "FL": 0.5**0.5, "FR": 0.5**0.5, "FLC": 0.5**0.5, "FRC": 0.5**0.5}
_SURROUND = 0.5  # all others
_DEFAULT_LAYOUTS = {3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # FFmpeg's, for files that name none


def weights(layout: AudioLayout) -> np.ndarray:
    """What each channel counts in the mix, fp32 [channels]."""
    count = layout.nb_channels
    if count <= 2:
        return np.full(count, 1.0 / count, np.float32)
    names = [channel.name for channel in layout.channels]
    if not set(names) & set(_ITU) and count in _DEFAULT_LAYOUTS:
        names = [channel.name for channel in AudioLayout(_DEFAULT_LAYOUTS[count]).channels]
    return np.array([_ITU.get(name, _SURROUND) for name in names], np.float32)


@dataclass
class Stretches:
    """Where something was met: added up while the audio is read."""

    first_s: float | None = None
    last_s: float = 0.0
    total_s: float = 0.0

    def add(self, start_s: float, end_s: float, total_s: float | None = None) -> None:
        """`total_s`: what of it was met between the two, all of it by default."""
        self.first_s = start_s if self.first_s is None else self.first_s
        self.last_s = end_s
        self.total_s += end_s - start_s if total_s is None else total_s

    def __str__(self) -> str:
        first_s = self.first_s or 0.0
        if self.last_s - first_s < 0.1:
            return f"at {first_s:.2f} s"
        return f"{max(self.total_s, 0.1):.1f} s between {first_s:.1f} s and {self.last_s:.1f} s"


class Downmix:
    """Blocks of samples of one channel layout to mono; decisions are made on stretches that blocks do not shift."""

    def __init__(self, layout: AudioLayout, sample_rate_hz: int, start: int, cancelled: Stretches, unusable: Stretches):
        """`start`: the samples before. `cancelled` and `unusable` are told of what is met."""
        self._weights = weights(layout)
        self._rate, self._at = sample_rate_hz, start
        self._cancelled, self._unusable = cancelled, unusable
        self._held: list[np.ndarray] = []
        self._loudest, self._share = 0, 0.0  # the channel in place of the mix, and how much of it (0 or 1)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Mono samples (fp32 [any]) that `block` (fp32 [channels, samples]) completes."""
        if block.shape[0] == 1:
            return self._emit(self._cleaned(block)[0])
        self._held.append(block)
        whole = sum(part.shape[1] for part in self._held) // STRETCH * STRETCH
        return self._mixed(whole)

    def flush(self) -> np.ndarray:
        """The mono samples that are left."""
        return self._mixed(sum(part.shape[1] for part in self._held))

    def _mixed(self, samples: int) -> np.ndarray:
        if not samples:
            return np.zeros(0, np.float32)
        held = np.concatenate(self._held, axis=1)
        self._held = [held[:, samples:]] if samples < held.shape[1] else []
        parts = (np.ascontiguousarray(held[:, at : min(at + STRETCH, samples)]) for at in range(0, samples, STRETCH))
        return np.concatenate([self._emit(self._stretch(part)) for part in parts])

    def _stretch(self, block: np.ndarray) -> np.ndarray:
        block = self._cleaned(block)
        mix = self._weights @ block
        before, cancels = self._share, self._cancels(block)
        if cancels is not None and cancels != bool(before):
            self._share = float(cancels)
            if cancels:
                self._loudest = int(np.argmax(np.square(block).sum(1)))
        if not before and not self._share:
            return mix
        self._cancelled.add(self._at / self._rate, (self._at + len(mix)) / self._rate)
        share = np.full(len(mix), self._share, np.float32)
        fade = min(_FADE, len(mix))
        share[:fade] = np.linspace(before, self._share, fade, dtype=np.float32)
        return mix + share * (block[self._loudest] - mix)

    def _cancels(self, block: np.ndarray) -> bool | None:
        """Whether the channels of a stretch cancel; None if it is too quiet to tell.

        First differences weigh the power towards the frequencies of speech: bass, which is nearly always in phase,
        would otherwise hide words that are not.
        """
        if block.shape[1] < 2:
            return None
        steps = block[:, 1:] - block[:, :-1]
        mixed = self._weights @ steps
        separate = float(np.square(self._weights) @ np.einsum("cs,cs->c", steps, steps))
        if separate < _MIN_POWER * len(mixed):
            return None
        return float(mixed @ mixed) < _MAX_CANCELLED * separate

    def _cleaned(self, block: np.ndarray) -> np.ndarray:
        if float(np.vdot(block, block)) < MAX_SAMPLE:  # False for NaN; most blocks need no closer look
            return block
        usable = np.abs(block) <= MAX_SAMPLE
        if usable.all():
            return block
        bad = np.flatnonzero(~usable.all(0))
        first_s, end_s = (self._at + int(bad[0])) / self._rate, (self._at + int(bad[-1]) + 1) / self._rate
        self._unusable.add(first_s, end_s, len(bad) / self._rate)
        return np.where(usable, block, np.float32(0.0))

    def _emit(self, samples: np.ndarray) -> np.ndarray:
        self._at += len(samples)
        return samples
