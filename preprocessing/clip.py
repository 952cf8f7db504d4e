"""One encoded clip of at most 30 s to what the models take: decoding, mixing, resampling and log-mel by DALI.

Where somebody speaks is found beside it, on the CPU (preprocessing.speech_activity).

DALI's operators are set up to compute exactly openai-whisper's `log_mel_spectrogram`
(https://github.com/openai/whisper/blob/main/whisper/audio.py): the largest difference seen was below 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from nvidia.dali import fn, math, pipeline_def, types
from nvidia.dali.pipeline import Pipeline

from preprocessing.container import Limits, check_wav_size, probe, to_wav
from preprocessing.errors import AudioError, CorruptAudioError, LimitExceededError
from preprocessing.speech_activity import Span, speech_activity

SAMPLE_RATE_HZ = 16_000
CLIP_S = 30
N_SAMPLES = CLIP_S * SAMPLE_RATE_HZ  # 480,000 samples in a full window
N_FFT, HOP = 400, 160  # 25 ms windows, 10 ms hop
N_FRAMES = N_SAMPLES // HOP  # 3,000 log-mel frames in a full window
_SLACK = SAMPLE_RATE_HZ // 1000  # resampling may round a 30 s clip up by a few samples


@dataclass(frozen=True)
class Clip:
    """A decoded clip."""

    waveform: np.ndarray  # fp32 [N_SAMPLES], 16 kHz mono in [-1, 1], zero-padded at the end
    log_mel: np.ndarray  # fp32 [n_mels, N_FRAMES], normalised as Whisper expects
    duration_s: float
    speech: tuple[Span, ...]  # where somebody speaks; () where nobody does


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

    def _prepare(self, encoded: np.ndarray) -> np.ndarray | AudioError:
        """Bytes that DALI can decode; never raises for bad audio."""
        try:
            data = np.ascontiguousarray(encoded).data
            info = probe(data, self._limits)
            check_wav_size(data)
            return encoded if info.dali_decodes else np.frombuffer(to_wav(data, self._limits), np.uint8)
        except AudioError as error:
            return error

    def _run(self, encoded: Sequence[np.ndarray]) -> list[Clip | AudioError]:
        # DALI fails a whole batch for one bad item, and the pipeline object with it: build anew (a few ms) and isolate.
        try:
            self._pipeline.feed_input("encoded", list(encoded))
            waveforms, log_mels, lengths = (output.as_cpu() for output in self._pipeline.run())
        except RuntimeError as error:
            self._pipeline = self._build()
            if len(encoded) > 1:
                return [result for item in encoded for result in self._run([item])]
            return [CorruptAudioError(f"the audio cannot be decoded ({_last_line(error)}); is the file truncated?")]
        decoded = [
            (np.array(waveforms.at(i)), np.array(log_mels.at(i)), int(lengths.at(i)[0])) for i in range(len(encoded))
        ]
        return list(self._pool.map(self._clip, *zip(*decoded, strict=True)))

    def _clip(self, waveform: np.ndarray, log_mel: np.ndarray, samples: int) -> Clip | AudioError:
        if samples > N_SAMPLES + _SLACK:
            return LimitExceededError(
                f"{samples / SAMPLE_RATE_HZ:.2f} s exceed the limit of {CLIP_S} s; send longer audio to the model "
                "'episode_safety'"
            )
        if samples == 0:
            return CorruptAudioError("the file holds no audio samples; was the recording cut off?")
        samples = min(samples, N_SAMPLES)
        return Clip(waveform, log_mel, samples / SAMPLE_RATE_HZ, self._speech_activity.spans(waveform[:samples]))


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.startswith("Error ")]
    return lines[-1].removeprefix("Error decoding file . Error: ") if lines else type(error).__name__
