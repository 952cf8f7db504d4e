"""A recording's verdict from what was kept of its windows: as it would be after a scan, without the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aircheck.policy.decide import decide_window
from aircheck.policy.fold import add_undecoded, fold, shift
from aircheck.policy.judge import Review
from aircheck.policy.packs import Rules
from aircheck_client.schema import Context, TextFindings, Verdict, WindowFindings


def decide_recording(
    windows: Iterable[WindowFindings],
    duration_s: float,
    context: Context,
    rules: Rules,
    undecoded_s: float = 0.0,
    review: Callable[[TextFindings], Review | None] = lambda _: None,
) -> Verdict:
    """The verdict on a recording.

    Of its windows, those in which nothing can be found may be left out where all of it was decoded; coverage,
    transcript and language are then those of the others.

    Args:
        rules: `pack.for_context(context)`.
        review: what a policy judge makes of a window's text under `rules`, where there is one.

    Raises:
        PolicyError: no windows, or a classifier speaks of something that the taxonomy does not have.
    """
    decided = [
        _in_its_time(
            decide_window(
                window.transcript,
                window.text_findings,
                window.acoustic_findings,
                window.duration_s,
                context,
                rules,
                window.warnings,
                review(window.text_findings),
                window.language,
            ),
            window.start_s,
        )
        for window in sorted(windows, key=lambda window: window.start_s)
    ]
    return add_undecoded(fold(decided, duration_s, rules.compositions), undecoded_s, rules.coverage)


def _in_its_time(verdict: Verdict, start_s: float) -> Verdict:
    return shift(verdict, start_s) if start_s else verdict
