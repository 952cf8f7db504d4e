"""Windows to one file: move a window's verdict to file time, fold those of a file's windows into one.

`shift` and `fold` know no levels: they move and merge verdicts, so whoever holds the verdicts of the windows can fold
them. Of the pack, only the compositions are needed, for what reaches from one window into the next. `fold` does not
depend on the order in which it gets the windows, and folding in parts gives the same verdict as folding at once (for
windows that do not overlap).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from aircheck.policy import coverage as gaps
from aircheck.policy import reasons
from aircheck.policy.assemble import Parts, assemble, by_name, evidence_key
from aircheck.policy.compositions import Compositions
from aircheck.policy.errors import PolicyError
from aircheck.policy.packs import CoverageRules
from aircheck.policy.reasons import MERGE_GAP_S
from aircheck_client.schema import Coverage, EventSpan, Evidence, Segment, Verdict


def shift(verdict: Verdict, start_s: float) -> Verdict:
    """A window's verdict with all that has a time, and its reasons, `start_s` seconds later: in the file's time.

    Raises:
        PolicyError: not a window's verdict, or a negative `start_s`.
    """
    if verdict.scope != "window":
        raise PolicyError(f"cannot shift a verdict of scope {verdict.scope!r}; shift windows, then fold them")
    if start_s < 0:
        raise PolicyError(f"cannot shift a window to {start_s} s; a window starts at 0 or later")
    return assemble(shifted(Parts.of(verdict), start_s)).model_copy(
        update={
            "detected_language": verdict.detected_language,
            "detected_probability": verdict.detected_probability,
            "recording_s": verdict.recording_s,
        }
    )


def shifted(window: Parts, start_s: float) -> Parts:
    """A window's parts in the file's time."""
    if not start_s:
        return window
    return replace(
        window,
        by_name={
            name: [
                item.model_copy(
                    update={
                        "start_s": item.start_s + start_s,
                        "end_s": item.end_s + start_s,
                        "lead_start_s": item.lead_start_s + start_s,
                        "lead_end_s": item.lead_end_s + start_s,
                    }
                )
                for item in evidence
            ]
            for name, evidence in window.by_name.items()
        },
        start_s=window.start_s + start_s,
        unchecked=[
            item.model_copy(update={"start_s": item.start_s + start_s, "end_s": item.end_s + start_s})
            for item in window.unchecked
        ],
        segments=[_shifted(segment, start_s) for segment in window.segments],
        context_sounds=[
            span.model_copy(update={"start_s": span.start_s + start_s, "end_s": span.end_s + start_s})
            for span in window.context_sounds
        ],
    )


def _shifted(segment: Segment, start_s: float) -> Segment:
    return segment.model_copy(
        update={
            "start_s": segment.start_s + start_s,
            "end_s": segment.end_s + start_s,
            "words": tuple(
                word.model_copy(update={"start_s": word.start_s + start_s, "end_s": word.end_s + start_s})
                for word in segment.words
            ),
        }
    )


def fold(verdicts: Iterable[Verdict], duration_s: float, compositions: Compositions | None = None) -> Verdict:
    """One verdict for a whole file from those of its windows, which are in file time (see `shift`).

    Evidence of one category that touches, overlaps, or lies within MERGE_GAP_S becomes one passage, as long as the same
    model gave it with the same confidence: doubtful text never lends its score to text that was heard well. The
    severity and the action are the highest of any window, coverage is their sum, and the language is that of the most
    seconds of text.

    Args:
        verdicts: of the windows.
        duration_s: of the file.
        compositions: the pack's, for what lies in one window beside what lies in another; None: each window by itself.

    Raises:
        PolicyError: no verdicts, or verdicts made under different contexts or packs, or by different models.
    """
    return assemble(folded(map(Parts.of, verdicts), duration_s, compositions))


def folded(windows: Iterable[Parts], duration_s: float, compositions: Compositions | None = None) -> Parts:
    """What `fold` does, from parts to parts. Raises PolicyError."""
    windows = _in_order(list(windows))
    if not windows:
        raise PolicyError("cannot fold no verdicts; an episode has at least one window")
    terms = {item.terms for item in windows}
    if len(terms) > 1:
        given = "; ".join(sorted(map(str, terms)))
        raise PolicyError(f"cannot fold verdicts made under different terms: {given}; scan the file again")
    segments = [segment for window in windows for segment in window.segments]
    context_sounds = [span for window in windows for span in window.context_sounds]
    evidence: Mapping[str, Sequence[Evidence]] = by_name(windows)
    if compositions:
        evidence = compositions.compose(evidence, context_sounds)
    return Parts(
        {name: _merged(items) for name, items in evidence.items()},
        scope="episode",
        start_s=windows[0].start_s,
        duration_s=duration_s,
        coverage=sum((window.coverage for window in windows), Coverage()),
        unchecked=gaps.merged(item for window in windows for item in window.unchecked),
        segments=sorted(segments, key=lambda segment: (segment.start_s, segment.end_s)),
        context_sounds=_joined_sounds(context_sounds),
        warnings=[warning for window in windows for warning in window.warnings],
        terms=windows[0].terms,
    )


def _in_order(windows: list[Parts]) -> list[Parts]:
    """By time. The verdict's JSON breaks ties, so that the order in which the windows came cannot matter."""
    times = {(item.start_s, item.duration_s) for item in windows}
    if len(times) == len(windows):
        return sorted(windows, key=lambda item: (item.start_s, item.duration_s))
    return sorted(windows, key=lambda item: (item.start_s, item.duration_s, assemble(item).model_dump_json()))


def add_undecoded(verdict: Verdict, seconds: float, rules: CoverageRules | None) -> Verdict:
    """An episode's verdict that counts `seconds` of the recording, somewhere in it, that could not be decoded."""
    return assemble(with_undecoded(Parts.of(verdict), seconds, rules)) if seconds else verdict


def with_undecoded(episode: Parts, seconds: float, rules: CoverageRules | None) -> Parts:
    """The same, from parts to parts."""
    if not seconds:
        return episode
    lost = round(seconds, 3)
    end_s = episode.start_s + episode.duration_s
    return replace(
        episode,
        coverage=episode.coverage + Coverage(unread_s=lost, undecoded_s=lost),
        unchecked=[*episode.unchecked, *(gaps.undecoded(lost, episode.start_s, end_s, rules) if rules else ())],
    )


def _joined_sounds(spans: Iterable[EventSpan]) -> list[EventSpan]:
    """Spans of one event that touch are one: music goes on from window to window."""
    joined: list[EventSpan] = []
    latest: dict[str, int] = {}
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s, span.event, span.score)):
        at = latest.get(span.event)
        if at is not None and span.start_s <= joined[at].end_s:
            before = joined[at]
            joined[at] = before.model_copy(
                update={"end_s": max(before.end_s, span.end_s), "score": max(before.score, span.score)}
            )
        else:
            latest[span.event] = len(joined)
            joined.append(span)
    return joined


def _merged(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Join neighbours of one kind into passages."""
    passages: list[Evidence] = []
    latest: dict[tuple[object, ...], int] = {}  # kind of evidence -> its latest passage
    for item in sorted(evidence, key=evidence_key):
        kind = (item.modality, item.event, item.low_confidence, item.model, item.model_version)
        at = latest.get(kind)
        if at is not None and item.start_s - passages[at].end_s <= MERGE_GAP_S:
            passages[at] = _joined(passages[at], item)
        else:
            latest[kind] = len(passages)
            passages.append(item)
    return passages


def _joined(earlier: Evidence, later: Evidence) -> Evidence:
    """One passage, which keeps the words that decided: in a long one, they would be lost among the others."""
    lead = reasons.leading([earlier, later])
    return lead.model_copy(update={"start_s": earlier.start_s, "end_s": max(earlier.end_s, later.end_s)})
