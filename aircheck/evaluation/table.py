"""Items and their results side by side, as data frames: what every figure is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from aircheck.evaluation.events import BOTH, pair
from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS, DataError, Item, Result, Span
from aircheck.evaluation.public_data import TALK, WINDOW_S
from aircheck.evaluation.words import errors
from aircheck.policy.packs import Level, Rules
from aircheck_client.schema import Action

SCORES = "scores.csv.gz"
_FACTS = frozenset(
    "id source language speaker template duration_s errors words wordless false_events matched spans".split()
)


@dataclass(frozen=True)
class Table:
    """A row an item.

    Attributes:
        items: `id`, `source`, `language`, `duration_s`, `errors` and `words` of the transcript, `false_events`, and a
            column for each slice key.
        truth: [items, targets], 1, 0, or NaN where it is not known.
        scores: [items, targets], NaN where nothing was scored.
        found: [items, targets], the score reaches the pack's first level (of a sound: within a span).
        flagged: [items, targets], a level that asks for more than `allow`.
        blocked: [items, targets], a level that blocks.
    """

    items: pd.DataFrame
    truth: pd.DataFrame
    scores: pd.DataFrame
    found: pd.DataFrame
    flagged: pd.DataFrame
    blocked: pd.DataFrame

    @property
    def slice_keys(self) -> list[str]:
        return [key for key in self.items.columns if key not in _FACTS]

    def write(self, path: Path) -> None:
        """A CSV file of every item's truth and scores, for analyses of your own and for `aircheck thresholds`."""
        frames = [self.items, self.truth.add_prefix("truth."), self.scores.add_prefix("score.")]
        pd.concat(frames, axis=1).to_csv(path, index=False, float_format="%.6g")


def thresholds(rules: Rules, reaches: Callable[[Level], bool]) -> pd.Series:
    """For each target the score of the first level for which `reaches` holds; infinite where none does."""
    levels = {name: rule.levels for group in (rules.categories, rules.events) for name, rule in group.items()}
    firsts = {str(name): [level.score for level in own if reaches(level)] for name, own in levels.items()}
    return pd.Series({target: min(firsts.get(target, []), default=np.inf) for target in TARGETS})


def build(items: Sequence[Item], results: Sequence[Result], rules: Rules) -> Table:
    """The table of the items whose results hold no error."""
    pairs = [(item, result) for item, result in zip(items, results, strict=True) if result.error is None]
    if not pairs:
        raise DataError("no item could be scored; see the errors above")
    found_at = thresholds(rules, lambda level: True)
    scores = pd.DataFrame([result.scores for _, result in pairs], columns=list(TARGETS), dtype=float)
    decided = pd.DataFrame([_decided(result) for _, result in pairs], columns=list(TARGETS), dtype=float)
    return Table(
        items=pd.DataFrame([_facts(item, result, found_at) for item, result in pairs]),
        truth=pd.DataFrame([dict(item.truth) for item, _ in pairs], columns=list(TARGETS), dtype=float),
        scores=scores,
        found=decided >= found_at,
        flagged=decided >= thresholds(rules, lambda level: level.action > Action.ALLOW),
        blocked=decided >= thresholds(rules, lambda level: level.action is Action.BLOCK),
    )


def read_scores(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and scores, [items, targets] each, of a file that `Table.write` wrote. Raises DataError."""
    try:
        frame = pd.read_csv(path, low_memory=False)
        truth, scores = (
            frame[[f"{kind}.{name}" for name in TARGETS]].set_axis(TARGETS, axis=1) for kind in ("truth", "score")
        )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a folder that `aircheck evaluate` wrote") from None
    return truth, scores


def _decided(result: Result) -> dict[str, float]:
    """What the policy sees: of words the score, of sounds the best span's."""
    if result.spans is None:
        return result.scores
    best = {name: score for name, score in result.scores.items() if name in CATEGORIES}
    for span in result.spans:
        best[span.target] = max(best.get(span.target, 0.0), span.score)
    return best


def _facts(item: Item, result: Result, found_at: pd.Series) -> dict[str, object]:
    facts: dict[str, object] = {
        "id": item.id,
        "source": item.source,
        "language": item.language or None,
        "speaker": item.speaker,
        "template": item.template or None,
        "duration_s": WINDOW_S if TALK in item.slices else result.duration_s,
        **item.slices,
    }
    if result.transcript is not None and item.transcript:
        counted = errors(item.transcript, result.transcript, item.language)
        facts |= {"errors": counted.total, "words": counted.units}
    if result.transcript is not None and item.transcript == "":
        facts["wordless"] = not any(letter.isalnum() for letter in result.transcript)
    if result.spans is not None:
        found = [one for one in result.spans if one.target in EVENTS and one.score >= found_at[one.target]]
        facts["false_events"] = sum(item.truth.get(one.target) is False for one in found)
        if item.spans is not None:
            facts |= {"matched": 2 * _matched(item.spans, found), "spans": len(item.spans) + len(found)}
    return facts


def _matched(true: Sequence[Span], found: Sequence[Span]) -> int:
    """How many true spans have one of their own among the found, as DCASE and sed_eval count."""
    own = [([a for a in true if a.target == name], [b for b in found if b.target == name]) for name in EVENTS]
    return sum(len(pair(*both, BOTH)) for both in own)
