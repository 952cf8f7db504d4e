"""What of a window nobody could check: speech that got no text, and words in a language that no classifier knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from aircheck.policy.packs import CoverageRules, GapRule
from aircheck_client.schema import Coverage, Segment, Span, TextFindings, Transcript, Unchecked

SLACK_S = 0.3  # the ends of Whisper's segments and those of speech activity differ by this on clearly spoken audio
SURE_PROBABILITY = 0.5  # of the language that Whisper detected: below it, others together are likelier
MERGE_GAP_S = 30.0  # a window: what is unchecked in one and in the next reads as one stretch

Interval = tuple[float, float]  # start and end in seconds


def measure(
    transcript: Transcript, duration_s: float, languages: Sequence[str], rules: CoverageRules
) -> tuple[Coverage, tuple[Unchecked, ...]]:
    """The coverage of a window of `duration_s` seconds by its transcript.

    Args:
        languages: those that the text classifier covers; empty for any.

    Returns:
        It, and where the window holds more that could not be checked than the pack tolerates, in order of time.
    """
    speech = _union(transcript.speech, duration_s)
    untranscribed = _untranscribed(speech, transcript, duration_s)
    foreign = _unclassified(transcript, languages)
    speech_s = round(_length_s(speech), 3)
    untranscribed_s = min(speech_s, round(_length_s(untranscribed), 3))
    coverage = Coverage(
        speech_s=speech_s,
        transcribed_s=round(speech_s - untranscribed_s, 3),
        unread_s=untranscribed_s,
        unclassified_s=round(_length_s(_union(foreign, duration_s)), 3),
        dropped_segments=transcript.n_dropped,
    )
    found = _over(rules.untranscribed, rules.untranscribed.tolerated_in_s(duration_s), untranscribed, "untranscribed")
    by_language: dict[str, list[Segment]] = defaultdict(list)
    for segment in foreign:
        by_language[segment.language].append(segment)
    for language, segments in by_language.items():
        rule = rules.unclassified
        found += _over(rule, rule.tolerated_s, _union(segments, duration_s), "unclassified", language)
    return coverage, ordered(found)


def undecoded(seconds: float, start_s: float, end_s: float, rules: CoverageRules) -> tuple[Unchecked, ...]:
    """The same of `seconds` of a recording that could not be decoded, somewhere from `start_s` to `end_s`."""
    if seconds <= rules.undecoded.tolerated_s:
        return ()
    return (
        Unchecked(
            kind="undecoded",
            start_s=start_s,
            end_s=end_s,
            seconds=round(seconds, 3),
            action=rules.undecoded.action,
        ),
    )


def language_warnings(transcript: Transcript, text: TextFindings) -> tuple[str, ...]:
    """A sentence for each language of the transcript that the text classifier does not cover, and for an unsure one."""
    foreign = sorted({segment.language for segment in _unclassified(transcript, text.languages)})
    if not foreign:
        return ()
    guess = f"a language that is not sure ({transcript.detected_language} {transcript.detected_probability:.2f})"
    known = ", ".join(text.languages)
    return tuple(
        f"speech in {repr(language) if language else guess}: the text classifier {text.model} covers {known} only, so "
        "its scores say little about these words"
        for language in foreign
    )


def merged(stretches: Iterable[Unchecked]) -> tuple[Unchecked, ...]:
    """Neighbours of one kind joined, in order of time; joining in parts gives the same as joining at once."""
    joined: list[Unchecked] = []
    latest: dict[tuple[object, ...], int] = {}  # kind of stretch -> its latest one
    for item in ordered(stretches):
        kind = (item.kind, item.language, item.action)
        at = latest.get(kind)
        if at is not None and item.start_s - joined[at].end_s <= MERGE_GAP_S:
            before = joined[at]
            joined[at] = before.model_copy(
                update={
                    "end_s": max(before.end_s, item.end_s),
                    "seconds": round(before.seconds + item.seconds, 3),
                }
            )
        else:
            latest[kind] = len(joined)
            joined.append(item)
    return ordered(joined)


def ordered(stretches: Iterable[Unchecked]) -> tuple[Unchecked, ...]:
    """By time; then by every other field, so that the order is total."""
    return tuple(
        sorted(
            stretches,
            key=lambda item: (item.start_s, item.end_s, item.kind, item.language, item.seconds, item.action.rank),
        )
    )


def with_languages(transcript: Transcript) -> tuple[Segment, ...]:
    """The transcript's segments, each with the language it is in."""
    return tuple(
        segment if segment.language else segment.model_copy(update={"language": transcript.language})
        for segment in transcript.segments
    )


def sure_language(segment: Segment, transcript: Transcript) -> str:
    """The language that a segment is in; empty where none was detected with SURE_PROBABILITY, nor asked for."""
    language = segment.language or transcript.language
    is_guess = language == transcript.detected_language and transcript.detected_probability < SURE_PROBABILITY
    return "" if is_guess else language


def _over(
    rule: GapRule, tolerated_s: float, stretches: Sequence[Interval], kind: str, language: str = ""
) -> list[Unchecked]:
    """One item for all the stretches of a window, if together they are longer than tolerated."""
    seconds = round(_length_s(stretches), 3)
    if not stretches or seconds <= tolerated_s:
        return []
    return [
        Unchecked.model_validate(
            {
                "kind": kind,
                "start_s": stretches[0][0],
                "end_s": stretches[-1][1],
                "seconds": seconds,
                "language": language,
                "action": rule.action,
            }
        )
    ]


def _untranscribed(speech: Sequence[Interval], transcript: Transcript, duration_s: float) -> list[Interval]:
    """Where somebody speaks and there is no text, nor any within SLACK_S."""
    text = [
        (max(segment.start_s - SLACK_S, 0.0), segment.end_s + SLACK_S)
        for segment in transcript.segments
        if segment.text.strip()
    ]
    return _difference(speech, _joined(text, duration_s))


def _unclassified(transcript: Transcript, languages: Sequence[str]) -> list[Segment]:
    """Segments in a language that is none of `languages`, or not sure: theirs is empty then."""
    if not languages:
        return []
    return [
        segment.model_copy(update={"language": language})
        for segment in transcript.segments
        if (language := sure_language(segment, transcript)) not in languages and segment.text.strip()
    ]


def _union(spans: Iterable[Span | Segment], duration_s: float) -> list[Interval]:
    """Where any of the spans lies within the first `duration_s` seconds; disjoint, in order."""
    return _joined([(span.start_s, span.end_s) for span in spans], duration_s)


def _joined(intervals: Iterable[Interval], duration_s: float) -> list[Interval]:
    """The same of intervals."""
    union: list[Interval] = []
    for start_s, end_s in sorted((min(start_s, duration_s), min(end_s, duration_s)) for start_s, end_s in intervals):
        if union and start_s <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end_s))
        elif end_s > start_s:
            union.append((start_s, end_s))
    return union


def _difference(whole: Sequence[Interval], parts: Sequence[Interval]) -> list[Interval]:
    """What of `whole` lies in none of `parts`; both disjoint and in order."""
    left: list[Interval] = []
    for start_s, end_s in whole:
        for part_start_s, part_end_s in parts:
            if part_end_s <= start_s or part_start_s >= end_s:
                continue
            if part_start_s > start_s:
                left.append((start_s, part_start_s))
            start_s = part_end_s
            if start_s >= end_s:
                break
        if start_s < end_s:
            left.append((start_s, end_s))
    return left


def _length_s(intervals: Iterable[Interval]) -> float:
    return sum(end_s - start_s for start_s, end_s in intervals)
