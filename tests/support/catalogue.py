"""Records and items of a catalogue, for tests without a server."""

from __future__ import annotations

import hashlib

from aircheck_client.catalogue.records import Record, RecordKey, now
from aircheck_client.schema import (
    AcousticFindings,
    Action,
    Context,
    ModelVersion,
    Severity,
    TextFindings,
    Transcript,
    Verdict,
    WindowFindings,
)

MODELS = (
    ModelVersion(role="transcription", name="whisper-base", version="1"),
    ModelVersion(role="acoustic_safety", name="sounds", version="2"),
)


def record_of(audio: bytes, context: Context | None = None, models: tuple[ModelVersion, ...] = MODELS) -> Record:
    """What a scan of one silent window might leave."""
    verdict = Verdict(
        scope="episode",
        duration_s=1.5,
        score=0.0,
        severity=Severity.NONE,
        action=Action.ALLOW,
        reason="nothing found",
        context=context or Context(),
        policy_pack="default",
        policy_version="3",
        policy_sha256="ab" * 32,
        server_version="1",
        models=models,
    )
    window = WindowFindings(
        start_s=0.0,
        duration_s=1.5,
        transcript=Transcript(model="whisper-base", model_version="1"),
        text_findings=TextFindings(model="text", model_version="1"),
        acoustic_findings=AcousticFindings(model="sounds", model_version="2"),
    )
    return Record(
        key=RecordKey.of_verdict(hashlib.sha256(audio).hexdigest(), verdict),
        size_bytes=len(audio),
        duration_s=1.5,
        verdict=verdict,
        windows=(window,),
        created_at=now(),
    )
