"""Names and versions of what takes part in a run: of the settings' models here, or of a server elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import whisper
from safetensors import safe_open

from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, EmbeddedAcousticClassifier
from aircheck.inference.text_safety.embedded import HEAD
from aircheck.inference.text_safety.head import load_head
from aircheck.inference.whisper.weights import ctranslate2_format, weight_packages
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import PolicyPack, load_pack
from aircheck.settings import Settings
from aircheck_client.schema import Context
from benchmarks.quality.results import Conditions, ModelVersion, Through
from benchmarks.quality.server_scorer import Models

EMBEDDED = "embedded"
_DIGITS = 12


def whisper_version(settings: Settings) -> ModelVersion:
    """The Whisper that the settings name, without loading its weights."""
    name = settings.whisper
    if (package := weight_packages.PACKAGES.get(name)) and package.installed():
        return ModelVersion(model="whisper", name=name, version="official", sha256=package.sha256[:_DIGITS])
    if name in whisper.available_models():
        sha256 = whisper._MODELS[name].split("/")[-2]  # openai-whisper keeps it in the address
        return ModelVersion(model="whisper", name=name, version="official", sha256=sha256[:_DIGITS])
    path = Path(name)
    version = ""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            version = (file.metadata() or {}).get("version", "")
    sha256 = _sha256(path)
    return ModelVersion(model="whisper", name=path.stem, version=version or "unnamed", sha256=sha256)


def text_version(name: str, version: str, settings: Settings | None) -> ModelVersion:
    """`settings`: of a server on this machine; None for one elsewhere, known by its classifier's name alone."""
    card = load_head(HEAD)[1]
    embedded = settings.text_classifier == EMBEDDED if settings else name == card.name
    sha256 = _sha256(HEAD) if settings and embedded else None
    return ModelVersion(model="text_safety", name=name, version=version, sha256=sha256, embedded=embedded)


def acoustic_version(name: str, version: str, settings: Settings | None) -> ModelVersion:
    """As `text_version`."""
    embedded = settings.acoustic_classifier == EMBEDDED if settings else name == EmbeddedAcousticClassifier.name
    sha256 = _sha256(WEIGHTS_PATH) if settings and embedded else None
    return ModelVersion(model="acoustic_safety", name=name, version=version, sha256=sha256, embedded=embedded)


def conditions(
    through: Through, models: tuple[ModelVersion, ...], context: Context, settings: Settings, window_max_s: float
) -> Conditions:
    """The conditions of a run. Raises PolicyError when this machine's pack of that name is faulty."""
    path = pack_path(context.policy_pack, settings)
    pack = load_pack(path) if path.is_file() else None
    takes_part = through != "whisper" and pack is not None
    return Conditions(
        through=through,
        models=models,
        context=context,
        pack_version=pack.version if pack and takes_part else None,
        pack_sha256=_sha256(path) if takes_part else None,
        window_max_s=window_max_s,
    )


def pack_path(name: str, settings: Settings) -> Path:
    """Where this machine has a pack of that name, if it has."""
    return settings.policy_dir / f"{name}.yaml"


def local_pack(name: str, settings: Settings) -> PolicyPack | None:
    """This machine's pack of that name, None when it has none. Raises PolicyError for a faulty one."""
    path = pack_path(name, settings)
    if not path.is_file():
        return None
    return load_pack(path)


def server_conditions(
    models: Models, context: Context, settings: Settings, local: bool, window_max_s: float
) -> Conditions:
    """Those of a running server; `local`: one that was started with `settings`. Raises what asking it raises."""
    text, sound = models.versions()
    of_server = settings if local else None
    heard_by = whisper_version(settings) if local else ModelVersion(model="whisper", name="unknown", version="remote")
    versions = (
        heard_by,
        text_version(text.model, text.model_version, of_server),
        acoustic_version(sound.model, sound.model_version, of_server),
    )
    return conditions("server", versions, context, settings, window_max_s)


def require_pack(name: str, settings: Settings) -> PolicyPack:
    """Raises PolicyError, which names the packs there are."""
    pack = local_pack(name, settings)
    if pack is None:
        known = ", ".join(sorted(path.stem for path in settings.policy_dir.glob("*.yaml"))) or "none"
        raise PolicyError(f"no policy pack {name!r} in {settings.policy_dir}; available: {known}")
    return pack


def _sha256(path: Path) -> str:
    """Of a file; of a folder, of its CTranslate2 file or else of all its safetensors files."""
    if path.is_dir():
        if parts := ctranslate2_format.weight_files(path):
            return ctranslate2_format.sha256(parts)[:_DIGITS]
        digests = [_sha256(part) for part in sorted(path.glob("*.safetensors"))]
        return hashlib.sha256("".join(digests).encode()).hexdigest()[:_DIGITS]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
