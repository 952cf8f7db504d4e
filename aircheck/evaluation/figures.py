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

from collections.abc import Collection, Iterator
from dataclasses import asdict

import pandas as pd

from aircheck.evaluation import statistics
from aircheck.evaluation.items import CATEGORIES, EVENTS, TARGETS
from aircheck.evaluation.readers import TALK
from aircheck.evaluation.statistics import RANKINGS, Figure, rate, share
from aircheck.evaluation.table import Table

PROFANITY = "profanity"
UNDER_SPEECH = "event under speech"
UNDER_SPEECH_FIGURES = {-10.0: "found_10db_quieter", 0.0: "found_as_loud", 10.0: "found_10db_louder"}  # speech
MIN_ITEMS = 30  # a slice of fewer is shown as counts, not as percentages
_MIN_GROUP = 10  # items of a group that its share must rest on to be compared
_OTHERS = [target for target in TARGETS if target != PROFANITY]
Row = dict[str, object]


def row(figure: str, found: Figure, target: str = "", by: str = "", part: str = "") -> Row:
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
    items = table.items
    slices = {"source": items["source"], **_by_language(items, languages)}
    slices |= {key: items[key] for key in table.slice_keys if key != TALK}
    parts = [("", "", items.index)]
    parts += [(by, str(part), own) for by, named in slices.items() for part, own in items.groupby(named).groups.items()]
    rows = [row("errors", Figure(n_errors, n=len(items) + n_errors))]
    for by, part, index in parts:
        if by in ("", "source") or by.endswith("language"):
            rows += _of_targets(table, index, by, part)
    rows += _means(pd.DataFrame(rows))
    for by, part, index in parts:
        rows += _of_items(table, index, by, part)
    if TALK in items:
        rows += _of_talk(table, items[items[TALK].notna()])
    if "group" in items:
        rows += _of_groups(table, items.dropna(subset=["template", "group", "language"]), languages)
    found = pd.DataFrame(rows)
    return found[(found["n"] > 0) | (found["figure"] == "errors")].reset_index(drop=True)


def under_speech(louder_db: float, table: Table) -> pd.DataFrame:
    """Of each event, the share that is found under speech that is so much louder.

    Args:
        table: of the mixtures.
    """
    rows = []
    for event in EVENTS:
        mixtures = table.known(event)
        if mixtures["true"].any():
            found = share(mixtures["found"][mixtures["true"]])
            rows.append(row(UNDER_SPEECH_FIGURES[louder_db], found, by=UNDER_SPEECH, part=event))
    return pd.DataFrame(rows)


def _by_language(items: pd.DataFrame, languages: Collection[str]) -> dict[str, pd.Series]:
    """Of data sets that have several, `SOURCE/LANGUAGE` of each item, by whether the classifier knows the language."""
    several = items.groupby("source")["language"].transform("nunique") > 1
    known = items["language"].isin(list(languages)) if languages else items["language"].notna()
    named = (items["source"] + "/" + items["language"].fillna("")).where(several)
    return {"language": named.where(known), "unread language": named.where(~known)}


def _of_targets(table: Table, index: pd.Index, by: str = "", part: str = "") -> Iterator[Row]:
    """Figures of each target whose truth is known somewhere; of a part, the most telling ones."""
    for target in TARGETS:
        known = table.known(target)
        known = known[known.index.isin(index)]
        if known.empty:
            continue
        true, found, scores = known["true"], known["found"], known["score"]
        own = {"recall": share(found[true]), "false_positive_rate": share(found[~true])}
        if not by:
            own["precision"] = share(true[found])
            own["calibration_error"] = statistics.calibration_error(true, scores)
        for name in ("auc", "recall_at_5pct_fpr") if by else RANKINGS:
            own[name] = statistics.ranking(name, true, scores)
        yield from (row(name, one, target, by, part) for name, one in own.items())


def _means(frame: pd.DataFrame) -> Iterator[Row]:
    """Means over targets; of words, each target's own mean over the data sets that hold it; and over languages."""
    frame = frame[frame["value"].notna() & (frame["target"] != "")]
    by_source = frame[frame["by"] == "source"].groupby(["figure", "target"])["value"].mean()
    for group, targets in (("categories", CATEGORIES), ("events", EVENTS)):
        for figure, own in frame[frame["target"].isin(targets) & (frame["by"] == "")].groupby("figure"):
            values = own.set_index("target")["value"]
            if group == "categories" and figure in by_source:
                values.update(by_source[figure])
            yield row(str(figure), Figure(float(values.mean()), n=int(own["n"].sum())), group)
    for (target, figure), own in frame[frame["by"] == "language"].groupby(["target", "figure"]):
        yield row(f"{figure}_over_languages", Figure(float(own["value"].mean()), n=int(own["n"].sum())), str(target))


def _of_items(table: Table, index: pd.Index, by: str = "", part: str = "") -> Iterator[Row]:
    """Figures that do not ask for one target."""
    items, truth, found = table.items.loc[index], table.truth.loc[index], table.found.loc[index]
    harmful, calm = truth.eq(1).any(axis=1), _calm(truth)
    own: dict[str, Figure] = {}
    if table.scores.loc[index].notna().any(axis=None):
        own["recall"] = share((found & truth.eq(1)).any(axis=1)[harmful])
        own["false_alarms"] = share((found & truth.eq(0)).any(axis=1)[calm])
        own["flagged"] = share(table.flagged.loc[index].any(axis=1))
        if truth[PROFANITY].notna().any():
            others = truth[_OTHERS]
            own["false_alarms_beside_profanity"] = share((found[_OTHERS] & others.eq(0)).any(axis=1)[_calm(others)])
    if "words" in items:
        heard = items[items["words"].notna()]
        own["wer"] = statistics.error_rate(heard["errors"], heard["words"], heard["speaker"])
    if "wordless" in items:
        own["hallucinated"] = share(~items["wordless"].dropna().astype(bool))
    if "false_events" in items:
        quiet = items[calm & items["false_events"].notna()]
        own["false_events_per_hour"] = rate(quiet["false_events"], quiet["duration_s"])
    yield from (row(name, one, by=by, part=part) for name, one in own.items())
    if "spans" in items and not by:
        yield row("span_f1", share(items["matched"].sum(), int(items["spans"].sum())), "events")


def _calm(truth: pd.DataFrame) -> pd.Series:
    """Items that are known to be harmless in some target, and harmful in none."""
    return truth.eq(0).any(axis=1) & ~truth.eq(1).any(axis=1)


def _of_talk(table: Table, talk: pd.DataFrame) -> Iterator[Row]:
    """Windows of ordinary talk, nearly all of them harmless, that the pack flags or blocks in an hour."""
    kinds = {
        "flagged_per_hour": table.flagged,
        "flagged_per_hour_beside_profanity": table.flagged[_OTHERS],
        "blocked_per_hour": table.blocked,
    }
    for by, groups in (("", {"": talk.index}), ("source", talk.groupby("source").groups)):
        for part, index in groups.items():
            for name, hits in kinds.items():
                found = rate(hits.loc[index].any(axis=1), talk.loc[index, "duration_s"])
                yield row(name, found, "" if by else "talk", by, str(part))
    for target in CATEGORIES:
        yield row("flagged_per_hour", rate(table.flagged.loc[talk.index, target], talk["duration_s"]), target)


def _of_groups(table: Table, items: pd.DataFrame, languages: Collection[str]) -> Iterator[Row]:
    """Of the same sentence about different groups, after Garg et al., "Counterfactual Fairness in Text Classification
    through Robustness", AIES 2019: only the group's name changes, so whatever the score does is about the name.
    """
    several = items.groupby("template")["group"].transform("nunique") > 1
    slices = _by_language(items, languages)
    slices["source"] = items["source"].where(slices["language"].isna() & slices["unread language"].isna())
    parts = [(by, part, own) for by, named in slices.items() for part, own in items[several].groupby(named)]
    for by, part, own in parts:
        truth, found = table.truth.loc[own.index], table.found.loc[own.index]
        harmful = truth.eq(1).any(axis=1)
        kinds = {
            "false_alarms_group_gap": (found & truth.eq(0)).any(axis=1)[~harmful],
            "recall_group_gap": (found & truth.eq(1)).any(axis=1)[harmful],
        }
        for name, hits in kinds.items():
            shares = hits.groupby(own["group"]).agg(["mean", "size"])
            shares = shares[shares["size"] >= _MIN_GROUP]["mean"]
            if len(shares) > 1:
                yield row(name, Figure(float(shares.max() - shares.min()), n=len(hits)), by=by, part=str(part))
        scores = table.scores.loc[own.index].dropna(axis=1, how="all")
        shifts = (scores - scores.groupby(own["template"]).transform("mean")).groupby(own["group"]).mean()
        yield row("score_group_gap", Figure(float(shifts.abs().max(axis=None)), n=len(own)), by=by, part=str(part))
