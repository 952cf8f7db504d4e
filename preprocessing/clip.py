"""One encoded clip of at most 30 s to what the models take: decoding and log-mel, in batches, by DALI.

Whatever needs mixing or resampling, or is in a container that DALI does not read, first becomes 16 kHz mono by the same
code as an episode (preprocessing.decoding), so that a sound gets one verdict however it is sent. Where somebody speaks
is found beside it, on the CPU (preprocessing.speech_activity).

DALI's operators are set up to compute exactly openai-whisper's `log_mel_spectrogram`
(https://github.com/openai/whisper/blob/main/whisper/audio.py): the largest difference seen was below 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
from nvidia.dali import fn, math, pipeline_def, types
from nvidia.dali.pipeline import Pipeline

from preprocessing.container import Limits, Source, opened
from preprocessing.decoding import CLIP_S as CLIP_S
from preprocessing.decoding import SAMPLE_RATE_HZ as SAMPLE_RATE_HZ
from preprocessing.decoding import check_wave_size, decode_whole
from preprocessing.downmix import MAX_SAMPLE
from preprocessing.errors import AudioError, CorruptAudioError
from preprocessing.recording_bytes import RecordingBytes
from preprocessing.speech_activity import Span, speech_activity
from preprocessing.wave_file import WaveSizes, wave_bytes, wave_sizes

N_SAMPLES = CLIP_S * SAMPLE_RATE_HZ  # 480,000 samples in a full window
N_FFT, HOP = 400, 160  # 25 ms windows, 10 ms hop
N_FRAMES = N_SAMPLES // HOP  # 3,000 log-mel frames in a full window
_SLACK = SAMPLE_RATE_HZ // 1000  # as the limit on the stated duration has
_DALI_CODECS = {  # what nvidia.dali.fn.decoders.audio takes, by FFmpeg's names: container -> codecs
    "wav": {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"},
    "flac": {"flac"},
    "ogg": {"vorbis"},
}
_DALI_MAGIC = (b"RIFF", b"fLaC", b"OggS")


@dataclass(frozen=True)
class Clip:
    """A decoded clip."""

    waveform: np.ndarray  # fp32 [N_SAMPLES], 16 kHz mono in [-1, 1], zero-padded at the end
    log_mel: np.ndarray  # fp32 [n_mels, N_FRAMES], normalised as Whisper expects
    duration_s: float
    speech: tuple[Span, ...]  # where somebody speaks; () where nobody does
    warnings: tuple[str, ...] = ()  # what of the file was not heard, or heard otherwise than it is there


@dataclass(frozen=True)
class _Prepared:
    """Bytes that DALI decodes."""

    encoded: np.ndarray  # uint8 [bytes]
    warnings: tuple[str, ...]


@pipeline_def(exec_dynamic=True)
def _graph(n_mels: int, on_gpu: bool) -> tuple:
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
    audio, _ = fn.decoders.audio(encoded, downmix=True, sample_rate=SAMPLE_RATE_HZ, dtype=types.FLOAT)
    length = audio.shape(dtype=types.INT64)
    zero_padded = partial(fn.slice, start=0, out_of_bounds_policy="pad", fill_values=0.0)
    waveform = zero_padded(audio, shape=N_SAMPLES, axes=(0,))
    # a spectrum of zeros is zero and needs no computing; one beyond the sound is kept, so that only zeros get reflected
    extent = fn.cast(math.min(length + N_FFT, N_SAMPLES), dtype=types.INT32)
    heard = fn.slice(waveform, start=0, shape=extent, axes=(0,))
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)  # periodic, as torch's
    power = fn.spectrogram(
        heard.gpu() if on_gpu else heard,
        nfft=N_FFT,
        window_length=N_FFT,
        window_step=HOP,
        window_fn=hann.tolist(),
        reflect_padding=True,
        power=2,
    )
    mel = fn.mel_filter_bank(
        power, nfilter=n_mels, sample_rate=SAMPLE_RATE_HZ, freq_high=8000.0, mel_formula="slaney", normalize=True
    )
    mel = zero_padded(mel, shape=N_FRAMES, axes=(1,))  # in a full window, the frame centred on the end is dropped
    log10 = fn.to_decibels(mel, multiplier=1.0, reference=1.0, cutoff_db=-10.0)
    log_mel = (math.max(log10, fn.reductions.max(log10) - 8.0) + 4.0) / 4.0
    return waveform, log_mel, length


class ClipDecoder:
    """Decodes batches of clips. Not thread-safe: one per Triton instance."""

    def __init__(self, n_mels: int, limits: Limits, max_batch_size: int, threads: int, device_id: int | None = None):
        """`device_id` is the GPU for the spectrogram; None computes on the CPU. `limits` bounds every clip."""
        self._limits = limits
        self._build = partial(
            _graph,
            n_mels=n_mels,
            on_gpu=device_id is not None,
            batch_size=max_batch_size,
            num_threads=threads,
            device_id=device_id,
            prefetch_queue_depth=1,
        )
        self._pipeline: Pipeline = self._build()
        self._max_batch_size = max_batch_size
        self._speech_activity = speech_activity()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clip")  # FFmpeg and torch release the GIL

    def decode(self, encoded: Sequence[np.ndarray]) -> list[Clip | AudioError]:
        """Clips in the order of `encoded` (uint8 [bytes] each); one that cannot be decoded is an AudioError instead."""
        prepared = list(self._pool.map(self._prepare, encoded))
        good = [item for item in prepared if not isinstance(item, AudioError)]
        batches = (good[first : first + self._max_batch_size] for first in range(0, len(good), self._max_batch_size))
        decoded = (result for batch in batches for result in self._run(batch))
        return [item if isinstance(item, AudioError) else next(decoded) for item in prepared]

    def _prepare(self, encoded: np.ndarray) -> _Prepared | AudioError:
        """Bytes that DALI can decode, the caller's own where it can; never raises for bad audio."""
        try:
            with opened(np.ascontiguousarray(encoded).data, self._limits) as source:
                if _dali_decodes(source, self._limits):
                    return _Prepared(encoded, source.info.warnings)
                samples, warnings = decode_whole(source, self._limits)
            # what is longer is a lossy codec's padding: the limit has been checked
            wave = wave_bytes(samples[None, :N_SAMPLES], SAMPLE_RATE_HZ)
            return _Prepared(np.frombuffer(wave, np.uint8), warnings)
        except AudioError as error:
            return error

    def _run(self, prepared: Sequence[_Prepared]) -> list[Clip | AudioError]:
        # DALI fails a whole batch for one bad item, and the pipeline object with it: build anew (a few ms) and isolate.
        try:
            self._pipeline.feed_input("encoded", [item.encoded for item in prepared])
            waveforms, log_mels, lengths = (output.as_cpu() for output in self._pipeline.run())
        except RuntimeError as error:
            self._pipeline = self._build()
            if len(prepared) > 1:
                return [result for item in prepared for result in self._run([item])]
            return [CorruptAudioError(f"the audio cannot be decoded ({_last_line(error)}); is the file truncated?")]
        # arrays are copied: the next run writes to the same memory
        decoded = [
            (np.array(waveforms.at(i)), np.array(log_mels.at(i)), int(lengths.at(i)[0])) for i in range(len(prepared))
        ]
        return list(self._pool.map(self._clip, prepared, *zip(*decoded, strict=True)))

    def _clip(self, item: _Prepared, waveform: np.ndarray, log_mel: np.ndarray, samples: int) -> Clip | AudioError:
        if samples == 0:
            return CorruptAudioError("the file holds no audio samples; was the recording cut off?")
        if samples > N_SAMPLES + _SLACK:  # DALI read more than the header states: it would go unheard
            return CorruptAudioError(
                f"{samples / SAMPLE_RATE_HZ:.2f} s follow a header that states less; encode it again"
            )
        samples = min(samples, N_SAMPLES)
        speech = self._speech_activity.spans(waveform[:samples])
        return Clip(waveform, log_mel, samples / SAMPLE_RATE_HZ, speech, item.warnings)


def _dali_decodes(source: Source, limits: Limits) -> bool:
    """Whether DALI reads these bytes as they are, to the same samples as FFmpeg."""
    info = source.info
    if (info.sample_rate_hz, info.channels) != (SAMPLE_RATE_HZ, 1) or source.data.read(0, 4) not in _DALI_MAGIC:
        return False
    if len(source.container.streams) != 1 or info.codec not in _DALI_CODECS.get(info.container, ()):
        return False
    if info.container == "wav":
        check_wave_size(source.data)
        sizes = wave_sizes(source.data)
        return sizes is not None and not sizes.placeholder and _all_numbers(source.data, sizes, info.codec)
    with opened(source.data, limits) as again:  # `source` stays at its start
        return _states_its_length(again)


def _all_numbers(data: RecordingBytes, sizes: WaveSizes, codec: str) -> bool:
    """Whether a WAVE of floating-point samples holds nothing that is no sound, which DALI would let through."""
    if codec not in ("pcm_f32le", "pcm_f64le"):
        return True
    kind = np.dtype("<f4" if codec == "pcm_f32le" else "<f8")
    samples = np.frombuffer(data.read(sizes.start, sizes.claimed_bytes // kind.itemsize * kind.itemsize), kind)
    return bool(np.all(np.abs(samples) <= MAX_SAMPLE))  # False for NaN


def _states_its_length(source: Source) -> bool:
    """Whether the packets follow one another and are as long together as a FLAC or Ogg header states.

    DALI reads as much as the header states, and knows no timestamps: what lies beyond would go unheard.
    """
    total_s, time_base = 0.0, float(source.stream.time_base or 0)
    try:
        for packet in source.container.demux(source.stream):
            if packet.pts is not None and abs(packet.pts * time_base - total_s) > 0.1:
                break
            total_s += (packet.duration or 0) * time_base
    except av.FFmpegError:
        pass  # what has been read counts
    stated_s = source.info.duration_s
    return stated_s is not None and abs(total_s - stated_s) < 0.1


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.startswith("Error ")]
    return lines[-1].removeprefix("Error decoding file . Error: ") if lines else type(error).__name__
