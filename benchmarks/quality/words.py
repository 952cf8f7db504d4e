"""The words of a text, after Whisper's own normalisation."""

from __future__ import annotations

from functools import cache


@cache
def _normaliser() -> object:
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def normalised(text: str) -> list[str]:
    """Words as openai-whisper's EnglishTextNormalizer leaves them: spelling, numbers, contractions made alike."""
    normaliser = _normaliser()
    assert callable(normaliser)
    return str(normaliser(text)).split()
