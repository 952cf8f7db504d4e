"""Whether it works as well for everyone and everywhere: every slice key, value by value, against its best value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.intervals import Floats, Measure, ratio, ratio_draws
from benchmarks.quality.manifest import IDENTITY_SENTENCE, KIND
from benchmarks.quality.report import Gap, SliceKey, SliceValue
from benchmarks.quality.scored import Scored

MOST_VALUES = 40
FEWEST = 10  # items that a figure must rest on for its slice to be the best one, or clearly worse than it


@dataclass(frozen=True)
class WordCounts:
    """Word errors and reference words of each item, 0 where there is no reference; shape = (items,)."""

    errors: Floats
    words: Floats


@dataclass(frozen=True)
class _Figure:
    """A sum over a sum, by item."""

    numerators: Floats
    denominators: Floats
    low_is_good: bool


def slice_figures(data: Scored, words: WordCounts) -> tuple[tuple[SliceKey, ...], tuple[str, ...]]:
    """Figures of all slice keys, and the keys left out because they have too many values."""
    keys = dict.fromkeys(key for result in data.results for key in result.item.slices)
    kept, left_out = [], []
    for key in keys:
        if key == IDENTITY_SENTENCE:
            continue
        values = data.slice_value(key)
        distinct = sorted({str(value) for value in values if value}, key=_natural)
        if len(distinct) > MOST_VALUES:
            left_out.append(key)
        else:
            measured = _measured(data, words, values, distinct)
            kept.append(
                SliceKey(key=key, values=measured if key == KIND else _with_gaps(data, words, values, measured))
            )
    return tuple(kept), tuple(left_out)


def _figures(data: Scored, words: WordCounts) -> dict[str, _Figure]:
    known = data.scored & data.has_verdict[:, None]
    true = data.true & known
    clean = (~data.true.any(axis=1) & data.has_verdict).astype(float)
    return {
        "recall": _Figure((true & data.found).sum(axis=1).astype(float), true.sum(axis=1).astype(float), False),
        "false_positive_rate": _Figure(clean * data.flagged, clean, True),
        "flagged": _Figure((data.flagged & data.has_verdict).astype(float), data.has_verdict.astype(float), True),
        "wer": _Figure(words.errors, words.words, True),
    }


def _measured(data: Scored, words: WordCounts, values: np.ndarray, distinct: list[str]) -> tuple[SliceValue, ...]:
    figures = _figures(data, words)
    inside = {value: (values == value).astype(float) for value in distinct}

    def measured(name: str, value: str) -> Measure:
        figure = figures[name]
        return ratio(figure.numerators * inside[value], figure.denominators * inside[value], data.drawn)

    return tuple(
        SliceValue(
            value=value,
            items=int(inside[value].sum()),
            recall=measured("recall", value),
            false_positive_rate=measured("false_positive_rate", value),
            flagged=measured("flagged", value),
            wer=measured("wer", value),
        )
        for value in distinct
    )


def _with_gaps(
    data: Scored, words: WordCounts, values: np.ndarray, plain: tuple[SliceValue, ...]
) -> tuple[SliceValue, ...]:
    figures = _figures(data, words)
    inside = {one.value: (values == one.value).astype(float) for one in plain}
    fields = (("recall", "recall_gap"), ("false_positive_rate", "false_positive_gap"), ("wer", "wer_gap"))
    gaps = {field: _gaps(data, figures[name], plain, inside, _getter(name)) for name, field in fields}
    return tuple(one.model_copy(update={field: found.get(one.value) for field, found in gaps.items()}) for one in plain)


def _getter(name: str) -> Callable[[SliceValue], Measure]:
    def get(one: SliceValue) -> Measure:
        found = getattr(one, name)
        assert isinstance(found, Measure)
        return found

    return get


def _gaps(
    data: Scored,
    figure: _Figure,
    values: tuple[SliceValue, ...],
    inside: dict[str, Floats],
    get: Callable[..., Measure],
) -> dict[str, Gap]:
    """Of each value that is not the best, how much worse it is, as a positive number."""
    sign = 1.0 if figure.low_is_good else -1.0
    enough = {value: np.count_nonzero(figure.denominators * mine) >= FEWEST for value, mine in inside.items()}
    candidates = [(sign * (get(one).value or 0.0), one.value) for one in values if enough[one.value]]
    if not candidates or len(values) < 2:
        return {}
    best = min(candidates)[1]

    def draws(value: str) -> Floats:
        return ratio_draws(figure.numerators * inside[value], figure.denominators * inside[value], data.drawn)

    best_value = next(get(one).value for one in values if one.value == best) or 0.0
    found = {}
    for one in values:
        value = get(one).value
        if one.value != best and value is not None:
            gap = sign * (value - best_value)
            measure = Measure.of(gap, sign * (draws(one.value) - draws(best)), get(one).n)
            clear = enough[one.value] and measure.low is not None and measure.low > 0
            found[one.value] = Gap(best=best, measure=measure, clear=bool(clear))
    return found


def _natural(value: str) -> tuple[tuple[int, float, str], ...]:
    """So that "5 dB" comes before "10 dB"."""
    parts = []
    for word in value.replace("-", " -").split():
        try:
            parts.append((0, float(word), ""))
        except ValueError:
            parts.append((1, 0.0, word))
    return tuple(parts)
