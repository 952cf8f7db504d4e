"""All figures of a run in one long data frame: a row a figure, from which reports, gates and plots are made.

A figure's name is `by=part`, `target` and `figure`, joined with dots where they are there: `hate.auc`,
`source=hatecheck.hate.auc`, `kind=hatecheck/ident_pos_nh.false_alarms`, `talk.flagged_per_hour`.

    recall, false_positive_rate, precision   at the pack's first level of the target
    false_alarms    of items known to be harmless in some target: those found in such a one
    *_beside_profanity   the same as if profanity were no target: swear words are found by a list, not by the classifier
    flagged         of all items: those for which the pack asks for more than `allow`
    found_*         of an event mixed under speech that is as loud as it, or so much quieter or louder
    *_group_gap     the same sentence about different groups: the highest less the lowest share of a group
    score_group_gap the largest mean shift of a score that a group's name causes within a sentence
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from aircheck.evaluation import statistics
from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS
from aircheck.evaluation.mixtures import SPEECH_LOUDER_DB
from aircheck.evaluation.public_data import TALK
from aircheck.evaluation.statistics import Figure
from aircheck.evaluation.table import Table

PROFANITY = "profanity"
UNDER_SPEECH = "event under speech"
UNDER_SPEECH_FIGURES = {
    louder_db: "found_as_loud"
    if not louder_db
    else f"found_{abs(louder_db):.0f}db_{'louder' if louder_db > 0 else 'quieter'}"
    for louder_db in SPEECH_LOUDER_DB
}  # the speech, than the event
MIN_ITEMS = 30  # a slice of fewer is shown as counts, not as percentages
_MIN_GROUP = 10  # items of a group that its share must rest on to be compared
_Statistic = Callable[[np.ndarray, np.ndarray], Figure]
_RANKINGS: dict[str, _Statistic] = {
    "auc": statistics.auc,
    "average_precision": statistics.average_precision,
    "recall_at_1pct_fpr": lambda truth, scores: statistics.recall_at(truth, scores, 0.01),
    "recall_at_5pct_fpr": lambda truth, scores: statistics.recall_at(truth, scores, 0.05),
}


@dataclass(frozen=True)
class _Row:
    figure: str
    found: Figure
    target: str = ""
    by: str = ""
    part: str = ""

    def as_dict(self) -> dict[str, object]:
        return row(self.figure, self.found, self.target, self.by, self.part)


def row(figure: str, found: Figure, target: str = "", by: str = "", part: str = "") -> dict[str, object]:
    """A row of the data frame, with the figure's name."""
    where = [f"{by}={part}" if by else "", target, figure]
    fields = {"name": ".".join(filter(None, where)), "by": by, "part": part, "target": target, "figure": figure}
    return fields | asdict(found)


def figures(table: Table, languages: Collection[str] = (), n_errors: int = 0) -> pd.DataFrame:
    """Every figure that the table can give.

    Args:
        languages: that the text classifier was trained on, by its card; empty for any. Others are listed apart.
        n_errors: items that could not be scored.
    """
    rows = [_Row("errors", Figure(n_errors, n=len(table.items) + n_errors))]
    slices = _slices(table, languages)
    rows += _of_targets(table)
    for by, parts in slices:
        if by == "source" or by.endswith("language"):
            rows += _of_targets(table, by, parts, ("auc", "recall_at_5pct_fpr"))
    rows += _means(rows)
    rows += _of_items(table, table.items.index)
    for by, parts in slices:
        for part, index in table.items.groupby(parts).groups.items():
            rows += _of_items(table, index, by, str(part))
    rows += _of_talk(table)
    rows += _of_groups(table, languages)
    return pd.DataFrame([row.as_dict() for row in rows if row.found.n or row.figure == "errors"])


def under_speech(louder_db: float, table: Table) -> pd.DataFrame:
    """Of each event, the share that is found under speech that is so much louder.

    Args:
        table: of the mixtures.
    """
    name = UNDER_SPEECH_FIGURES[louder_db]
    rows = []
    for event in EVENTS:
        true, found = table.truth[event] == 1, table.found[event]
        if true.any():
            rows.append(
                _Row(name, statistics.share(int((true & found).sum()), int(true.sum())), "", UNDER_SPEECH, event)
            )
    return pd.DataFrame([row.as_dict() for row in rows])


def _slices(table: Table, languages: Collection[str]) -> list[tuple[str, pd.Series]]:
    """For each key, the part that an item belongs to. Languages are compared within a data set that has several."""
    items = table.items
    several = items.groupby("source")["language"].transform("nunique") > 1
    known = items["language"].isin(list(languages)) if languages else items["language"].notna()
    named = (items["source"] + "/" + items["language"].fillna("")).where(several)
    found = [("source", items["source"]), ("language", named.where(known)), ("unread language", named.where(~known))]
    found += [(key, items[key]) for key in table.slice_keys if key != TALK]
    return [(by, parts) for by, parts in found if parts.notna().any()]


def _of_targets(
    table: Table, by: str = "", parts: pd.Series | None = None, rankings: Collection[str] = tuple(_RANKINGS)
) -> Iterator[_Row]:
    """Figures of each target whose truth is known somewhere, of all items or part by part."""
    groups = {"": table.items.index} if parts is None else table.items.groupby(parts).groups
    for part, index in groups.items():
        for target in TARGETS:
            truth, scores = table.truth.loc[index, target], table.scores.loc[index, target]
            known = truth.notna() & scores.notna()
            if not known.any():
                continue
            true, found = truth[known] == 1, table.found.loc[index, target][known]
            shares = {
                "recall": statistics.share(int((true & found).sum()), int(true.sum())),
                "false_positive_rate": statistics.share(int((~true & found).sum()), int((~true).sum())),
            }
            if not by:
                shares["precision"] = statistics.share(int((true & found).sum()), int(found.sum()))
                shares["calibration_error"] = statistics.calibration_error(
                    true.to_numpy(float), scores[known].to_numpy()
                )
            for name in rankings:
                shares[name] = _RANKINGS[name](true.to_numpy(float), scores[known].to_numpy())
            yield from (_Row(name, one, target, by, str(part)) for name, one in shares.items())


def _means(rows: list[_Row]) -> Iterator[_Row]:
    """Means over targets; of words, each target's own mean over the data sets that hold it; and over languages."""
    frame = pd.DataFrame([row.as_dict() for row in rows])
    frame = frame[frame["value"].notna() & (frame["target"] != "")]
    for group, targets in (("categories", CATEGORIES), ("events", EVENTS)):
        for figure, own in frame[frame["target"].isin(targets) & (frame["by"] == "")].groupby("figure"):
            values = own.set_index("target")["value"]
            if group == "categories":
                by_source = frame[(frame["by"] == "source") & (frame["figure"] == figure)]
                values.update(by_source.groupby("target")["value"].mean())
            yield _Row(str(figure), Figure(float(values.mean()), n=int(own["n"].sum())), group)
    for (target, figure), own in frame[frame["by"] == "language"].groupby(["target", "figure"]):
        yield _Row(f"{figure}_over_languages", Figure(float(own["value"].mean()), n=int(own["n"].sum())), str(target))


def _of_items(table: Table, index: pd.Index, by: str = "", part: str = "") -> Iterator[_Row]:
    """Figures that do not ask for one target."""
    items, truth, found = table.items.loc[index], table.truth.loc[index], table.found.loc[index]
    harmful, harmless = truth.eq(1), truth.eq(0)
    has_harmful, has_harmless = harmful.any(axis=1), harmless.any(axis=1) & ~harmful.any(axis=1)
    if table.scores.loc[index].notna().any(axis=None):
        hits = {
            "recall": ((found & harmful).any(axis=1), has_harmful),
            "false_alarms": ((found & harmless).any(axis=1) & has_harmless, has_harmless),
            "flagged": (table.flagged.loc[index].any(axis=1), pd.Series(True, index)),
        }
        if truth[PROFANITY].notna().any():
            others = truth.drop(columns=PROFANITY)
            calm = others.eq(0).any(axis=1) & ~others.eq(1).any(axis=1)
            hits["false_alarms_beside_profanity"] = ((found & others.eq(0)).any(axis=1) & calm, calm)
        for name, (hit, of) in hits.items():
            yield _Row(name, statistics.share(int(hit.sum()), int(of.sum())), by=by, part=part)
    if "words" in items:
        own = items[items["words"].notna()]
        counts = (own["errors"].to_numpy(float), own["words"].to_numpy(float))
        yield _Row("wer", statistics.error_rate(*counts, own["speaker"].to_numpy(str)), by=by, part=part)
    if "wordless" in items:
        wordless = items["wordless"].dropna().astype(bool)
        yield _Row("hallucinated", statistics.share(int((~wordless).sum()), len(wordless)), by=by, part=part)
    if "false_events" in items:
        calm = items[has_harmless & items["false_events"].notna()]
        hours = calm["duration_s"].sum() / 3600
        found_there = int(calm["false_events"].sum())
        yield _Row("false_events_per_hour", statistics.rate(found_there, hours, len(calm)), by=by, part=part)
    if "spans" in items and not by:
        matched, spans = int(items["matched"].sum()), int(items["spans"].sum())
        yield _Row("span_f1", statistics.share(matched, spans), "events")


def _of_talk(table: Table) -> Iterator[_Row]:
    """Windows of ordinary talk, nearly all of them harmless, that the pack flags or blocks in an hour."""
    if TALK not in table.items:
        return
    talk = table.items[table.items[TALK].notna()]
    others = [target for target in TARGETS if target != PROFANITY]

    def rate(hits: pd.DataFrame, index: pd.Index) -> Figure:
        hours = talk.loc[index, "duration_s"].sum() / 3600
        return statistics.rate(int(hits.loc[index].any(axis=1).sum()), hours, len(index))

    parts = [("", "", talk.index), *(("source", str(name), own) for name, own in talk.groupby("source").groups.items())]
    for by, part, index in parts:
        target = "" if by else "talk"
        yield _Row("flagged_per_hour", rate(table.flagged, index), target, by, part)
        yield _Row("flagged_per_hour_beside_profanity", rate(table.flagged[others], index), target, by, part)
        yield _Row("blocked_per_hour", rate(table.blocked, index), target, by, part)
    for target in CATEGORIES:
        yield _Row("flagged_per_hour", rate(table.flagged[[target]], talk.index), target)


def _of_groups(table: Table, languages: Collection[str]) -> Iterator[_Row]:
    """Of the same sentence about different groups, after Garg et al., "Counterfactual Fairness in Text Classification
    through Robustness", AIES 2019: only the group's name changes, so whatever the score does is about the name.
    """
    if "group" not in table.items:
        return
    items = table.items[table.items["template"].notna() & table.items["group"].notna()]
    several = items.groupby("template")["group"].transform("nunique") > 1
    for (source, language), own in items[several].groupby(["source", "language"]):
        where = f"{source}/{language}" if items[items["source"] == source]["language"].nunique() > 1 else str(source)
        by = (
            "source" if where == source else "language" if not languages or language in languages else "unread language"
        )
        truth, found = table.truth.loc[own.index], table.found.loc[own.index]
        harmful, harmless = truth.eq(1), truth.eq(0)
        kinds = {
            "false_alarms_group_gap": ((found & harmless).any(axis=1), ~harmful.any(axis=1)),
            "recall_group_gap": ((found & harmful).any(axis=1), harmful.any(axis=1)),
        }
        for name, (hit, of) in kinds.items():
            yield _Row(name, _gap(hit[of], own["group"][of]), by=by, part=where)
        scores = table.scores.loc[own.index].dropna(axis=1, how="all")
        shifts = (scores - scores.groupby(own["template"]).transform("mean")).groupby(own["group"]).mean()
        yield _Row("score_group_gap", Figure(float(shifts.abs().max(axis=None)), n=len(own)), by=by, part=where)


def _gap(hits: pd.Series, groups: pd.Series) -> Figure:
    shares = hits.groupby(groups).agg(["mean", "size"])
    shares = shares[shares["size"] >= _MIN_GROUP]["mean"]
    return Figure(float(shares.max() - shares.min()), n=len(hits)) if len(shares) > 1 else Figure()
