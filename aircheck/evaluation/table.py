"""Items and their results side by side, as data frames: what every figure is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS, DataError, Item, Result, Span
from aircheck.evaluation.readers import TALK, WINDOW_S
from aircheck.evaluation.words import errors
from aircheck.policy.packs import Level, Rules
from aircheck_client.schema import Action

SCORES = "scores.csv.gz"
TOLERANCE_S = 0.5
OFFSET_SHARE = 0.5  # of the true span's length
_ROUNDING_S = 1e-9
_FACTS = frozenset(
    "id source language speaker template duration_s errors words wordless false_events matched spans".split()
)


@dataclass(frozen=True)
class Table:
    """A row an item; `truth` and what follows are [items, targets]."""

    items: pd.DataFrame  # `_FACTS` (`errors` and `words` are the transcript's), and a column for each slice key
    truth: pd.DataFrame  # 1, 0, or NaN where it is not known
    scores: pd.DataFrame  # NaN where nothing was scored
    found: pd.DataFrame  # the score reaches the pack's first level (of a sound: within a span)
    flagged: pd.DataFrame  # a level that asks for more than `allow`
    blocked: pd.DataFrame  # a level that blocks

    @property
    def slice_keys(self) -> list[str]:
        return [key for key in self.items.columns if key not in _FACTS]

    def known(self, target: str) -> pd.DataFrame:
        """`true`, `score` and `found` of the items whose truth and score are known."""
        frame = pd.DataFrame({"true": self.truth[target], "score": self.scores[target], "found": self.found[target]})
        return frame.dropna().astype({"true": bool})

    @property
    def harmful(self) -> pd.Series:
        """Items that are known to be harmful in some target."""
        return self.truth.eq(1).any(axis=1)

    @property
    def harmless(self) -> pd.Series:
        """Items that are known to be harmless in some target, and harmful in none."""
        return self.truth.eq(0).any(axis=1) & ~self.harmful

    @property
    def hit(self) -> pd.Series:
        """Items that are found in a target that is there."""
        return (self.found & self.truth.eq(1)).any(axis=1)

    @property
    def false_alarm(self) -> pd.Series:
        """Items that are found in a target that is not there."""
        return (self.found & self.truth.eq(0)).any(axis=1)

    def part(self, items: pd.Index | pd.Series, targets: Sequence[str] = TARGETS) -> Table:
        """Some items, by index or mask, and some targets."""
        frames = (self.truth, self.scores, self.found, self.flagged, self.blocked)
        return Table(self.items.loc[items], *(frame.loc[items, list(targets)] for frame in frames))

    def csv(self) -> str:
        """Every item's truth and scores, for analyses of your own and for `aircheck thresholds`."""
        frames = [self.items, self.truth.add_prefix("truth."), self.scores.add_prefix("score.")]
        return str(pd.concat(frames, axis=1).to_csv(index=False, float_format="%.6g"))


def build(items: Sequence[Item], results: Sequence[Result], rules: Rules) -> Table:
    """The table of the items whose results hold no error."""
    pairs = [(item, result) for item, result in zip(items, results, strict=True) if result.error is None]
    if not pairs:
        raise DataError("no item could be scored; see the errors above")

    def by_target(rows: list[dict[str, float]]) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=list(TARGETS), dtype=float)

    def first(reaches: Callable[[Level], bool]) -> pd.Series:
        """Of each target the score of the first level for which `reaches` holds; infinite where none does."""
        of = {str(name): rule.levels for group in (rules.categories, rules.events) for name, rule in group.items()}
        return pd.Series(
            {name: min((one.score for one in of[name] if reaches(one)), default=np.inf) for name in TARGETS}
        )

    found_at = first(lambda level: True)
    decided = by_target([_decided(result) for _, result in pairs])
    return Table(
        items=pd.DataFrame([_facts(item, result, found_at) for item, result in pairs]),
        truth=by_target([dict(item.truth) for item, _ in pairs]),
        scores=by_target([result.scores for _, result in pairs]),
        found=decided >= found_at,
        flagged=decided >= first(lambda level: level.action > Action.ALLOW),
        blocked=decided >= first(lambda level: level.action is Action.BLOCK),
    )


def read_scores(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and scores, [items, targets] each, of a file of `Table.csv`. Raises DataError."""
    try:
        frame = pd.read_csv(path, low_memory=False)
        truth, scores = (
            frame[[f"{kind}.{name}" for name in TARGETS]].set_axis(TARGETS, axis=1) for kind in ("truth", "score")
        )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a folder that `aircheck evaluate` wrote") from None
    return truth, scores


def matching(truth: Sequence[Span], found: Sequence[Span]) -> dict[int, int]:
    """The largest one-to-one matching of true to found spans of one event, index to index.

    After Mesaros, Heittola & Virtanen, "Metrics for polyphonic sound event detection" (Applied Sciences 6(6), 2016),
    with the defaults of their sed_eval: a match starts within 0.5 s of the true span, and ends within 0.5 s or half of
    the true length, whichever is larger.
    """
    true, heard = (np.array([(one.start_s, one.end_s) for one in spans]).reshape(-1, 2) for spans in (truth, found))
    apart_s = np.abs(true[:, None] - heard)  # [truth, found, (start, end)]
    reach_s = np.maximum(TOLERANCE_S, OFFSET_SHARE * (true[:, 1:] - true[:, :1]))  # [truth, 1]
    agree = (apart_s[..., 0] <= TOLERANCE_S + _ROUNDING_S) & (apart_s[..., 1] <= reach_s + _ROUNDING_S)
    pairs = zip(*linear_sum_assignment(agree, maximize=True), strict=True)
    return {int(i): int(j) for i, j in pairs if agree[i, j]}


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
            own = [[[one for one in spans if one.target == name] for spans in (item.spans, found)] for name in EVENTS]
            matched = sum(len(matching(*both)) for both in own)
            facts |= {"matched": 2 * matched, "spans": len(item.spans) + len(found)}
    return facts
