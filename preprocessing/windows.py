"""A long recording to windows: decoded as a stream, cut where it is quietest, so memory never grows with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocessing.clip import SAMPLE_RATE_HZ
from preprocessing.container import AudioInfo, Limits, probe
from preprocessing.decoding import DecodeReport, check_wave_size, decode
from preprocessing.errors import CorruptAudioError
from preprocessing.wave_file import wave_bytes

_STEP_S = 0.01  # resolution of the search for a quiet point
_PAUSE_S = 0.3  # a cut looks for the quietest stretch of this length: about the pause between two sentences
_SEARCH_SHARE = 0.5  # the cut falls into this last share of the longest window


@dataclass(frozen=True)
class Window:
    """A stretch of the recording that the models judge as one clip."""

    start_s: float
    samples: np.ndarray  # fp32 [samples], 16 kHz mono

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ

    def wav(self) -> bytes:
        """The window as a WAVE file."""
        return wave_bytes(self.samples[None], SAMPLE_RATE_HZ)


class Episode:
    """A recording of any length: a description that is decoded as its windows are read."""

    def __init__(self, data: bytes | memoryview, limits: Limits):
        """Raises AudioError when `data` is no audio within `limits`."""
        self._data, self._limits = data, limits
        self.info: AudioInfo = probe(data, limits)
        self.report = DecodeReport()

    def windows(self, max_s: float) -> Iterator[Window]:
        """Windows of at most `max_s`, in order, that join to the whole. Raises AudioError if decoding fails."""
        return cut(decode(self._data, self._limits, self.report), max_s)

    def warnings(self) -> tuple[str, ...]:
        """What of the recording was not heard, or not as it is there; complete once `windows` is exhausted."""
        found = [*self.info.warnings, *self.report.degradations()]
        if self.report.damaged_inside(self.info):
            found.append(
                f"{self.report.bad_packets} of {self.report.packets} packets could not be decoded, the first at "
                f"{self.report.first_bad_s:.1f} s: what they held was not checked"
            )
        try:
            check_wave_size(self._data)
        except CorruptAudioError as error:
            found.append(str(error))
        if self.report.falls_short_of(self.info):
            found.append(
                f"the header says {self.info.duration_s:.1f} s, but {self.report.decoded_s:.1f} s follow; truncated?"
            )
        return tuple(found)


def cut(blocks: Iterable[np.ndarray], max_s: float) -> Iterator[Window]:
    """Cuts a stream of 16 kHz mono blocks (fp32 [any]) into windows of at most `max_s` seconds.

    Every cut but the last falls on the centre of the quietest pause in the second half of its window, so that no word
    is split where a pause is to be had. All samples come out once, in order.
    """
    longest = int(max_s * SAMPLE_RATE_HZ)
    start, held, size = 0, [], 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size <= longest:
            continue
        buffer = np.concatenate(held)
        while len(buffer) > longest:
            at = quietest(buffer[:longest])
            yield Window(start / SAMPLE_RATE_HZ, buffer[:at])
            start, buffer = start + at, buffer[at:]
        held, size = [buffer], len(buffer)
    if size:
        yield Window(start / SAMPLE_RATE_HZ, np.concatenate(held))


def quietest(samples: np.ndarray) -> int:
    """Where to cut a full window (fp32 [samples]): the centre of its quietest pause, never before the search share.

    Of equally quiet pauses (digital silence) the last wins: longer windows are fewer windows.
    """
    step, pause = int(_STEP_S * SAMPLE_RATE_HZ), round(_PAUSE_S / _STEP_S)
    first = int(len(samples) * (1 - _SEARCH_SHARE)) // step
    count = len(samples) // step
    energy = np.square(samples[first * step : count * step].reshape(-1, step)).mean(1)
    sums = np.concatenate([[0.0], np.cumsum(energy, dtype=np.float64)])
    running = sums[pause:] - sums[:-pause]
    last_minimum = len(running) - 1 - int(np.argmin(running[::-1]))
    return (first + last_minimum) * step + pause * step // 2
