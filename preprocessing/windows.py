"""A long recording to windows: decoded as a stream, cut at pauses in speech, so memory never grows with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocessing.container import AudioInfo, Limits, probe
from preprocessing.cutting import LIVE_LEAD, LIVE_TAIL, live_end, lookahead, window_end
from preprocessing.decoding import SAMPLE_RATE_HZ, DecodeReport, check_wave_size, decode
from preprocessing.errors import CorruptAudioError
from preprocessing.recording_bytes import RecordingBytes, recording_bytes
from preprocessing.wave_file import wave_bytes

_LIVE_STEP = SAMPLE_RATE_HZ // 5  # 0.2 s: how often a live stream is looked at


@dataclass(frozen=True)
class Window:
    """A stretch of the recording that the models take as one clip, perhaps with some of what lies around it.

    start_s : of the stretch
    samples : fp32 [samples], 16 kHz mono
    lead, tail : how many of them lie before the stretch, and after it
    """

    start_s: float
    samples: np.ndarray
    lead: int = 0
    tail: int = 0

    @property
    def duration_s(self) -> float:
        """Of the stretch."""
        return (len(self.samples) - self.lead - self.tail) / SAMPLE_RATE_HZ

    @property
    def own_s(self) -> tuple[float, float] | None:
        """Where the stretch begins and ends within the samples, in seconds; None where it is all of them."""
        if not (self.lead or self.tail):
            return None
        return self.lead / SAMPLE_RATE_HZ, (len(self.samples) - self.tail) / SAMPLE_RATE_HZ

    def wav(self) -> bytes:
        """All samples as a WAVE file."""
        return wave_bytes(self.samples[None], SAMPLE_RATE_HZ)


class Episode:
    """A recording of any length: a description that is decoded as its windows are read."""

    def __init__(self, data: bytes | memoryview | RecordingBytes, limits: Limits):
        """Raises AudioError when `data` is no audio within `limits`."""
        self._data, self._limits = recording_bytes(data), limits
        self.info: AudioInfo = probe(self._data, limits)  # of an arriving file: final once `windows` is exhausted
        self.report = DecodeReport()

    def windows(self, max_s: float) -> Iterator[Window]:
        """Windows of at most `max_s`, in order, that join to the whole. Raises AudioError if decoding fails.

        An arriving file is read once more when all of it is there, for what only its end tells.
        """
        return self._read(cut(decode(self._data, self._limits, self.report), max_s))

    def live_windows(self, max_s: float) -> Iterator[Window]:
        """The same of a recording that is heard while it is made: short windows, each as soon as it can end."""
        return self._read(cut_live(decode(self._data, self._limits, self.report), max_s))

    def _read(self, windows: Iterator[Window]) -> Iterator[Window]:
        yield from windows
        if self._data.size is None:
            self._data = self._data.complete()
            self.info = probe(self._data, self._limits)

    def undecoded_s(self) -> float:
        """Seconds of the recording that could not be decoded; complete once `windows` is exhausted."""
        return self.report.undecoded_s(self.info)

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
        else:
            if self.report.falls_short_of(self.info):
                decoded_s = self.report.decoded_s
                found.append(f"the header says {self.info.duration_s:.1f} s, but {decoded_s:.1f} s follow; truncated?")
        return tuple(found)


def cut(blocks: Iterable[np.ndarray], max_s: float) -> Iterator[Window]:
    """Cuts a stream of 16 kHz mono blocks (fp32 [any]) into windows of at most `max_s` seconds, at pauses in speech.

    All samples come out once, in order. No more is held than a window and what lies a third of one ahead.
    """
    longest = int(max_s * SAMPLE_RATE_HZ)
    enough = longest + lookahead(longest)  # to end a window wherever the recording ends
    start, held, size = 0, [], 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size < enough:
            continue
        buffer = np.concatenate(held)
        while len(buffer) >= enough:
            at = window_end(buffer[:enough], longest)
            yield Window(start / SAMPLE_RATE_HZ, buffer[:at])
            start, buffer = start + at, buffer[at:]
        held, size = [buffer], len(buffer)
    buffer = np.concatenate(held) if held else np.zeros(0, np.float32)
    while len(buffer) > longest:
        at = window_end(buffer, longest)
        yield Window(start / SAMPLE_RATE_HZ, buffer[:at])
        start, buffer = start + at, buffer[at:]
    if len(buffer):
        yield Window(start / SAMPLE_RATE_HZ, buffer)


def cut_live(blocks: Iterable[np.ndarray], max_s: float) -> Iterator[Window]:
    """Cuts a stream of 16 kHz mono blocks (fp32 [any]) that comes as it is spoken; a window as soon as it can end.

    Of its own, a window holds at most `max_s` seconds, and what comes in a fifth of one.

    A window comes with LIVE_LEAD samples of what was before it and LIVE_TAIL of what comes after it, as far as they
    are there, so that a word beside a cut is heard whole.
    """
    start, lead, buffer = 0, 0, np.zeros(0, np.float32)  # the buffer begins `lead` samples before `start`
    for block in blocks:
        for first in range(0, len(block), _LIVE_STEP):
            buffer = np.concatenate((buffer, block[first : first + _LIVE_STEP]))
            if (at := live_end(buffer[lead:], int(max_s * SAMPLE_RATE_HZ))) is not None:
                end = lead + at
                samples = buffer[: end + LIVE_TAIL]
                yield Window(start / SAMPLE_RATE_HZ, samples, lead, len(samples) - end)
                start, lead, buffer = start + at, min(end, LIVE_LEAD), buffer[max(0, end - LIVE_LEAD) :]
    if len(buffer) > lead:
        yield Window(start / SAMPLE_RATE_HZ, buffer, lead)
