"""Encoded bytes to an open audio track: what is in the container, which track is heard, within which limits.

The bytes decide the format, never a file name. FFmpeg (through PyAV) may open only the demuxers listed in
`DEMUXERS`: playlists, concatenation scripts and network protocols, which make FFmpeg read *other* files, are not among
them, so hostile bytes cannot reach the disk or the network (https://ffmpeg.org/ffmpeg-protocols.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
import av.container
from av.audio.stream import AudioStream
from av.stream import Disposition

from preprocessing.errors import (
    CorruptAudioError,
    EncryptedAudioError,
    IncompleteAudioError,
    LimitExceededError,
    NoAudioTrackError,
    UnsupportedFormatError,
)
from preprocessing.faults import missing_mp4_index, mp4_protection, other_file
from preprocessing.file_objects import file_object
from preprocessing.long_mp4 import LongMp4, long_mp4
from preprocessing.mp3_header import stated_frames
from preprocessing.recording_bytes import RecordingBytes, recording_bytes
from preprocessing.tags import Tags, read_tags
from preprocessing.wave_file import stated_wave_duration_s, wave_sizes

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,"
    "mpeg,mpegts,ogg,rm,tta,voc,w64,wav,wv"
)
MAX_LATE_START_S = 600.0  # what begins later is a piece of a live stream, whose clock it has kept
MIN_SAMPLE_RATE_HZ = 4_000  # below telephone speech nothing can be transcribed
_LOSSLESS = ("pcm_", "flac", "alac", "ape", "tta", "wavpack", "dsd_")  # FFmpeg's codec names, or how they begin
_UNSTATED_LENGTH = ("aac", "ac3", "eac3", "amr", "dts", "mpeg", "mpegts")  # FFmpeg guesses from the bit rate


@dataclass(frozen=True)
class Limits:
    """What is refused before it costs anything."""

    max_bytes: int
    max_duration_s: float
    max_channels: int
    max_sample_rate_hz: int


@dataclass(frozen=True)
class AudioInfo:
    """What a container's header says of the audio track that is heard."""

    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None  # None where the header does not say (FFmpeg's guesses from the bit rate do not count)
    warnings: tuple[str, ...] = ()  # what of the file is not heard
    tags: Tags = field(default_factory=Tags)

    @property
    def padding_s(self) -> float:
        """How much longer than its source a recording may be, because a lossy codec codes whole frames.

        AAC puts up to two frames of 1,024 samples before the sound and fills the last one; with SBR frames are
        twice as long.
        """
        return 0.0 if self.codec.startswith(_LOSSLESS) else max(0.17, 4096 / self.sample_rate_hz)


@dataclass(frozen=True)
class Source:
    """An open container and the audio track of it that is heard."""

    data: RecordingBytes
    container: av.container.InputContainer
    stream: AudioStream
    info: AudioInfo
    long: LongMp4 | None = None  # of which the container is the first piece


def probe(data: bytes | memoryview | RecordingBytes, limits: Limits) -> AudioInfo:
    """What `data` holds, checked against `limits`. Raises AudioError."""
    with opened(data, limits) as source:
        return source.info


@contextmanager
def opened(data: bytes | memoryview | RecordingBytes, limits: Limits) -> Iterator[Source]:
    """The container, open at its start, checked against `limits`. Raises AudioError.

    Of a file that is still arriving as much is read as that takes; what only its end tells is then left out:
    `duration_s` of some formats, bytes behind the sound, tags that a writer added last.
    """
    data = recording_bytes(data)
    if not data.read(0, 1):
        raise CorruptAudioError("the audio has 0 bytes; was the upload cut off?")
    if data.size is not None and data.size > limits.max_bytes:
        raise LimitExceededError(f"{data.size} bytes exceed the limit of {limits.max_bytes} bytes for one request")
    long = long_mp4(data)
    try:
        container = open_container(long.first if long else data)
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(data, error) from None
    with container:
        if not container.streams.audio:
            raise _without_audio(data, container)
        stream, unheard = _choose_track(container)
        if (scheme := mp4_protection(data, container.streams.audio.index(stream))) is not None:
            raise EncryptedAudioError(f"the audio is encrypted ({scheme}); send a copy without DRM")
        name = container.format.name.split(",")[0]
        info = AudioInfo(
            container=name,
            codec=stream.codec_context.name,
            sample_rate_hz=stream.rate or 0,
            channels=stream.codec_context.channels,
            duration_s=long.duration_s if long else _stated_duration_s(data, container, stream),
            warnings=(*unheard, *_undeclared(data)),
            tags=read_tags(container, stream),
        )
        check(info.sample_rate_hz, info.channels, limits)
        check_duration(info.duration_s or 0.0, info, limits)
        yield Source(data, container, stream, info, long)


def open_container(data: RecordingBytes) -> av.container.InputContainer:
    """FFmpeg's view of the bytes. Raises av.FFmpegError, ValueError."""
    return av.open(
        file_object(data), mode="r", options=_options(data), metadata_errors="replace", buffer_size=data.buffer_bytes
    )


def check(rate_hz: int, channels: int, limits: Limits) -> None:
    """Raises CorruptAudioError or LimitExceededError for a rate or a number of channels that cannot be used."""
    if not rate_hz or not channels:
        raise CorruptAudioError("the header gives no sample rate or no channels; is the file truncated?")
    if rate_hz > limits.max_sample_rate_hz:
        raise LimitExceededError(f"sample rate {rate_hz} Hz exceeds the limit of {limits.max_sample_rate_hz} Hz")
    if rate_hz < MIN_SAMPLE_RATE_HZ:
        raise LimitExceededError(f"sample rate {rate_hz} Hz is below the limit of {MIN_SAMPLE_RATE_HZ} Hz")
    if channels > limits.max_channels:
        raise LimitExceededError(f"{channels} channels exceed the limit of {limits.max_channels}")


def check_duration(duration_s: float, info: AudioInfo, limits: Limits) -> None:
    """Raises LimitExceededError for audio that is longer than the limit and its codec's padding."""
    if duration_s > limits.max_duration_s + info.padding_s + 1e-3:
        hint = "; scan takes longer audio" if limits.max_duration_s <= 30 else ""
        raise LimitExceededError(f"{duration_s:.2f} s exceed the limit of {limits.max_duration_s:g} s{hint}")


def _options(data: RecordingBytes) -> dict[str, str]:
    # In a WAVE FFmpeg looks through up to 5 MB for DTS in the guise of PCM, which takes 35 ms; less of it is enough.
    head = data.read(0, 12)
    wave = head[:4] == b"RIFF" and head[8:] == b"WAVE"
    return {"format_whitelist": DEMUXERS, **({"probesize": "131072"} if wave else {})}


def _unreadable(data: RecordingBytes, error: Exception) -> UnsupportedFormatError | IncompleteAudioError:
    if (missing := missing_mp4_index(data)) is not None:
        return _incomplete(missing)
    reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
    seen = f"looks like {kind}" if (kind := other_file(data)) else reason
    return UnsupportedFormatError(
        f"not a known audio file ({seen}); send WAV, FLAC, Ogg, MP3, M4A or another FFmpeg format"
    )


def _without_audio(
    data: RecordingBytes, container: av.container.InputContainer
) -> NoAudioTrackError | IncompleteAudioError:
    if (missing := missing_mp4_index(data)) is not None:
        return _incomplete(missing)
    kinds = sorted({stream.type for stream in container.streams})
    held = f"only {' and '.join(kinds)} tracks" if kinds else "nor any other"
    return NoAudioTrackError(f"the {container.format.name} file has no audio track, {held}; is it the right file?")


def _incomplete(missing: str) -> IncompleteAudioError:
    return IncompleteAudioError(
        f"incomplete: {missing} (the index of an MP4 file, without which nothing can be decoded); "
        "was the recording or the upload cut off?"
    )


def _choose_track(container: av.container.InputContainer) -> tuple[AudioStream, list[str]]:
    """The audio track that a player plays, and a warning for each that is not heard.

    Players take the first track that is flagged as the default, or else the first; one they cannot decode they skip.
    """
    tracks = container.streams.audio
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise UnsupportedFormatError(f"the {container.format.name} file's audio codec is unknown to FFmpeg")
    flagged = [track for track in decodable if track.disposition & Disposition.default]
    chosen = (flagged or decodable)[0]
    heard = tracks.index(chosen) + 1
    return chosen, [
        f"audio track {number} of {len(tracks)}{_named(track)} was not checked: track {heard}, which players play, was"
        for number, track in enumerate(tracks, 1)
        if track is not chosen
    ]


def _named(track: AudioStream) -> str:
    """The track's language and title in brackets, where it has any; a title is the caller's text, so it is cut."""
    language, title = (_printable(track.metadata.get(key, "")) for key in ("language", "title"))
    known = [*([language] if language not in ("", "und") else []), *([f'"{title}"'] if title else [])]
    return f" ({', '.join(known)})" if known else ""


def _printable(text: str) -> str:
    return "".join(char for char in text[:40] if char.isprintable())


def _undeclared(data: RecordingBytes) -> list[str]:
    sizes = wave_sizes(data) if data.size is not None else None
    if sizes is None or sizes.placeholder or not sizes.undeclared_bytes:
        return []
    return [
        f"{sizes.undeclared_bytes} bytes follow the {sizes.claimed_bytes} bytes of audio that the WAV header states: "
        "they were not checked"
    ]


def _stated_duration_s(
    data: RecordingBytes, container: av.container.InputContainer, stream: AudioStream
) -> float | None:
    """The length that the container states; None where it states none."""
    name = container.format.name.split(",")[0]
    if name in _UNSTATED_LENGTH:
        return None
    if name == "mp3":
        return _mp3_duration_s(data, stream.rate or 0)
    if name == "wav" and (claimed_s := stated_wave_duration_s(data)) is not None:
        return claimed_s  # FFmpeg's length is that of the bytes that are there
    if stream.duration is not None and stream.time_base is not None:
        stated_s = float(stream.duration * stream.time_base)
    elif container.duration:
        stated_s = container.duration / av.time_base
    else:
        return None
    # Ogg and Matroska state where the last packet ends, on a clock that may have begun before the recording did
    begun_s = (container.start_time or 0) / av.time_base
    keeps_clock = name == "ogg" or (name == "matroska" and begun_s > MAX_LATE_START_S)
    return stated_s - begun_s if keeps_clock else stated_s


def _mp3_duration_s(data: RecordingBytes, rate_hz: int) -> float | None:
    """The frames that the first one counts, in seconds.

    FFmpeg goes by the bit rate instead where the file is larger than that header says, as it is with a tag at its end
    or with another file joined to it.
    """
    frames = stated_frames(data)
    samples_per_frame = 1152 if rate_hz >= 32_000 else 576  # MPEG-1; MPEG-2 and 2.5, Layer III
    return frames * samples_per_frame / rate_hz if frames and rate_hz else None
