"""Varied synthetic speech: random words, by their frequency in each language (wordfreq), in random eSpeak NG voices."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from wordfreq import top_n_list

from training.acoustic_safety.dsp import Audio, Rng, normalise
from training.espeak import Voice, say

LANGUAGES = {  # eSpeak voice: the wordfreq list its words come from
    "en-us": "en",
    "en-gb-x-rp": "en",
    "en-gb-scotland": "en",
    "en-029": "en",
    "de": "de",
    "fr": "fr",
    "es": "es",
    "it": "it",
    "pt": "pt",
    "sv": "sv",
    "nl": "nl",
    "pl": "pl",
    "ru": "ru",
    "tr": "tr",
}
# fmt: off
VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f4", "klatt", "klatt2", "klatt3", "whisper",
    "whisperf", "croak", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Diogo", "Gene", "Henrique", "Jacky", "Lee",
    "Marco", "Mario", "Mike", "Reed", "Storm", "adam", "anika", "announcer", "antonio", "aunty", "belinda", "benjamin",
    "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "gustave", "ian", "john", "max", "miguel",
    "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "victor", "zac",
)
# fmt: on
HELD_OUT_LANGUAGES = {"da": "da", "fi": "fi", "cs": "cs", "en-us": "en"}  # only the evaluation speaks with these voices
HELD_OUT_VARIANTS = ("m7", "f5", "klatt4", "Michael", "linda", "Hugo", "travis")


@cache
def _words(language: str) -> tuple[str, ...]:
    return tuple(word for word in top_n_list(language, 4000) if word.isalpha())


def random_text(rng: Rng, language: str, n_words: int) -> str:
    """Words by a Zipf-like draw, with the commas and stops that give a voice its pauses."""
    words = _words({**LANGUAGES, **HELD_OUT_LANGUAGES}[language])
    ranks = np.minimum((len(words) ** rng.random(n_words)).astype(int), len(words) - 1)
    marks = rng.choice(["", ",", ".", "?", "!"], n_words, p=[0.82, 0.08, 0.07, 0.015, 0.015])
    return " ".join(words[rank] + mark for rank, mark in zip(ranks, marks, strict=True))


def random_voice(rng: Rng) -> Voice:
    english = rng.random() < 0.5
    names = list(LANGUAGES)[:4] if english else list(LANGUAGES)[4:]
    return Voice(
        language=str(rng.choice(names)),
        variant=str(rng.choice(VARIANTS)) if rng.random() < 0.85 else "",
        words_per_minute=int(rng.integers(120, 230)),
        pitch=int(rng.integers(5, 99)),
        pitch_range=int(rng.integers(10, 99)),
    )


def held_out_voice(rng: Rng) -> Voice:
    """A voice no training example was spoken with."""
    voice = random_voice(rng)
    language, variant = str(rng.choice(list(HELD_OUT_LANGUAGES))), str(rng.choice(HELD_OUT_VARIANTS))
    return replace(voice, language=language, variant=variant)


def speech(rng: Rng, voice: Voice | None = None) -> Audio:
    """Several sentences by a random voice unless one is given, about 4 to 20 s."""
    voice = voice if voice is not None else random_voice(rng)
    audio = say(random_text(rng, voice.language, int(rng.integers(12, 45))), voice)
    return normalise(audio)


def held_out_speech(rng: Rng) -> Audio:
    """`speech` by a voice kept for evaluation."""
    return speech(rng, held_out_voice(rng))
