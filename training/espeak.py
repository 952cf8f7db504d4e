"""Synthetic speech by eSpeak NG, called in process through the library that the `espeakng-loader` package carries.

The C interface: https://github.com/espeak-ng/espeak-ng/blob/1.52.0/src/include/espeak-ng/speak_lib.h
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd

import espeakng_loader
import numpy as np
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE_HZ = 16_000
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data, do not end the process
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(RuntimeError):
    """eSpeak NG refused a voice or a text."""


@dataclass(frozen=True)
class Voice:
    """How one utterance is spoken."""

    language: str = "en-us"
    variant: str = ""
    words_per_minute: int = 170
    pitch: int = 50  # 0 to 99
    pitch_range: int = 50  # 0 monotone to 99


_received: list[np.ndarray] = []


@_CALLBACK
def _receive(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
    if samples and count > 0:
        _received.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
    return 0


@contextmanager
def _fresh_library() -> Iterator[tuple[ctypes.CDLL, int]]:
    """eSpeak NG just loaded, and its sample rate in Hz.

    Its oscillators' phases are static variables and the generator of its breath is seeded by the clock: only an
    unloaded library and a set seed (both take milliseconds) make the same words sound the same twice.
    """
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data_path = str(espeakng_loader.get_data_path())
        rate_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), _DO_NOT_EXIT)
        if rate_hz <= 0:
            raise SpeechError(f"eSpeak NG found no voice data in {data_path}; reinstall espeakng-loader")
        library.espeak_SetSynthCallback(_receive)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library, rate_hz
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)


def say(text: str, voice: Voice | None = None) -> NDArray[np.float32]:
    """Speak a text, 16 kHz mono fp32; not for several threads at once. Raises `SpeechError` for an unknown voice."""
    voice = voice if voice is not None else Voice()
    name = voice.language + (f"+{voice.variant}" if voice.variant else "")
    parameters = {_RATE: voice.words_per_minute, _PITCH: voice.pitch, _RANGE: voice.pitch_range, _VOLUME: 100}
    _received.clear()
    with _fresh_library() as (library, rate_hz):
        if library.espeak_SetVoiceByName(name.encode()) != 0:
            raise SpeechError(f"eSpeak NG has no voice {name!r}")
        for parameter, value in parameters.items():
            library.espeak_SetParameter(parameter, int(value), 0)
        encoded = text.encode()
        size = ctypes.c_size_t(len(encoded) + 1)
        if library.espeak_Synth(encoded, size, 0, 0, 0, _CHARS_UTF8, None, None) != 0:
            raise SpeechError(f"eSpeak NG could not speak {text!r} as {name!r}")
        library.espeak_Synchronize()
    if not _received:
        return np.zeros(0, dtype=np.float32)
    samples = np.concatenate(_received).astype(np.float64) / 32768
    common = gcd(SAMPLE_RATE_HZ, rate_hz)
    resampled = signal.resample_poly(samples, SAMPLE_RATE_HZ // common, rate_hz // common)
    return np.asarray(resampled, dtype=np.float32).clip(-1, 1)
