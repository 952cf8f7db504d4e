"""An audio track to 16 kHz mono, in blocks: the one path that episodes, and all clips but the plainest, take.

Time comes from the container's timestamps where it has any: a gap is silence, and a late start is kept, so that what is
found lies where a player has it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet

from preprocessing.container import (
    MAX_LATE_START_S,
    AudioInfo,
    Limits,
    Source,
    check,
    check_duration,
    open_container,
    opened,
)
from preprocessing.downmix import Downmix, Stretches
from preprocessing.errors import CorruptAudioError
from preprocessing.recording_bytes import RecordingBytes
from preprocessing.wave_file import wave_sizes

SAMPLE_RATE_HZ = 16_000
CLIP_S = 30  # what the models take at a time
# Containers whose timestamps say when a packet is heard. In others FFmpeg counts bytes or samples, and knows no gaps.
_CLOCKS_FROM_ZERO = frozenset({"mov", "matroska", "flv"})  # a late start is a pause
_CLOCKS_FROM_ANYWHERE = frozenset({"ogg", "mpegts", "mpeg", "asf"})  # a broadcast's: it starts with the recording
_TOLERANCE_S = 0.1  # timestamps are rounded, and a lost packet or two shifts no finding that matters
_MAX_STEP_BACK_S = 1.0  # further back the clock has been set anew, e.g. where another recording was joined
_MAX_REMEMBERED = 512  # packets, some 10 s, to know one that comes twice
_BLOCK = 16_384  # samples of a frame's own rate that are converted at once: frames alone are as short as 20 ms
_SILENCE = np.zeros(10 * SAMPLE_RATE_HZ, np.float32)
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # what an MP3 may hold between its frames


@dataclass
class DecodeReport:
    """What decoding met: filled while the audio is read."""

    packets: int = 0
    bad_packets: int = 0
    bad_at_end: int = 0  # of them, those after which nothing was decoded any more
    bad_s: float = 0.0  # how long the bad packets are, as far as they say
    first_bad_s: float | None = None
    decoded_s: float = 0.0  # of the recording's time, gaps included
    clock_jumps_s: list[float] = field(default_factory=list)  # where timestamps leave a gap longer than the limit
    cancelled: Stretches = field(default_factory=Stretches)
    unusable: Stretches = field(default_factory=Stretches)

    def damaged_inside(self, info: AudioInfo) -> bool:
        """Packets could not be decoded, other than the last one (where any cut ends) and any after the stated end."""
        expected = 1 if info.duration_s is None or self.falls_short_of(info) else self.bad_at_end
        return self.bad_packets > min(self.bad_at_end, expected)

    def falls_short_of(self, info: AudioInfo) -> bool:
        """The header promised clearly more audio than there was."""
        return info.duration_s is not None and self.decoded_s < info.duration_s - max(0.25, 0.01 * info.duration_s)

    def add_bad_packet(self, duration_s: float = 0.0) -> None:
        self.bad_packets += 1
        self.bad_s += duration_s
        self.bad_at_end += 1
        self.first_bad_s = self.decoded_s if self.first_bad_s is None else self.first_bad_s

    def undecoded_s(self, info: AudioInfo) -> float:
        """Seconds of the recording of which nothing was heard: bad packets, a missing end, samples that are no numbers.

        Bad packets may or may not be part of what is missing at the end, so of the two the longer counts.
        """
        bad_s = self.bad_s if self.damaged_inside(info) else 0.0
        missing_s = (info.duration_s or 0.0) - self.decoded_s if self.falls_short_of(info) else 0.0
        return max(bad_s, missing_s) + self.unusable.total_s

    def degradations(self) -> list[str]:
        """What was heard otherwise than it is in the file."""
        found = []
        if self.cancelled.total_s >= 0.5:
            found.append(f"channels cancel each other (opposite phase), {self.cancelled}: the loudest was checked")
        if self.unusable.total_s:
            found.append(f"samples that are no numbers (NaN, infinite) were taken as silence: {self.unusable}")
        if self.clock_jumps_s:
            found.append(
                f"the timestamps leap at {self.clock_jumps_s[0]:.1f} s ({len(self.clock_jumps_s)} in all) over more "
                "than the longest duration: times after that are without the gap"
            )
        return found


@dataclass(frozen=True)
class PlacedFrame:
    """A decoded frame, and how much silence lies between it and what came before."""

    frame: AudioFrame
    silence_s: float


def decode(data: bytes | memoryview | RecordingBytes, limits: Limits, report: DecodeReport) -> Iterator[np.ndarray]:
    """The audio that `data` holds as 16 kHz mono blocks, fp32 [any]; what decoding met is put in `report`.

    Undecodable packets are skipped. Raises AudioError, LimitExceededError as soon as more than `limits.max_duration_s`
    has been decoded.
    """
    with opened(data, limits) as source:
        yield from mono(source, limits, report)


def decode_whole(source: Source, limits: Limits) -> tuple[np.ndarray, tuple[str, ...]]:
    """All of a short recording as 16 kHz mono samples, fp32 [samples], and warnings.

    Raises AudioError also where parts are missing or damaged, since a clip is scored as a whole.
    """
    check_wave_size(source.data)
    report = DecodeReport()
    blocks = list(mono(source, limits, report))
    if report.damaged_inside(source.info):
        raise CorruptAudioError(
            f"{report.bad_packets} of {report.packets} packets are damaged, the first at {report.first_bad_s:.2f} s; "
            "encode the clip again from its source"
        )
    if report.falls_short_of(source.info):
        raise CorruptAudioError(
            f"the header says {source.info.duration_s:.2f} s, but only {report.decoded_s:.2f} s follow; "
            "is the file truncated?"
        )
    return np.concatenate(blocks), (*source.info.warnings, *report.degradations())


def check_wave_size(data: bytes | memoryview | RecordingBytes) -> None:
    """Raises CorruptAudioError when a RIFF WAVE's data chunk claims more bytes than follow it."""
    sizes = wave_sizes(data)
    if sizes is not None and sizes.truncated:
        raise CorruptAudioError(
            f"the WAV header claims {sizes.claimed_bytes} bytes of audio, but {sizes.held_bytes} follow; truncated?"
        )


def mono(source: Source, limits: Limits, report: DecodeReport) -> Iterator[np.ndarray]:
    """The source's audio as 16 kHz mono blocks, fp32 [any]; a rate or layout that changes midway is followed."""
    converter, shape, samples = None, None, 0
    for placed in frames(source, limits, report):
        frame, silence = placed.frame, round(placed.silence_s * SAMPLE_RATE_HZ)
        if converter and (silence or shape != (frame.format.name, frame.layout.name, frame.sample_rate)):
            samples += len(last := converter.flush())
            yield last
            converter = None
        samples += silence
        while silence:
            yield _SILENCE[:silence]
            silence -= min(silence, len(_SILENCE))
        if not converter:
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            converter = _Converter(frame, samples, report)
        samples += len(block := converter.push(frame))
        yield block
    if converter:
        yield converter.flush()


def frames(source: Source, limits: Limits, report: DecodeReport) -> Iterator[PlacedFrame]:
    """The decoded frames of the source's audio track, in order; undecodable packets are skipped and reported.

    Raises LimitExceededError as soon as more than `limits.max_duration_s` has been decoded, and CorruptAudioError
    when nothing could be decoded.
    """
    heard = False
    timeline, repeats = _Timeline(source, limits, report), _Repeats()
    packets = _packets(source)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            break  # IndexError: PyAV 18.1 ends so where a track has begun within the file, after ours has been flushed
        except av.FFmpegError:  # the demuxer itself met garbage: what came before stands
            report.add_bad_packet()
            break
        if timeline.follows_clock and repeats.has(packet):
            continue
        report.packets += 1
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            if not bytes(packet).startswith(_TAGS):
                report.add_bad_packet(float(packet.duration * packet.time_base) if packet.duration else 0.0)
            continue
        for frame in decoded:
            report.bad_at_end = 0
            heard = True
            check(frame.sample_rate, frame.layout.nb_channels, limits)
            silence_s = timeline.place(frame)
            check_duration(report.decoded_s, source.info, limits)
            yield PlacedFrame(frame, silence_s)
    if not heard:
        raise CorruptAudioError(
            "no audio could be decoded: the stream has no intact packets; is the file truncated or encrypted?"
        )
    if report.bad_packets > report.packets / 2:
        raise CorruptAudioError(
            f"{report.bad_packets} of {report.packets} packets are damaged; is the file encrypted, or no audio?"
        )


def _packets(source: Source) -> Iterator[Packet[AudioStream]]:
    """The track's packets, and one without data at the end, which flushes the decoder. Raises av.FFmpegError."""
    packets = source.container.demux(source.stream)
    if source.long is None:
        yield from packets
        return
    begins, flush = None, None
    for packet in packets:
        if not packet.size:
            flush = packet
            continue
        begins = packet.pts if begins is None else begins
        yield packet
    for piece in source.long.pieces():
        with open_container(piece.data) as container:
            for packet in container.demux(container.streams.audio[0]):
                if packet.size and packet.pts is not None:
                    packet.pts += piece.start + (begins or 0)
                    packet.stream = source.stream  # whose decoder goes on
                    yield packet
    if flush is not None:
        yield flush


class _Timeline:
    """Lays frames on the recording's time, `report.decoded_s`."""

    def __init__(self, source: Source, limits: Limits, report: DecodeReport):
        self._report, self._max_s = report, limits.max_duration_s
        name = source.info.container
        self.follows_clock = name in _CLOCKS_FROM_ZERO | _CLOCKS_FROM_ANYWHERE
        start = source.container.start_time if name in _CLOCKS_FROM_ANYWHERE else 0
        self._origin_s = (start or 0) / av.time_base
        self._begun = False

    def place(self, frame: AudioFrame) -> float:
        """Seconds of silence before the frame; `report.decoded_s` becomes its end."""
        silence_s = 0.0
        if self.follows_clock and frame.pts is not None and frame.time_base is not None:
            ahead_s = float(frame.pts * frame.time_base) - self._origin_s - self._report.decoded_s
            silence_s = self._silence_s(ahead_s)
        self._begun = True
        self._report.decoded_s += silence_s + frame.samples / frame.sample_rate
        return silence_s

    def _silence_s(self, ahead_s: float) -> float:
        late_start = not self._begun and ahead_s > MAX_LATE_START_S
        beyond_limit = self._report.decoded_s + ahead_s > self._max_s
        if ahead_s > _TOLERANCE_S and not late_start and not beyond_limit:
            return ahead_s
        # What cannot be followed is laid end to end, so that nothing of the file goes unheard: so are frames that
        # overlap, and another recording that was joined, whose clock begins anew.
        if ahead_s > _TOLERANCE_S or ahead_s < -_MAX_STEP_BACK_S:
            self._origin_s += ahead_s
        if ahead_s > _TOLERANCE_S and not late_start:
            self._report.clock_jumps_s.append(self._report.decoded_s)
        return 0.0


class _Repeats:
    """Knows a packet that the container holds twice, as recordings of overlapping segments do."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int, int], None] = {}

    def has(self, packet: Packet) -> bool:
        if packet.pts is None or not packet.size:
            return False
        key = (packet.pts, packet.size, zlib.crc32(memoryview(packet)))
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        return False


class _Converter:
    """Frames of one sample format, layout and rate to 16 kHz mono."""

    def __init__(self, frame: AudioFrame, start: int, report: DecodeReport):
        # Interleaved on purpose: PyAV 18.1 crashes the process (SIGSEGV) when it copies an 8-channel planar frame.
        self._resampler = AudioResampler(format="flt", layout=frame.layout, rate=SAMPLE_RATE_HZ)
        self._fifo = AudioFifo()
        self._downmix = Downmix(frame.layout, SAMPLE_RATE_HZ, start, report.cancelled, report.unusable)

    def push(self, frame: AudioFrame) -> np.ndarray:
        """The samples that the frame completes, fp32 [any]."""
        frame.pts = None  # the timeline has placed it: here samples are laid end to end
        self._fifo.write(frame)
        return self._converted(self._fifo.read()) if self._fifo.samples >= _BLOCK else _SILENCE[:0]

    def flush(self) -> np.ndarray:
        """fp32 [any]: all that is still held."""
        rest = self._converted(self._fifo.read()) if self._fifo.samples else _SILENCE[:0]
        return np.concatenate([rest, self._converted(None), self._downmix.flush()])

    def _converted(self, frame: AudioFrame | None) -> np.ndarray:
        """Resampled and mixed; None takes out what the resampler holds."""
        parts = self._resampler.resample(frame)
        blocks = (part.to_ndarray().reshape(-1, part.layout.nb_channels).T for part in parts)
        return np.concatenate([_SILENCE[:0], *map(self._downmix.push, blocks)])
