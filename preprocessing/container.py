"""Encoded bytes to PCM: what is in the container, within which limits, and its decoded frames.

The bytes decide the format, never a file name. FFmpeg (through PyAV) may open only the demuxers listed in
`DEMUXERS`: playlists, concatenation scripts and network protocols, which make FFmpeg read *other* files, are not among
them, so hostile bytes cannot reach the disk or the network (https://ffmpeg.org/ffmpeg-protocols.html).
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
import av.container
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from preprocessing.errors import CorruptAudioError, LimitExceededError, UnsupportedFormatError

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,"
    "mpeg,mpegts,ogg,rm,tta,voc,w64,wav,wv"
)
MIN_SAMPLE_RATE_HZ = 4_000  # below telephone speech nothing can be transcribed
_DALI_CODECS = {  # what nvidia.dali.fn.decoders.audio takes, by FFmpeg's names: container -> codecs
    "wav": {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"},
    "flac": {"flac"},
    "ogg": {"vorbis", "opus"},
}
_DALI_MAGIC = (b"RIFF", b"fLaC", b"OggS")
_UNKNOWN_WAV_SIZES = {0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36}  # what streaming writers leave in the header


@dataclass(frozen=True)
class Limits:
    """What is refused before it costs anything."""

    max_bytes: int
    max_duration_s: float
    max_channels: int
    max_sample_rate_hz: int


@dataclass(frozen=True)
class AudioInfo:
    """What a container's header says of its first audio stream."""

    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None  # None where the header does not say (FFmpeg's guesses from the bit rate do not count)
    dali_decodes: bool  # DALI can decode these bytes by itself


@dataclass
class DecodeReport:
    """What decoding met: filled while the frames are read."""

    packets: int = 0
    bad_packets: int = 0
    first_bad_s: float | None = None
    decoded_s: float = 0.0
    last_was_bad: bool = field(default=False, repr=False)

    @property
    def damaged_inside(self) -> bool:
        """Packets other than the very last (where any cut ends) could not be decoded."""
        return self.bad_packets > int(self.last_was_bad)

    def falls_short_of(self, info: AudioInfo) -> bool:
        """The header promised clearly more audio than there was."""
        return info.duration_s is not None and self.decoded_s < info.duration_s - max(0.25, 0.01 * info.duration_s)


def probe(data: bytes | memoryview, limits: Limits) -> AudioInfo:
    """What `data` holds, checked against `limits`.

    Raises UnsupportedFormatError, CorruptAudioError or LimitExceededError.
    """
    if len(data) == 0:
        raise CorruptAudioError("the audio has 0 bytes; was the upload cut off?")
    if len(data) > limits.max_bytes:
        raise LimitExceededError(f"{len(data)} bytes exceed the limit of {limits.max_bytes} bytes for one request")
    with _open(data) as container:
        stream = container.streams.audio[0]
        rate, channels = stream.rate or 0, stream.codec_context.channels
        name, codec = container.format.name.split(",")[0], stream.codec_context.name
        duration_s: float | None = None
        if _states_length(data, name):
            if stream.duration is not None and stream.time_base is not None:
                duration_s = float(stream.duration * stream.time_base)
            elif container.duration:
                duration_s = container.duration / av.time_base
        only_stream = len(container.streams) == 1
    _check(rate, channels, duration_s, limits)
    magic = bytes(data[:4])
    dali = magic in _DALI_MAGIC and only_stream and codec in _DALI_CODECS.get(name, ())
    if dali and name in ("flac", "ogg"):
        dali = duration_s is not None and abs(_packets_s(data) - duration_s) < 0.1
    return AudioInfo(name, codec, rate, channels, duration_s, dali)


def check_wav_size(data: bytes | memoryview) -> None:
    """Raises CorruptAudioError when a RIFF WAVE's data chunk claims more bytes than follow it."""
    if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"WAVE":
        return
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        held = len(data) - at - 8
        if name == b"data":
            if size > held and size not in _UNKNOWN_WAV_SIZES:
                raise CorruptAudioError(f"the WAV header claims {size} bytes of audio, but {held} follow; truncated?")
            return
        at += 8 + size + size % 2
    raise CorruptAudioError("the WAV file has no data chunk; is it truncated?")


def frames(data: bytes | memoryview, limits: Limits, report: DecodeReport) -> Iterator[AudioFrame]:
    """The decoded frames of the first audio stream, in order; undecodable packets are skipped and put in `report`.

    Raises LimitExceededError as soon as more than `limits.max_duration_s` has been decoded, and CorruptAudioError
    when nothing could be decoded.
    """
    with _open(data) as container:
        stream = container.streams.audio[0]
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError:  # the demuxer itself met garbage: what came before stands
                report.bad_packets += 1
                report.first_bad_s = report.decoded_s if report.first_bad_s is None else report.first_bad_s
                break
            report.packets += 1
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                report.bad_packets += 1
                report.last_was_bad = True
                report.first_bad_s = report.decoded_s if report.first_bad_s is None else report.first_bad_s
                continue
            report.last_was_bad = report.last_was_bad and not decoded
            for frame in decoded:
                report.decoded_s += frame.samples / frame.sample_rate
                _check(frame.sample_rate, frame.layout.nb_channels, report.decoded_s, limits)
                yield frame
    if report.decoded_s == 0:
        raise CorruptAudioError("no audio could be decoded: the stream has no intact packets; is the file truncated?")
    if report.bad_packets > report.packets / 2:
        raise CorruptAudioError(f"{report.bad_packets} of {report.packets} packets are damaged; is this really audio?")


def resampled(source: Iterator[AudioFrame], sample_rate_hz: int | None = None) -> Iterator[np.ndarray]:
    """Frames as fp32 arrays of shape [channels, samples], at `sample_rate_hz` (default: the first frame's rate).

    A stream whose rate or layout changes midway is followed; the channel count of each array is its frame's own.
    """
    resampler, shape = None, None
    for frame in source:
        if (frame.format.name, frame.layout.name, frame.sample_rate) != shape:
            if resampler:
                yield from map(_samples, resampler.resample(None))
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            sample_rate_hz = sample_rate_hz or frame.sample_rate
            resampler = AudioResampler(format="flt", layout=frame.layout, rate=sample_rate_hz)
        assert resampler is not None
        frame.pts = None  # gaps in time stamps are not our business: samples are laid end to end
        yield from map(_samples, resampler.resample(frame))
    if resampler:
        yield from map(_samples, resampler.resample(None))


def _samples(frame: AudioFrame) -> np.ndarray:
    # Interleaved on purpose: PyAV 18.1 crashes the process (SIGSEGV) when it copies an 8-channel planar frame.
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


def to_wav(data: bytes | memoryview, limits: Limits) -> bytes:
    """Any container as a 32-bit float WAVE at its own rate and channels: what DALI takes in place of, say, an MP3.

    Raises AudioError; a damaged packet anywhere but at the very end is an error, since a clip is judged whole.
    """
    report = DecodeReport()
    blocks: list[np.ndarray] = []
    info = probe(data, limits)
    for block in resampled(frames(data, limits, report), info.sample_rate_hz):
        if blocks and len(block) != len(blocks[0]):
            block = np.broadcast_to(block.mean(0), (len(blocks[0]), block.shape[1]))
        blocks.append(block)
    if report.damaged_inside:
        raise CorruptAudioError(
            f"{report.bad_packets} of {report.packets} packets are damaged, the first at {report.first_bad_s:.2f} s; "
            "encode the clip again from its source"
        )
    if report.falls_short_of(info):
        raise CorruptAudioError(
            f"the header says {info.duration_s:.2f} s, but only {report.decoded_s:.2f} s follow; is the file truncated?"
        )
    return wav_bytes(np.concatenate(blocks, axis=1), info.sample_rate_hz)


def wav_bytes(samples: np.ndarray, sample_rate_hz: int) -> bytes:
    """fp32 samples [channels, samples] as a WAVE_FORMAT_IEEE_FLOAT file (Microsoft's RIFF specification)."""
    channels = samples.shape[0]
    body = np.ascontiguousarray(samples.T, dtype="<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16),
        *(3, channels, sample_rate_hz, 4 * channels * sample_rate_hz, 4 * channels, 32),
        *(b"data", len(body)),
    )
    return header + body


@contextmanager
def _open(data: bytes | memoryview) -> Iterator[av.container.InputContainer]:
    try:
        container = av.open(io.BytesIO(data), mode="r", options={"format_whitelist": DEMUXERS})
    except (av.FFmpegError, ValueError) as error:
        raise UnsupportedFormatError(
            f"not a known audio file ({_reason(error)}); send WAV, FLAC, Ogg, MP3, M4A or another FFmpeg format"
        ) from None
    with container:
        if not container.streams.audio:
            raise UnsupportedFormatError(f"the {container.format.name} file has no audio stream")
        if container.streams.audio[0].codec_context is None:
            raise UnsupportedFormatError(f"the {container.format.name} file's audio codec is unknown to FFmpeg")
        yield container


def _packets_s(data: bytes | memoryview) -> float:
    """Seconds that the packets themselves claim, without decoding them.

    DALI reads as much as a FLAC or Ogg header states, and what lies beyond a false statement would go unheard.
    """
    total_s = 0.0
    with _open(data) as container, contextlib.suppress(av.FFmpegError):
        for packet in container.demux(container.streams.audio[0]):
            total_s += float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
    return total_s


def _states_length(data: bytes | memoryview, container: str) -> bool:
    """Whether the container states its length. An MP3 does in a Xing, Info or VBRI frame, after any ID3v2 tag."""
    if container in ("aac", "ac3", "eac3", "amr", "dts", "mpeg", "mpegts"):
        return False
    if container == "mp3":
        head = bytes(data[:10])
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
        start = 10 + size if head[:3] == b"ID3" else 0
        first_frame = bytes(data[start : start + 2048])
        return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
    return True


def _check(rate: int, channels: int, duration_s: float | None, limits: Limits) -> None:
    if not rate or not channels:
        raise CorruptAudioError("the header gives no sample rate or no channels; is the file truncated?")
    if rate > limits.max_sample_rate_hz:
        raise LimitExceededError(f"sample rate {rate} Hz exceeds the limit of {limits.max_sample_rate_hz} Hz")
    if rate < MIN_SAMPLE_RATE_HZ:
        raise LimitExceededError(f"sample rate {rate} Hz is below the limit of {MIN_SAMPLE_RATE_HZ} Hz")
    if channels > limits.max_channels:
        raise LimitExceededError(f"{channels} channels exceed the limit of {limits.max_channels}")
    if duration_s is not None and duration_s > limits.max_duration_s + 1e-3:
        hint = "; send longer audio to the model 'episode_safety'" if limits.max_duration_s <= 30 else ""
        raise LimitExceededError(f"{duration_s:.2f} s exceed the limit of {limits.max_duration_s:g} s{hint}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
