"""Every sound the recipe can synthesise, by name.

`SOUNDS[name](np.random.default_rng(seed))` gives one example: 16 kHz mono fp32, peak 0.5, never two alike.
The five safety events can also be imported directly: `from training.acoustic_safety.sounds import gunshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.acoustic_safety import lookalikes, music, voice
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

LOOKALIKES: Mapping[str, Sound] = {
    "alarm_beep": lookalikes.alarm_beep,
    "applause": lookalikes.applause,
    "babble": voice.babble,
    "baby_cry": voice.baby_cry,
    "bird_song": lookalikes.bird_song,
    "car_horn": lookalikes.car_horn,
    "cheering": voice.cheering,
    "cough": voice.cough,
    "dishes": lookalikes.dishes,
    "dog_bark": lookalikes.dog_bark,
    "door_slam": lookalikes.door_slam,
    "engine": lookalikes.engine,
    "fireworks": lookalikes.fireworks,
    "fireworks_crackle": lookalikes.fireworks_crackle,
    "footsteps": lookalikes.footsteps,
    "glissando": lookalikes.glissando,
    "hammering": lookalikes.hammering,
    "hand_clap": lookalikes.hand_clap,
    "keys_jingle": lookalikes.keys_jingle,
    "knocking": lookalikes.knocking,
    "laughter": voice.laughter,
    "microphone_thump": lookalikes.microphone_thump,
    "noise_sweep": lookalikes.noise_sweep,
    "paper_rustle": lookalikes.paper_rustle,
    "passing_rumble": lookalikes.passing_rumble,
    "phone_ring": lookalikes.phone_ring,
    "plosive": voice.plosive,
    "rain": lookalikes.rain,
    "shout": voice.shout,
    "squeal": lookalikes.squeal,
    "thunder": lookalikes.thunder,
    "typing": lookalikes.typing,
    "whistle": lookalikes.whistle,
    "wind": lookalikes.wind,
}

SOUNDS: Mapping[str, Sound] = {**EVENTS, **SPEECH, **MUSIC, **LOOKALIKES}

__all__ = [
    "EVENTS",
    "LOOKALIKES",
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
