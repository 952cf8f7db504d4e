"""Records with findings at random: scores near the levels of packs, speech without text, other languages, sounds."""

from __future__ import annotations

import random
from pathlib import Path

from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import load_pack
from aircheck.policy.taxonomy import CONTEXT_EVENTS, HARM_EVENTS, Category
from aircheck.settings import ROOT
from aircheck_client.catalogue.records import Item, ItemEntry, Record, RecordKey, RecordStore, now
from aircheck_client.schema import (
    AcousticFindings,
    Context,
    Coverage,
    EventSpan,
    Segment,
    SentenceScores,
    Span,
    TextFindings,
    Transcript,
    WindowFindings,
)

DEFAULT = ROOT / "server_config" / "policies" / "default.yaml"
_CONTEXTS = (Context(), Context(market="SE", content_type="audiobook"), Context(market="DE", audience="children"))


def fill(store: RecordStore, count: int, share_found: float = 0.5, seed: int = 0, pack_file: Path = DEFAULT) -> None:
    """`count` items, one in ten of them of an audio that another one has too."""
    dice, pack = random.Random(seed), load_pack(pack_file)
    for number in range(count):
        context = _CONTEXTS[number % len(_CONTEXTS)]
        windows = _windows(dice, dice.random() < share_found)
        undecoded_s = dice.choice((0.0, 0.0, 0.0, 0.0, 0.3, 2.0))
        duration_s = windows[-1].start_s + windows[-1].duration_s
        verdict = decide_recording(windows, duration_s, context, pack.for_context(context), undecoded_s)
        covered = [window.model_copy(update={"coverage": _coverage(window, context, pack)}) for window in windows]
        record = Record(
            key=RecordKey.of_verdict(f"{number:064x}", verdict),
            size_bytes=1,
            duration_s=duration_s,
            verdict=verdict,
            windows=tuple(covered),
            created_at=now(),
        )
        store.put(record)
        names = [f"item {number}", f"item {number} again"] if number % 10 == 0 else [f"item {number}"]
        for name in names:
            item = Item(id=name, uri=f"s3://bucket/{number}.mp3", context=context)
            store.put_item(ItemEntry(item=item, key=record.key, done_at=now()))


def _coverage(window: WindowFindings, context: Context, pack) -> Coverage:
    return decide_recording([window], window.duration_s, context, pack.for_context(context)).coverage


def _windows(dice: random.Random, is_found: bool) -> list[WindowFindings]:
    return [_window(dice, 20.0 * number, is_found) for number in range(dice.randint(1, 4))]


def _window(dice: random.Random, start_s: float, is_found: bool) -> WindowFindings:
    duration_s = dice.choice((3.2, 20.0))
    language = dice.choice(("en", "en", "en", "xx")) if is_found else "en"
    segments = tuple(
        Segment(
            start_s=at,
            end_s=at + 1.0,
            text="words",
            language=language,
            avg_logprob=dice.choice((-0.2, -0.2, -1.5)),
            no_speech_prob=0.1,
            compression_ratio=1.2,
        )
        for at in (0.0, 1.5)
    )
    speech_s = dice.choice((1.2, 2.5, 2.8, 3.1)) if is_found else 1.2
    return WindowFindings(
        start_s=start_s,
        duration_s=duration_s,
        transcript=Transcript(
            model="whisper",
            model_version="1",
            language=language,
            detected_language=language,
            detected_probability=dice.choice((0.9, 0.9, 0.3)) if is_found else 0.9,
            speech=(Span(start_s=0.0, end_s=speech_s + dice.choice((0.0, 8.0)) * (is_found and duration_s > 15)),),
            segments=segments,
        ),
        text_findings=TextFindings(
            model="text",
            model_version="1",
            languages=("en",),
            sentences=tuple(
                SentenceScores(
                    text="words",
                    start_s=segment.start_s,
                    end_s=segment.end_s,
                    segments=(segment,),
                    scores={category: _score(dice, is_found) for category in Category},
                )
                for segment in segments
            ),
        ),
        acoustic_findings=AcousticFindings(
            model="sounds",
            model_version="1",
            spans=tuple(
                EventSpan(event=event, start_s=0.5, end_s=2.0, score=_score(dice, is_found))
                for event in (*dice.sample(sorted(HARM_EVENTS), 2), dice.choice(sorted(CONTEXT_EVENTS)))
            ),
        ),
        warnings=("a warning",) if dice.random() < 0.1 else (),
    )


def _score(dice: random.Random, is_found: bool) -> float:
    if not is_found or dice.random() < 0.9:
        return dice.uniform(0.0, 0.35)
    return dice.choice((0.4, 0.499999999, 0.5, 0.7, 0.85, 0.9, dice.uniform(0.3, 1.0)))
