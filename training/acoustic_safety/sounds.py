"""Every sound the recipe can synthesise, by name.

`SOUNDS[name](np.random.default_rng(seed))` gives one example: 16 kHz mono fp32, peak 0.5, never two alike.
The five safety events can also be imported directly: `from training.acoustic_safety.sounds import gunshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.acoustic_safety import hard_negatives, music, voice
from training.acoustic_safety.dsp import SAMPLE_RATE, Audio
from training.acoustic_safety.events import explosion, glass_breaking, gunshot, scream, siren
from training.acoustic_safety.speech import speech

Sound = Callable[[np.random.Generator], Audio]

EVENTS: Mapping[str, Sound] = {
    "gunshot": gunshot,
    "explosion": explosion,
    "scream": scream,
    "siren": siren,
    "glass_breaking": glass_breaking,
}

SPEECH: Mapping[str, Sound] = {"speech": speech, "murmur": voice.murmur}

MUSIC: Mapping[str, Sound] = {
    "music": music.arrangement,
    "drone": music.drone,
    "drums": music.drums,
    "singing": voice.singing,
}

HARD_NEGATIVES: Mapping[str, Sound] = {
    "alarm_beep": hard_negatives.alarm_beep,
    "applause": hard_negatives.applause,
    "babble": voice.babble,
    "baby_cry": voice.baby_cry,
    "bird_song": hard_negatives.bird_song,
    "car_horn": hard_negatives.car_horn,
    "cheering": voice.cheering,
    "cough": voice.cough,
    "dishes": hard_negatives.dishes,
    "dog_bark": hard_negatives.dog_bark,
    "door_slam": hard_negatives.door_slam,
    "engine": hard_negatives.engine,
    "fireworks": hard_negatives.fireworks,
    "fireworks_crackle": hard_negatives.fireworks_crackle,
    "footsteps": hard_negatives.footsteps,
    "glissando": hard_negatives.glissando,
    "hammering": hard_negatives.hammering,
    "hand_clap": hard_negatives.hand_clap,
    "keys_jingle": hard_negatives.keys_jingle,
    "knocking": hard_negatives.knocking,
    "laughter": voice.laughter,
    "microphone_thump": hard_negatives.microphone_thump,
    "noise_sweep": hard_negatives.noise_sweep,
    "paper_rustle": hard_negatives.paper_rustle,
    "passing_rumble": hard_negatives.passing_rumble,
    "phone_ring": hard_negatives.phone_ring,
    "plosive": voice.plosive,
    "rain": hard_negatives.rain,
    "shout": voice.shout,
    "squeal": hard_negatives.squeal,
    "thunder": hard_negatives.thunder,
    "typing": hard_negatives.typing,
    "whistle": hard_negatives.whistle,
    "wind": hard_negatives.wind,
}

SOUNDS: Mapping[str, Sound] = {**EVENTS, **SPEECH, **MUSIC, **HARD_NEGATIVES}

__all__ = [
    "EVENTS",
    "HARD_NEGATIVES",
    "MUSIC",
    "SAMPLE_RATE",
    "SOUNDS",
    "SPEECH",
    "Sound",
    "explosion",
    "glass_breaking",
    "gunshot",
    "scream",
    "siren",
    "speech",
]
