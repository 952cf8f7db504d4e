"""A recording's verdict from what was kept of its windows: as it would be after a scan, without the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aircheck.policy.assemble import assemble
from aircheck.policy.decide import window_parts
from aircheck.policy.fold import folded, shifted, with_undecoded
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
        shifted(
            window_parts(window, context, rules, review(window.text_findings)),
            window.start_s,
        )
        for window in windows
    ]
    return assemble(with_undecoded(folded(decided, duration_s, rules.compositions), undecoded_s, rules.coverage))
