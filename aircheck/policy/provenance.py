"""What a verdict was made with, so that it can be audited: the server's version and those of its models."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from aircheck_client.schema import AcousticFindings, ModelVersion, TextFindings, Transcript


@cache
def server_version() -> str:
    """The version of the installed server."""
    return version("aircheck")


def models(
    transcript: Transcript, text: TextFindings, acoustic: AcousticFindings, judge: ModelVersion | None = None
) -> tuple[ModelVersion, ...]:
    """The models behind a window's verdict, in the order in which they ran."""
    return (
        ModelVersion(role="speech_activity", name="silero-vad", version=_speech_activity_version()),
        ModelVersion(role="acoustic_safety", name=acoustic.model, version=acoustic.model_version),
        ModelVersion(role="transcription", name=transcript.model, version=transcript.model_version),
        ModelVersion(role="text_safety", name=text.model, version=text.model_version),
        *filter(None, (text.word_lists, judge)),
    )


@cache
def _speech_activity_version() -> str:
    """Its weights are those of the installed package (preprocessing/speech_activity.py)."""
    return version("silero-vad")
