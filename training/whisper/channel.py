"""What lies between a voice and a file, on the waveform: codecs, telephones, clipping, rooms.

Noise, gain, tilt and music are mixed later, in the power domain, where they are cheap (`windows.WindowMaker.spoil`).
"""

import random

import numpy as np
from scipy.signal import butter, correlate, oaconvolve, sosfilt

from training.acoustic_safety.channel import codec_round_trip, room_response

SAMPLE_RATE = 16000
CODEC_SHARE = 0.12  # encoding costs more than speaking
CODECS = [  # container, encoder, bit/s of a mono file
    ("mp3", "libmp3lame", (24_000, 32_000, 48_000)),
    ("mp4", "aac", (24_000, 32_000, 48_000)),
    ("ogg", "libopus", (12_000, 16_000, 24_000)),
]


def through_codec(samples: np.ndarray, container: str, encoder: str, bit_rate: int) -> np.ndarray:
    """Encode and decode, fp32 [n] at 16 kHz in and out; the codec's delay is found by correlation and removed."""
    tail = np.zeros(4000)
    decoded = codec_round_trip(np.concatenate([samples, tail]), container, encoder, bit_rate)
    lags = correlate(decoded, samples, "valid", "fft")  # decoded is the longer: lag 0 to 4000 samples
    lag = int(np.argmax(np.abs(lags)))
    return decoded[lag : lag + len(samples)].astype(np.float32)


def telephone(samples: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz and 8-bit mu-law (ITU-T G.711, the continuous curve)."""
    x = sosfilt(butter(4, [300, 3400], "band", fs=SAMPLE_RATE, output="sos"), samples)
    x = np.clip(x, -1, 1)
    compressed = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    x = np.round(compressed * 127) / 127
    return (np.sign(x) * np.expm1(np.abs(x) * np.log(256)) / 255).astype(np.float32)


def through_a_channel(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    """Speech, fp32 [n] at 16 kHz, through none, one or several of them at random; as long as it was, peak at most 1."""
    x = samples
    if rng.random() < 0.12:
        x = oaconvolve(x, room_response(np.random.default_rng(rng.getrandbits(32))))[: len(samples)]
        x = x / max(1e-3, np.abs(x).max()) * 0.7
    if rng.random() < 0.06:
        gain = rng.uniform(1.5, 6)
        x = np.clip(x * gain, -0.7, 0.7)
    if rng.random() < 0.07:
        x = telephone(x)
    if rng.random() < CODEC_SHARE:
        container, encoder, rates = rng.choice(CODECS)
        x = through_codec(x, container, encoder, rng.choice(rates))
    return np.clip(x, -1, 1).astype(np.float32)
