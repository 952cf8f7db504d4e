"""Synthetic speech with phone, word and silence times, from espeak-ng and flite called in-process.

Usage: python -m training.whisper.speak OUT --espeak 24000 --flite 6000 --seed 1

Writes OUT.mel (fp16 [frames, 80], log10 mel power of 10 ms frames), OUT.npz (offsets, 20 ms phone ids, word spans) and
OUT.json (texts, voices, phone names). Needs Debian's libespeak-ng1 and flite.
"""

import argparse
import ctypes as C
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly
from whisper.audio import mel_filters

from training.whisper.channel import through_a_channel
from training.whisper.text import Grammar, draw, plain

SAMPLE_RATE = 16000
HOP = 160  # 10 ms
LEAD, TAIL = 400, 800  # samples kept before the first and after the last loud sample: 25 ms, 50 ms
LOUD = 0.01  # share of the peak that counts as speech

MAIN_ACCENTS = ["en-us", "en"]  # eSpeak NG calls British English "en"
OTHER_ACCENTS = ["en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbcwmd", "en-gb-x-gbclan"]
VARIANTS = ["", *(f"+m{i}" for i in range(1, 9)), *(f"+f{i}" for i in range(1, 6))]
NAMED_VARIANTS = [  # without croaking, whispering and robot voices
    f"+{name}"
    for name in (
        "Alex Alicia Andy Denis Diogo Gene Henrique Hugo Jacky Marco Mario Mike Nguyen anika antonio aunty belinda "
        "benjamin boris caleb david ed grandpa gustave iven iven2 john klatt klatt2 klatt3 klatt4 marcelo max michel "
        "miguel norbert pablo paul pedro rob robert sandro shelby travis victor zac"
    ).split()
]
HELD_OUT_VARIANTS = [  # never trained on, nor their near relatives (edward2, steph2, steph3)
    f"+{name}" for name in "Andrea Annie Lee Michael adam edward grandma linda quincy steph".split()
]
FLITE_VOICES = ["slt", "rms", "awb", "kal16"]

ARPABET = dict(  # flite's phones -> espeak-ng's mnemonics, so that one label serves both voices
    pair.split(":", 1)
    for pair in (
        "aa:A: ae:a ah:V ao:O: aw:aU ax:@ ay:aI b:b ch:tS d:d dh:D eh:E er:3: ey:eI f:f g:g hh:h ih:I iy:i: jh:dZ k:k "
        "l:l m:m n:n ng:N ow:oU oy:OI p:p r:r s:s sh:S t:t th:T uh:U uw:u: v:v w:w y:j z:z zh:Z pau:_:"
    ).split()
)


@dataclass(frozen=True)
class Job:
    seed: int
    engine: str  # "espeak" or "flite"
    text: str


@dataclass(frozen=True)
class Spoken:
    """What an engine says, silences included."""

    voice: str
    samples: np.ndarray  # fp32 at 16 kHz
    phones: list[tuple[float, str]]  # start in seconds, name
    words: list[tuple[float, int]]  # start in seconds, index of the written word


@dataclass(frozen=True)
class Utterance:
    """Speech cut to its loud part, as features and labels."""

    voice: str
    mel: np.ndarray  # fp16 [frames, 80], log10 power, not normalised
    phones: list[tuple[float, str]]  # start in seconds, name
    words: list[tuple[float, float]]  # start and end in seconds, one pair a written word


def log_mel(samples: np.ndarray) -> np.ndarray:
    """samples: fp32 [n] at 16 kHz -> fp16 [ceil(n / 160), 80], log10 power as whisper.audio, before normalisation."""
    x = torch.nn.functional.pad(torch.from_numpy(samples), (0, -len(samples) % HOP))
    power = torch.stft(x, 400, HOP, window=torch.hann_window(400), return_complex=True)[..., :-1].abs() ** 2
    return torch.clamp(mel_filters("cpu", 80) @ power, min=1e-10).log10().T.contiguous().half().numpy()


# --- espeak-ng: https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h


class _Id(C.Union):
    _fields_ = [("number", C.c_int), ("name", C.c_char_p), ("string", C.c_char * 8)]


class _Event(C.Structure):
    _fields_ = [
        ("type", C.c_int),
        ("uid", C.c_uint),
        ("text_position", C.c_int),
        ("length", C.c_int),
        ("audio_position", C.c_int),  # milliseconds
        ("sample", C.c_int),
        ("user_data", C.c_void_p),
        ("id", _Id),
    ]


_WORD, _PHONEME = 1, 7  # espeak_EVENT_TYPE
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_samples: list[np.ndarray] = []
_events: list[tuple[int, int, str]] = []  # type, milliseconds, phone name or text position


@C.CFUNCTYPE(C.c_int, C.POINTER(C.c_short), C.c_int, C.POINTER(_Event))
def _collect(wav: Any, n: int, events: Any) -> int:
    if wav and n > 0:
        _samples.append(np.ctypeslib.as_array(wav, (n,)).copy())
    i = 0
    while events[i].type:
        e = events[i]
        if e.type == _PHONEME:
            _events.append((_PHONEME, e.audio_position, bytes(e.id.string).split(b"\0")[0].decode("latin1")))
        elif e.type == _WORD:
            _events.append((_WORD, e.audio_position, str(e.text_position - 1)))
        i += 1
    return 0


class Espeak:
    def __init__(self) -> None:
        self.lib = C.CDLL("libespeak-ng.so.1")
        self.lib.espeak_Initialize(2, 0, None, 1)  # synchronous output, phone events on
        self.lib.espeak_SetSynthCallback(_collect)

    def speak(self, text: str, rng: random.Random) -> Spoken:
        """Speak in any accent, variant, rate and pitch; 40 % keep the default pitch, as most callers do."""
        accent = rng.choice(MAIN_ACCENTS) if rng.random() < 0.7 else rng.choice(OTHER_ACCENTS)
        usual = rng.random() < 0.4
        pitch, spread = (50, 50) if usual else (rng.randint(20, 80), rng.randint(20, 80))
        variant = rng.choice(VARIANTS if rng.random() < 0.5 else NAMED_VARIANTS)
        return self.speak_as(text, accent + variant, rng.randint(115, 205), pitch, spread)

    def speak_as(self, text: str, voice: str, rate: int, pitch: int = 50, spread: int = 50) -> Spoken:
        """voice: such as en-us+f2; rate: words a minute; pitch and spread (its range): 0 to 100."""
        _samples.clear()
        _events.clear()
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}")  # it would go on with the last one
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, spread)):
            self.lib.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self.lib.espeak_Synth(data, len(data) + 1, 0, 0, 0, 1, None, None)
        self.lib.espeak_Synchronize()
        samples = resample_poly(np.concatenate(_samples).astype(np.float32) / 32768, 320, 441)  # 22.05 -> 16 kHz
        phones = [(ms / 1000, name) for kind, ms, name in _events if kind == _PHONEME]
        words = [(ms / 1000, text[: int(at)].count(" ")) for kind, ms, at in _events if kind == _WORD]
        return Spoken(voice, samples.astype(np.float32), phones, words)


# --- flite: https://github.com/festvox/flite (cst_wave.h, cst_item.h)


class _Wave(C.Structure):
    _fields_ = [
        ("type", C.c_char_p),
        ("sample_rate", C.c_int),
        ("num_samples", C.c_int),
        ("num_channels", C.c_int),
        ("samples", C.POINTER(C.c_short)),
    ]


class _Voice(C.Structure):
    _fields_ = [("name", C.c_char_p), ("features", C.c_void_p)]


class Flite:
    def __init__(self) -> None:
        self.lib = lib = C.CDLL("libflite.so.1", mode=C.RTLD_GLOBAL)
        for part in ("cmulex", "usenglish"):
            C.CDLL(f"libflite_{part}.so.1", mode=C.RTLD_GLOBAL)
        lib.flite_init()
        for name in ("flite_synth_text", "utt_wave", "utt_relation", "relation_head", "item_next", "item_daughter"):
            getattr(lib, name).restype = C.c_void_p
        lib.ffeature_string.restype = C.c_char_p
        lib.ffeature_float.restype = C.c_float
        self.voices = {}
        for name in FLITE_VOICES:
            register = getattr(C.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.restype = C.POINTER(_Voice)
            self.voices[name] = register(None)

    def _items(self, utterance: C.c_void_p, relation: bytes) -> Iterator[C.c_void_p]:
        item = self.lib.relation_head(C.c_void_p(self.lib.utt_relation(utterance, relation)))
        while item:
            yield C.c_void_p(item)
            item = self.lib.item_next(C.c_void_p(item))

    def speak(self, text: str, rng: random.Random) -> Spoken:
        """Speak in any voice, 60 % stretched or hurried, half at another pitch."""
        stretch = 1.0 if rng.random() < 0.4 else rng.uniform(0.85, 1.25)
        return self.speak_as(
            text, rng.choice(FLITE_VOICES), stretch, 1.0 if rng.random() < 0.5 else rng.uniform(0.8, 1.25)
        )

    def speak_as(self, text: str, name: str, stretch: float, pitch: float = 1.0) -> Spoken:
        """name: one of FLITE_VOICES; stretch of durations and pitch: 1 as the voice was made."""
        voice = self.voices[name]
        for feature, value in ((b"duration_stretch", stretch), (b"f0_shift", pitch)):
            self.lib.feat_set_float(C.c_void_p(voice.contents.features), feature, C.c_float(value))
        utterance = C.c_void_p(self.lib.flite_synth_text(text.encode(), voice))
        try:
            wave = C.cast(C.c_void_p(self.lib.utt_wave(utterance)), C.POINTER(_Wave)).contents
            if wave.sample_rate != SAMPLE_RATE:
                raise ValueError(f"flite voice {name}: {wave.sample_rate} Hz, wanted {SAMPLE_RATE}")
            samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / 32768
            phones, start = [], 0.0
            for item in self._items(utterance, b"Segment"):
                phones.append((start, ARPABET.get(self.lib.ffeature_string(item, b"name").decode(), "_:")))
                start = self.lib.ffeature_float(item, b"end")
            words = [
                (self.lib.ffeature_float(item, b"daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"), i)
                for i, item in enumerate(self._items(utterance, b"Token"))
            ]
        finally:
            self.lib.delete_utterance(utterance)
        return Spoken(name, samples, phones, words)


def trim(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """-> the loud part with a little room about it, its peak at 0.7, and the sample it began at."""
    loud = np.flatnonzero(np.abs(samples) > LOUD * max(np.abs(samples).max(initial=0), 1e-3))
    if not len(loud):
        return samples[:0], 0
    begin = max(0, loud[0] - LEAD)
    x = samples[begin : loud[-1] + TAIL]
    return x / max(0.05, np.abs(x).max()) * np.float32(0.7), begin


_engines: dict[str, Espeak | Flite] = {}


def speak(job: Job) -> Utterance | None:
    """One utterance, cut to its speech, at most 0.7 of full scale; None where the words cannot be placed."""
    torch.set_num_threads(1)
    if job.engine not in _engines:
        _engines[job.engine] = Espeak() if job.engine == "espeak" else Flite()
    text = " ".join(job.text.replace("-", " ").split())
    if any(len(plain(w)) != 1 for w in text.split()):  # one written word between spaces, or spans would shift
        return None
    spoken = _engines[job.engine].speak(text, random.Random(job.seed))
    x, begin = trim(spoken.samples)
    if len(x) < 1600 or not spoken.phones:
        return None
    shift = begin / SAMPLE_RATE
    at: dict[int, float] = {}
    for start, word in spoken.words:
        at.setdefault(word, max(0.0, start - shift))
    count, seconds = len(text.split()), len(x) / SAMPLE_RATE
    filled = [at.get(0, 0.0)]
    for word in range(1, count):  # a word without an event (elided, merged) shares its predecessor's start
        filled.append(max(filled[-1], at.get(word, filled[-1])))
    spans = [(filled[i], next((s for s in filled[i + 1 :] if s > filled[i]), seconds)) for i in range(count)]
    phones = [(max(0.0, s - shift), name) for s, name in spoken.phones]
    return Utterance(spoken.voice, log_mel(through_a_channel(x, random.Random(job.seed + 1))), phones, spans)


def phone_frames(utterance: Utterance, names: dict[str, int]) -> np.ndarray:
    """uint8 [ceil(frames / 2)]: phone of every 20 ms; `names` grows as new phones are met (0 is silence)."""
    frames = np.zeros((len(utterance.mel) + 1) // 2, np.uint8)
    ends = [s for s, _ in utterance.phones[1:]] + [len(frames) / 50]
    for (start, name), end in zip(utterance.phones, ends, strict=True):
        frames[round(start * 50) : round(end * 50)] = (
            0 if name.startswith("_") else names.setdefault(name, len(names) + 1)
        )
    return frames


def write(jobs: list[Job], out: Path, workers: int | None) -> None:
    texts, voices, words = [], [], []
    offsets, word_offsets, phones = [0], [0], []
    names: dict[str, int] = {}
    started = time.time()
    with Pool(workers) as pool, out.with_suffix(".mel").open("wb") as f:
        for done, (job, utterance) in enumerate(zip(jobs, pool.imap(speak, jobs, chunksize=32), strict=True), start=1):
            if utterance is not None:
                f.write(utterance.mel.tobytes())
                offsets.append(offsets[-1] + len(utterance.mel))
                phones.append(phone_frames(utterance, names))
                words += utterance.words
                word_offsets.append(len(words))
                texts.append(job.text)
                voices.append(f"{job.engine}/{utterance.voice}")
            if done % 2000 == 0:
                print(
                    f"{done}/{len(jobs)} sentences, {offsets[-1] / 360000:.1f} h, {time.time() - started:.0f} s",
                    flush=True,
                )
    np.savez(
        out.with_suffix(".npz"),
        offsets=np.array(offsets),  # mel frames
        phones=np.concatenate(phones),
        words=np.array(words, np.float32),  # seconds [words, 2]
        word_offsets=np.array(word_offsets),
    )
    out.with_suffix(".json").write_text(json.dumps({"texts": texts, "voices": voices, "phones": names}))
    print(f"{out}: {len(texts)} sentences, {offsets[-1] / 360000:.2f} h, {time.time() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the shard to write, without suffix")
    parser.add_argument("--espeak", type=int, default=24000, help="sentences spoken by espeak-ng")
    parser.add_argument("--flite", type=int, default=6000, help="sentences spoken by flite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=None, help="processes, default one a core")
    options = parser.parse_args()
    rng, grammar = random.Random(options.seed), Grammar()
    engines = ["espeak"] * options.espeak + ["flite"] * options.flite
    rng.shuffle(engines)
    jobs = [Job(options.seed * 10**7 + i, e, draw(rng, grammar)[1]) for i, e in enumerate(engines)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write(jobs, options.out, options.workers)


if __name__ == "__main__":
    main()
