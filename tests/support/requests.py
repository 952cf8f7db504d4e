"""What tests send to a real server, and with what."""

from __future__ import annotations

from functools import cache

from aircheck.policy.taxonomy import Category
from aircheck_client import AsyncAircheckClient, Retry
from aircheck_client.schema import AcousticFindings, Segment, SentenceScores, TextFindings, Transcript
from support.audio import encode, silence, wav
from support.speech import speak

THREAT = "i will find you and i will kill you"
LONG_S = 90.0  # three windows


@cache
def threat() -> bytes:
    """Spoken, as a file."""
    return wav(speak(THREAT))


@cache
def long_recording() -> bytes:
    """Of LONG_S."""
    return encode(silence(LONG_S), "mp3")


def asyncio_client(server) -> AsyncAircheckClient:
    """One that does not try twice."""
    return AsyncAircheckClient(server.url, timeout_s=120, retry=Retry(attempts=1))


def kept_findings() -> tuple[Transcript, TextFindings, AcousticFindings]:
    """Of a window, with something for every pack to find."""
    said = Segment(
        start_s=1.0, end_s=3.0, text=THREAT, language="en", avg_logprob=-0.2, no_speech_prob=0.01, compression_ratio=1.1
    )
    scores = dict.fromkeys([category.value for category in Category], 0.01) | {"violence_threat": 0.7}
    sentence = SentenceScores(text=THREAT, start_s=1.0, end_s=3.0, segments=(said,), scores=scores)
    return (
        Transcript(model="w", model_version="1", language="en", segments=(said,)),
        TextFindings(model="t", model_version="1", languages=("en",), sentences=(sentence,)),
        AcousticFindings(model="a", model_version="1"),
    )
