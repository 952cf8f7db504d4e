"""More freely licensed recordings to train on, from packages of games that Debian carries (main: DFSG-free).

    apt-get download PACKAGE && dpkg -x PACKAGE_*.deb FOLDER/PACKAGE

for each of `PACKAGES`. They are trained on and never committed; their licences are in each package's
`usr/share/doc/PACKAGE/copyright`. A pattern is of the path below the package's folder; labels go by file names.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from training.acoustic_safety.clips import Clip, digest, with_folds

AUDIO = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3")
EXTRA = "extra"

# package -> (label, pattern, most recordings). The first pattern that fits a file labels it; `-` leaves it out.
PACKAGES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "asterisk-core-sounds-en-wav": (("speech", "*", 120),),
    "asterisk-core-sounds-es-wav": (("speech", "*", 60),),
    "asterisk-core-sounds-fr-wav": (("speech", "*", 60),),
    "asterisk-core-sounds-it-wav": (("speech", "*", 60),),
    "asterisk-core-sounds-ru-wav": (("speech", "*", 60),),
    "bzflag-data": (("x_game", "*/[fjlp]*.wav", 20),),
    "endless-sky-data": (("explosion", "*explosion*.wav", 20), ("-", "*alarm*", 0), ("x_game", "*", 30)),
    "freedroidrpg-data": (
        ("glass_breaking", "*Glass_Break.ogg", 1),
        ("-", "*Scream*", 0),
        ("music", "*/music/*", 12),
        ("x_voice", "*voice_samples*", 30),
    ),
    "freeorion-data": (("explosion", "*explosion-*", 9), ("music", "*/music/*", 12)),
    "fretsonfire-songs-muldjord": (("music", "*", 12),),
    "fretsonfire-songs-sectoid": (("music", "*", 12),),
    "hedgewars-data": (
        ("gunshot", "*/Sounds/gun.ogg", 1),
        ("gunshot", "*/Sounds/minigun.ogg", 1),
        ("gunshot", "*/Sounds/shotgunfire.ogg", 1),
        ("-", "*/Sounds/explosion.ogg", 0),
        ("-", "*Laugh*", 0),  # among the labelled recordings
        ("music", "*/Music/*", 12),
        ("x_shout", "*/voices/*", 250),
    ),
    "hydrogen-drumkits": (("x_drum", "*", 300),),
    "ktuberling-data": (("speech", "*", 200),),
    "lincity-ng-data": (
        ("-", "*/Rocket*", 0),
        ("-", "*/Health*", 0),  # some are ambulances
        ("-", "*/FireStation*", 0),
        ("-", "*/Shanty2*", 0),
        ("x_machine", "*/sounds/*", 130),
        ("music", "*", 12),
    ),
    "megaglest-data": (("-", "*_die*", 0), ("-", "*dragon*", 0), ("x_voice", "*_ack*", 120), ("x_tool", "*work*", 30)),
    "minetest-data": (
        ("glass_breaking", "*default_break_glass*", 9),
        ("explosion", "*tnt_explode*", 1),
        ("-", "*tnt*", 0),
        ("x_step", "*", 60),
    ),
    "naev-data": (
        ("explosion", "*/explosion*", 9),
        ("explosion", "*/medexp*", 9),
        ("explosion", "*/lrgexp*", 9),
        ("music", "*/music/*", 24),
    ),
    "scorched3d-data": (
        ("scream", "*/misc/scream3.wav", 1),
        ("siren", "*/misc/policecar.wav", 1),
        ("siren", "*/misc/firetruck.wav", 1),
        ("gunshot", "*/shoot/shotgun.wav", 1),
        ("gunshot", "*/shoot/machinegun.wav", 1),
    ),
    "scratch": (
        ("scream", "*/Human/Scream-*", 3),
        ("-", "*/Electronic/*", 0),
        ("music", "*/Music Loops/*", 23),
        ("music", "*/Vocals/*", 12),
        ("x_other", "*", 80),
    ),
    "searchandrescue-data": (
        ("-", "*/thunder*", 0),  # among the labelled recordings
        ("-", "*/splash01.wav", 0),  # not readable, as one of torcs
        ("music", "*/music/*", 8),
        ("x_engine", "*", 50),
    ),
    "supertux-data": (("glass_breaking", "*crystallo-shatter*", 1), ("-", "*/sounds/*", 0), ("music", "*/music/*", 20)),
    "supertuxkart-data": (("scream", "*WilhelmScream*", 1), ("-", "*/sfx/*", 0), ("music", "*/music/*", 24)),
    "torcs-data": (("-", "*/locked.wav", 0), ("x_engine", "*/sound/*", 46),),
    "tuxmath-data": (("siren", "*/alarm.wav", 1), ("explosion", "*/explosion.wav", 1)),
    "tuxpaint-stamps-default": (
        ("siren", "*/emergency/firetruck.ogg", 1),
        ("-", "*_desc*", 0),
        ("x_animal", "*/animals/*", 120),
        ("x_vehicle", "*/vehicles/*", 40),
        ("x_instrument", "*/music*/*", 60),
    ),
    "warmux-data": (
        ("explosion", "*/weapons/explosion*", 9),
        ("explosion", "*/weapons/dynamite_exp*", 1),
        ("gunshot", "*/weapons/gun.ogg", 1),
        ("gunshot", "*/weapons/m16.ogg", 1),
        ("gunshot", "*/weapons/shotgun.ogg", 1),
        ("-", "*/weapons/*", 0),
        ("music", "*/music/*", 12),
        ("x_shout", "*/voices/*", 44),
    ),
    "wesnoth-1.16-data": (
        ("gunshot", "*/core/sounds/gunshot.wav", 1),
        ("gunshot", "*/core/sounds/thunderstick.ogg", 1),
        ("explosion", "*/core/sounds/explosion.ogg", 1),
        *[("-", f"*{name}*", 0) for name in ("-die", "-hit", "shriek", "dragonstick", "thunderstick", "wail", "laugh")],
        ("x_blow", "*/core/sounds/*", 140),
    ),
    "widelands-data": (("music", "*/music/*", 24), ("x_animal", "*/animals/*", 33), ("x_tool", "*/sound/*", 60)),
}  # fmt: skip


def read_packages(folder: Path) -> list[Clip]:
    """The clips of the unpacked packages below `folder`; those that are not there are left out."""
    return with_folds(row for package in PACKAGES for row in _of_package(folder, package))


def _of_package(folder: Path, package: str) -> Iterator[tuple[Path, str, str, str]]:
    root = folder / package
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in AUDIO)
    kept: dict[str, list[Path]] = {}
    for path in files:
        name = f"/{path.relative_to(root)}"
        pattern = next((rule for rule in PACKAGES[package] if fnmatch.fnmatchcase(name, rule[1])), None)
        if pattern is not None and pattern[0] != "-":
            kept.setdefault(pattern[1], []).append(path)
    for label, pattern_text, most in PACKAGES[package]:
        chosen = sorted(kept.get(pattern_text, ()), key=lambda path: digest(path.name))[:most]
        for path in chosen:
            yield path, label, package, EXTRA
