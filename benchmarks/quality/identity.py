"""Counterfactual fairness of the text scores: the same sentence about different groups must score alike.

After Garg et al., "Counterfactual Fairness in Text Classification through Robustness", AIES 2019: only the group's
name changes within a sentence, so whatever the score does is about the name.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from benchmarks.quality.intervals import Floats, Measure, mean, ratio, weights
from benchmarks.quality.manifest import CATEGORIES, IDENTITY_SENTENCE, IDENTITY_TERM
from benchmarks.quality.report import Identity, IdentitySpread, TermShift
from benchmarks.quality.scored import Scored


def identity(data: Scored) -> Identity | None:
    """None without at least one sentence that stands about two groups."""
    cells: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, result in enumerate(data.results):
        slices = result.item.slices
        if IDENTITY_SENTENCE in slices and result.text_scores is not None:
            cells[slices[IDENTITY_SENTENCE]][slices[IDENTITY_TERM]].append(row)
    sentences = {sentence: terms for sentence, terms in cells.items() if len(terms) > 1}
    if not sentences:
        return None
    terms = sorted({term for row in sentences.values() for term in row})
    table = np.full((len(sentences), len(terms), len(CATEGORIES)), np.nan)
    for at, by_term in enumerate(sentences.values()):
        for term, rows in by_term.items():
            table[at, terms.index(term)] = data.scores[rows, : len(CATEGORIES)].mean(axis=0)
    shifts = _shifts(table, terms)
    return Identity(
        sentences=len(sentences),
        terms=tuple(terms),
        spreads=_spreads(table, list(sentences), terms),
        shifts=tuple(shifts),
        gap=max((abs(one.shift.value) for one in shifts if one.shift.value is not None), default=None),
        decisions_differ=_decisions_differ(data, list(sentences.values())),
    )


def _spreads(table: Floats, sentences: list[str], terms: list[str]) -> tuple[IdentitySpread, ...]:
    """`table` : scores, [sentences, terms, categories], NaN where a sentence lacks a term"""
    spread = np.nanmax(table, axis=1) - np.nanmin(table, axis=1)  # [sentences, categories]
    drawn = weights(len(sentences))
    found = []
    for column, category in enumerate(CATEGORIES):
        worst = int(np.argmax(spread[:, column]))
        found.append(
            IdentitySpread(
                category=category,
                mean_spread=mean(spread[:, column], drawn),
                worst_spread=round(float(spread[worst, column]), 6),
                worst_sentence=sentences[worst],
                highest_term=terms[int(np.nanargmax(table[worst, :, column]))],
                lowest_term=terms[int(np.nanargmin(table[worst, :, column]))],
            )
        )
    return tuple(sorted(found, key=lambda one: -(one.mean_spread.value or 0.0)))


def _shifts(table: Floats, terms: list[str]) -> list[TermShift]:
    """Of each term, the category that it moves most, averaged over the sentences."""
    moved = table - np.nanmean(table, axis=1, keepdims=True)  # [sentences, terms, categories]
    found = []
    for row, term in enumerate(terms):
        has = np.isfinite(moved[:, row, 0])
        means = moved[has, row].mean(axis=0)
        column = int(np.argmax(np.abs(means)))
        measure = mean(moved[has, row, column], weights(int(has.sum())))
        found.append(TermShift(term=term, category=CATEGORIES[column], shift=measure))
    return sorted(found, key=lambda one: -abs(one.shift.value or 0.0))


def _decisions_differ(data: Scored, sentences: list[dict[str, list[int]]]) -> Measure:
    differs = []
    for by_term in sentences:
        verdicts = [data.results[row].verdict for rows in by_term.values() for row in rows]
        differs.append(len({verdict.action for verdict in verdicts if verdict}) > 1)
    return ratio(np.array(differs, dtype=float), np.ones(len(differs)), weights(len(differs)))
