"""Synthetic speech for tests: espeak-ng in this process, from the library that the espeakng-loader package carries.

from support.speech import speak
samples = speak("hello there")  # fp32 [samples], 16 kHz
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd

import espeakng_loader
import numpy as np
from scipy.signal import resample_poly

SAMPLE_RATE = 16_000

# speak_lib.h of espeak-ng
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data, do not end the process
_RATE = 1  # espeakRATE, words a minute
_WORDS_A_MINUTE = range(80, 451)  # what espeak-ng takes without clipping it
_CHARS_UTF8 = 1

_ON_SAMPLES = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_collected: list[np.ndarray] = []


@_ON_SAMPLES
def _collect(samples, count, _events):  # type: ignore[no-untyped-def]  # called by espeak-ng
    if samples and count > 0:
        _collected.append(np.ctypeslib.as_array(samples, (count,)).copy())
    return 0


@contextmanager
def _espeak() -> Iterator[tuple[ctypes.CDLL, int]]:
    """A fresh espeak-ng and its sample rate in Hz.

    The library keeps the phase of its oscillators in static variables, so what it says depends on what it said before;
    unloading it (milliseconds) is the only way to make the same text sound the same.
    """
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data = espeakng_loader.get_data_path()
        sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
        if sample_rate <= 0:
            raise RuntimeError(f"espeak-ng does not start with the data in {data}; reinstall espeakng-loader")
        library.espeak_SetSynthCallback(_collect)
        yield library, sample_rate
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)


def speak(text: str, voice: str = "en-us", speed: int = 150) -> np.ndarray:
    """Say `text`: fp32 [samples] at 16 kHz, within ±1. The same arguments always give the same samples.

    voice : an espeak-ng voice, with a variant if wanted: "en-us", "en-us+f3", "en-gb-x-rp+m2", "de" (British is "en")
    speed : words a minute, 80 to 450

    Raises ValueError for another speed or a voice that espeak-ng does not have. Not for several threads at once.
    """
    if speed not in _WORDS_A_MINUTE:
        raise ValueError(f"speed is {speed} words a minute; espeak-ng speaks at 80 to 450")
    _collected.clear()
    with _espeak() as (library, sample_rate):
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        library.espeak_SetParameter(_RATE, speed, 0)
        data = text.encode() + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, _CHARS_UTF8, None, None)
        library.espeak_Synchronize()
    if not _collected:
        return np.zeros(0, dtype=np.float32)
    samples = np.concatenate(_collected).astype(np.float32) / 32768
    common = gcd(SAMPLE_RATE, sample_rate)
    return resample_poly(samples, SAMPLE_RATE // common, sample_rate // common).astype(np.float32).clip(-1, 1)
