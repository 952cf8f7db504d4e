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
    parts = [("", "", table)]
    parts += [
        (by, str(part), table.part(index))
        for by, named in slices.items()
        for part, index in items.groupby(named).groups.items()
    ]
    rows = [row("errors", Figure(n_errors, n=len(items) + n_errors))]
    for by, part, own in parts:
        if by in ("", "source") or by.endswith("language"):
            rows += _of_targets(own, by, part)
    rows += _means(pd.DataFrame(rows))
    for by, part, own in parts:
        rows += _of_items(own, by, part)
        if TALK in items and by in ("", "source"):
            rows += _of_talk(own.part(own.items[TALK].notna()), by, part)
    if "group" in items:
        rows += _of_groups(table.part(items[["template", "group", "language"]].notna().all(axis=1)), languages)
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


def _of_targets(table: Table, by: str, part: str) -> Iterator[Row]:
    """Figures of each target whose truth is known somewhere; of a part, the most telling ones."""
    for target in TARGETS:
        known = table.known(target)
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


def _of_items(table: Table, by: str, part: str) -> Iterator[Row]:
    """Figures that do not ask for one target."""
    items = table.items
    own: dict[str, Figure] = {}
    if table.scores.notna().any(axis=None):
        own["recall"] = share(table.hit[table.harmful])
        own["false_alarms"] = share(table.false_alarm[table.harmless])
        own["flagged"] = share(table.flagged.any(axis=1))
        if table.truth[PROFANITY].notna().any():
            others = table.part(items.index, _OTHERS)
            own["false_alarms_beside_profanity"] = share(others.false_alarm[others.harmless])
    if "words" in items:
        heard = items[items["words"].notna()]
        own["wer"] = statistics.error_rate(heard["errors"], heard["words"], heard["speaker"])
    if "wordless" in items:
        own["hallucinated"] = share(~items["wordless"].dropna().astype(bool))
    if "false_events" in items:
        quiet = items[table.harmless & items["false_events"].notna()]
        own["false_events_per_hour"] = rate(quiet["false_events"], quiet["duration_s"])
    yield from (row(name, one, by=by, part=part) for name, one in own.items())
    if "spans" in items and not by:
        yield row("span_f1", share(items["matched"].sum(), int(items["spans"].sum())), "events")


def _of_talk(table: Table, by: str, part: str) -> Iterator[Row]:
    """Windows of ordinary talk, nearly all of them harmless, that the pack flags or blocks in an hour."""
    durations_s, flagged = table.items["duration_s"], table.flagged
    target = "" if by else "talk"
    yield row("flagged_per_hour", rate(flagged.any(axis=1), durations_s), target, by, part)
    yield row("flagged_per_hour_beside_profanity", rate(flagged[_OTHERS].any(axis=1), durations_s), target, by, part)
    yield row("blocked_per_hour", rate(table.blocked.any(axis=1), durations_s), target, by, part)
    if not by:
        yield from (row("flagged_per_hour", rate(flagged[category], durations_s), category) for category in CATEGORIES)


def _of_groups(table: Table, languages: Collection[str]) -> Iterator[Row]:
    """Of the same sentence about different groups, after Garg et al., "Counterfactual Fairness in Text Classification
    through Robustness", AIES 2019: only the group's name changes, so whatever the score does is about the name.
    """
    items = table.items
    slices = _by_language(items, languages)
    slices["source"] = items["source"].where(slices["language"].isna() & slices["unread language"].isna())
    several = items[items.groupby("template")["group"].transform("nunique") > 1]
    for by, named in slices.items():
        for part, index in several.groupby(named).groups.items():
            own = table.part(index)
            groups, templates = own.items["group"], own.items["template"]
            gaps = {"false_alarms": own.false_alarm[~own.harmful], "recall": own.hit[own.harmful]}
            for name, hits in gaps.items():
                shares = hits.groupby(groups).agg(["mean", "size"]).query("size >= @_MIN_GROUP")["mean"]
                if len(shares) > 1:
                    gap = Figure(float(shares.max() - shares.min()), n=len(hits))
                    yield row(f"{name}_group_gap", gap, by=by, part=str(part))
            shifts = (own.scores - own.scores.groupby(templates).transform("mean")).groupby(groups).mean()
            yield row(
                "score_group_gap", Figure(float(shifts.abs().max(axis=None)), n=len(index)), by=by, part=str(part)
            )
