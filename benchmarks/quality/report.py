"""The report as data: what `report.json` holds. Every figure is a Measure: value, 95 % interval, and of how many."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.quality.calibration import Calibration
from benchmarks.quality.intervals import Measure
from benchmarks.quality.results import Conditions

REPORT = "report.json"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CurvePoint(_Model):
    threshold: float
    precision: float
    recall: float


class Target(_Model):
    """One category of speech or sound event.

    `precision` counts every item not labelled with it; `false_positive_rate` and the budget of `recall_at_budget`
    count only *clean* items, which are labelled with nothing of its kind.
    """

    name: str
    kind: Literal["speech", "sound"]
    positives: int
    clean: int
    pack_threshold: float | None  # the pack's first level, where the pack is known
    precision: Measure
    recall: Measure
    false_positive_rate: Measure
    budget_threshold: float | None  # flag what scores above it
    recall_at_budget: Measure
    average_precision: Measure
    curve: tuple[CurvePoint, ...]
    calibration: Calibration
    overlap: Measure  # intersection over union of time, on items where it was rightly found
    start_error_s: Measure  # median distance of a rightly found start, s
    event_f1: Measure  # start and end within tolerance; sounds only
    onset_f1: Measure


class ConfusionRow(_Model):
    """Items with one label (or none, or several): how many there are, and on how many each target was found."""

    label: str
    items: int
    found: dict[str, int]
    nothing: int


class DecisionRow(_Model):
    """Items of one kind, by the action that was decided."""

    group: str
    items: int
    actions: dict[str, int]


class Gap(_Model):
    """How much worse than the best slice, and whether the interval leaves no doubt that it is."""

    best: str
    measure: Measure
    clear: bool


class SliceValue(_Model):
    """One value of a slice key. Gaps are against the best value that rests on enough."""

    value: str
    items: int
    recall: Measure
    false_positive_rate: Measure  # of its clean items, how many were flagged at all
    flagged: Measure
    wer: Measure
    recall_gap: Gap | None = None
    false_positive_gap: Gap | None = None
    wer_gap: Gap | None = None


class SliceKey(_Model):
    key: str
    values: tuple[SliceValue, ...]


class TermShift(_Model):
    """How much a category's score moves when a group's name stands in the sentence, against the sentence's mean."""

    term: str
    category: str
    shift: Measure


class IdentitySpread(_Model):
    """Of one category: highest minus lowest score over the terms, averaged over the sentences, and at its worst."""

    category: str
    mean_spread: Measure
    worst_spread: float
    worst_sentence: str
    highest_term: str
    lowest_term: str


class Identity(_Model):
    """The same sentences about different groups."""

    sentences: int
    terms: tuple[str, ...]
    spreads: tuple[IdentitySpread, ...]
    shifts: tuple[TermShift, ...]  # the largest of each term
    gap: float | None  # the largest of all mean shifts, without its sign
    decisions_differ: Measure  # share of sentences whose action depends on the term


class Miss(_Model):
    """One of the worst mistakes. Times are of the evidence, or of the label where something was missed."""

    id: str
    target: str
    score: float
    start_s: float | None
    end_s: float | None
    labels: tuple[str, ...]
    quote: str | None  # the words that were scored, as heard
    reference: str | None  # the words as they are
    audio: str | None  # path in the manifest
    slices: dict[str, str]
    note: str | None


class ItemFault(_Model):
    id: str
    error: str


class Counts(_Model):
    items: int
    audio: int
    text: int
    errors: int
    clean: int  # labelled with nothing at all
    audio_s: float


class Report(_Model):
    """Everything that was measured in one run."""

    schema_version: Literal[1] = 1
    created: str  # ISO 8601, UTC
    command: str
    manifest: str
    manifest_sha256: str
    conditions: Conditions
    embedded_classifiers: bool
    budget: float
    counts: Counts
    faults: tuple[ItemFault, ...]
    targets: tuple[Target, ...]
    clean_flagged: Measure
    hard_negatives_flagged: Measure
    hard_negative_sounds_flagged: Measure
    calibration: dict[str, Calibration]  # speech, sound
    confusion: tuple[ConfusionRow, ...]
    decisions: tuple[DecisionRow, ...]
    wer: Measure
    hallucinated: Measure  # share of items without speech on which words were heard
    slices: tuple[SliceKey, ...]
    slices_left_out: tuple[str, ...]
    identity: Identity | None
    false_positives: tuple[Miss, ...]
    false_negatives: tuple[Miss, ...]
    figures: dict[str, float | None]  # every figure that a gate may bound, by its name
