"""Results made by hand, as a run would have left them."""

from __future__ import annotations

from aircheck.policy.decide import decide_window
from aircheck.policy.packs import load_pack
from aircheck.settings import ROOT
from aircheck_client.schema import AcousticFindings, Context, EventSpan, SegmentScores, TextFindings
from benchmarks.quality.manifest import CATEGORIES, EVENTS, Item, Label
from benchmarks.quality.results import Conditions, ModelVersion, Result
from benchmarks.quality.server_scorer import text_segments, text_transcript

PACK = load_pack(ROOT / "server_config" / "policies" / "default.yaml")
RULES = PACK.for_context(Context())


def conditions(embedded: bool = True, **changes) -> Conditions:
    model = ModelVersion(
        model="text_safety", name="aircheck-minilm-text", version="1", sha256="ab" * 6, embedded=embedded
    )
    terms = Conditions(
        through="server", models=(model,), context=Context(), pack_version="1", pack_sha256="cd" * 6, window_max_s=6.0
    )
    return terms.model_copy(update=changes)


def result(
    id_: str = "a",
    labels: dict[str, tuple[float, float] | None] | None = None,
    text: dict[str, float] | None = None,
    events: tuple[tuple[str, float, float, float], ...] = (),  # event, start, end, score
    heard: str = "some words were said here",
    transcript: str | None = None,
    slices: dict[str, str] | None = None,
    note: str | None = None,
) -> Result:
    """An audio item decided by the default pack: `text` scores (0 unless given), `events` as spans."""
    scores = {category: (text or {}).get(category, 0.0) for category in CATEGORIES}
    segments = text_segments(heard) if heard else ()
    findings = TextFindings(
        model="text", model_version="1", segments=tuple(SegmentScores(segment=s, scores=scores) for s in segments)
    )
    spans = tuple(EventSpan(event=e, start_s=a, end_s=b, score=p) for e, a, b, p in events)
    sounds = AcousticFindings(model="sound", model_version="1", spans=spans)
    made = tuple(
        Label(category=c, start_s=span[0] if span else None, end_s=span[1] if span else None)
        for c, span in (labels or {}).items()
    )
    return Result(
        item=Item(id=id_, audio=f"{id_}.wav", transcript=transcript, labels=made, slices=slices or {}, note=note),
        source_sha256="00",
        duration_s=30.0,
        transcript=heard,
        text_scores=scores,
        event_scores={event: max((p for e, _, _, p in events if e == event), default=0.0) for event in EVENTS},
        verdict=decide_window(text_transcript(heard), findings, sounds, 30.0, Context(), RULES),
    )
