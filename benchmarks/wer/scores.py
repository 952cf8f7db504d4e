"""Error rates of transcripts, by language and speaker, and how far their segments' times lie apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from aircheck.evaluation.transcribe import Segment, Transcription
from aircheck.evaluation.words import NO_ERRORS, Errors, errors, words
from benchmarks.wer.recordings import Recording

_N_RESAMPLES = 2000
_N_WORST = 5
_MIN_REPORTED_DIFFERENCE = 2  # errors, of a recording that two engines disagree on


def figures(recordings: Sequence[Recording], transcriptions: Sequence[Transcription]) -> dict[str, Any]:
    """An engine's error rates. The interval resamples speakers: their recordings are not independent of each other."""
    each = [
        errors(recording.text, transcription.text, recording.language)
        for recording, transcription in zip(recordings, transcriptions, strict=True)
    ]
    speakers = _sums((one.speaker for one in recordings), each)
    rates = sorted(((found.rate, name) for name, found in speakers.items()), reverse=True)
    return {
        **sum(each, NO_ERRORS).as_dict(),
        "interval_95": _interval(list(speakers.values())),
        "by_language": {
            name: found.as_dict() for name, found in sorted(_sums((one.language for one in recordings), each).items())
        },
        "speakers": {
            "count": len(speakers),
            "median_rate": round(median(rate for rate, _ in rates), 5),
            "worst": [{"speaker": name, **speakers[name].as_dict()} for _, name in rates[:_N_WORST]],
        },
        "wrong_language": sum(
            found.language not in ("", recording.language)
            for recording, found in zip(recordings, transcriptions, strict=True)
        ),
    }


def differences(
    recordings: Sequence[Recording], ours: Sequence[Transcription], reference: Sequence[Transcription]
) -> list[dict[str, Any]]:
    """The recordings on which two engines differ by some errors, the largest difference first."""
    found = []
    for recording, one, other in zip(recordings, ours, reference, strict=True):
        counts = [errors(recording.text, each.text, recording.language).total for each in (one, other)]
        if abs(counts[0] - counts[1]) >= _MIN_REPORTED_DIFFERENCE:
            name = recording.path.rpartition("/")[2]
            found.append({"recording": name, "errors": counts[0], "errors_of_reference": counts[1]})
    return sorted(found, key=lambda line: -abs(line["errors"] - line["errors_of_reference"]))


def time_differences_s(
    ours: Sequence[Segment], reference: Sequence[Segment], language: str
) -> tuple[list[float], list[float]]:
    """Starts, and ends, of segments less the reference's, where both begin, or end, a segment at the same word."""
    (our_words, our_starts, our_ends), (words_there, starts, ends) = (
        _marked(one, language) for one in (ours, reference)
    )
    start_s, end_s = [], []
    for block in SequenceMatcher(a=our_words, b=words_there, autojunk=False).get_matching_blocks():
        for at, there in zip(range(block.a, block.a + block.size), range(block.b, block.b + block.size), strict=True):
            if at in our_starts and there in starts:
                start_s.append(our_starts[at] - starts[there])
            if at in our_ends and there in ends:
                end_s.append(our_ends[at] - ends[there])
    return start_s, end_s


def timing(
    ours: Sequence[Transcription], reference: Sequence[Sequence[Segment]], recordings: Sequence[Recording]
) -> dict[str, Any]:
    """How far segments' times lie from the reference's, in absolute seconds."""
    pairs = [
        time_differences_s(one.segments, other, recording.language)
        for one, other, recording in zip(ours, reference, recordings, strict=True)
    ]
    found: dict[str, Any] = {}
    for index, name in enumerate(("start", "end")):
        values = [difference for pair in pairs for difference in pair[index]]
        apart = np.abs(values)
        found[name] = {
            "segments": len(values),
            "median_s": round(float(np.median(apart)), 3) if values else None,
            "p90_s": round(float(np.quantile(apart, 0.9)), 3) if values else None,
        }
    return found


def _sums(keys: Iterable[str], each: Sequence[Errors]) -> dict[str, Errors]:
    sums: defaultdict[str, Errors] = defaultdict(lambda: NO_ERRORS)
    for key, found in zip(keys, each, strict=True):
        sums[key] += found
    return dict(sums)


def _interval(groups: Sequence[Errors]) -> list[float] | None:
    """A 95 % bootstrap interval of the rate over groups; None for a single one."""
    if len(groups) < 2:
        return None
    totals, units = np.array([one.total for one in groups]), np.array([one.units for one in groups])
    found = bootstrap(
        (totals, units),
        lambda edits, of, axis: edits.sum(axis=axis) / of.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_N_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return [round(float(bound), 5) for bound in found.confidence_interval]


def _marked(segments: Sequence[Segment], language: str) -> tuple[list[str], dict[int, float], dict[int, float]]:
    """All words, and the times of those that begin, and that end, a segment, by their index."""
    found: list[str] = []
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for segment in segments:
        if own := words(segment.text, language):
            starts[len(found)] = segment.start_s
            found += own
            ends[len(found) - 1] = segment.end_s
    return found, starts, ends
