"""Reads labelled lines and ordinary talk: the public sets of a data folder, and this project's own lines.

A public set is a gzipped file of JSON lines; `y` maps categories to 0 or 1, and a category that is absent is unknown.
Sets marked `train` may be learned from, those marked `measure` never.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aircheck.inference.text_safety.sentences import sentences
from aircheck.policy.taxonomy import Category
from aircheck_client.schema import Segment
from training.text_safety.lines import read_train
from training.text_safety.variants import variants

Use = Literal["train", "measure"]

MAX_LINES = {"davidson": 4000, "edos": 4500, "misogyny": 3000}
"""Most lines of a source that are learned from, so that no corpus of tweets or comments outweighs the rest."""

MAX_OTHER_LINES = 5000

# A harmful line of ours is labelled with the categories its writer named. It may well be of these too, so nothing is
# taught about them: neither yes nor no.
RELATED: Mapping[Category, tuple[Category, ...]] = {
    Category.HATE: (Category.HARASSMENT, Category.VIOLENT_EXTREMISM, Category.VIOLENCE_THREAT),
    Category.HARASSMENT: (Category.HATE, Category.VIOLENCE_THREAT, Category.SELF_HARM, Category.PRIVACY_DOXXING),
    Category.VIOLENCE_THREAT: (Category.VIOLENT_EXTREMISM, Category.HARASSMENT),
    Category.VIOLENT_EXTREMISM: (Category.HATE, Category.VIOLENCE_THREAT),
    Category.SELF_HARM: (Category.HARASSMENT,),
    Category.SEXUAL: (),
    Category.CHILD_SAFETY: (Category.PRIVACY_DOXXING,),
    Category.ILLEGAL_GOODS: (),
    Category.DANGEROUS_MISINFORMATION: (),
    Category.PRIVACY_DOXXING: (Category.HARASSMENT, Category.VIOLENCE_THREAT),
    Category.PROFANITY: (Category.HARASSMENT,),
}

OWN = "own"

IN_FICTION = frozenset({Category.HATE, Category.HARASSMENT, Category.VIOLENCE_THREAT, Category.SEXUAL})

_SWEARING = re.compile(r"\b(fuck\w*|shit\w*|goddamn|assholes?)\b")


@dataclass(frozen=True)
class Example:
    """A text and what is known of it. `group` holds what is alike and must not be split between folds."""

    text: str
    labels: Mapping[Category, bool]
    source: str
    group: str
    kind: str = ""
    language: str = "en"

    @property
    def is_harmful(self) -> bool:
        """In any category but profanity, which is not what a source is balanced by."""
        return any(harmful for category, harmful in self.labels.items() if category is not Category.PROFANITY)


@dataclass(frozen=True)
class Window:
    """Half a minute of ordinary talk."""

    sentences: tuple[str, ...]
    source: str
    title: str

    @property
    def unknown(self) -> frozenset[Category]:
        """Categories in which it may well be harmful: in a novel, people threaten, insult and desire each other."""
        return IN_FICTION if self.source.startswith("audiobook") else frozenset()


def public_lines(folder: Path, use: Use) -> list[Example]:
    """Every labelled line of the sets for `use`. Raises OSError or ValueError that names the file."""
    return [
        Example(
            text=row["text"],
            labels=_labels(row),
            source=row["source"],
            group=row["group"],
            kind=row["kind"],
            language=row["lang"],
        )
        for row in _rows(folder, use)
        if "text" in row
    ]


def talk(folder: Path, use: Use) -> list[Window]:
    """The windows of ordinary talk for `use`, cut into sentences as the server cuts them."""
    return [
        Window(
            tuple(sentence.text for sentence in sentences([_segment(text) for text in row["segments"]])),
            source=row["source"],
            title=row["title"],
        )
        for row in _rows(folder, use)
        if "segments" in row
    ]


def own_lines() -> list[Example]:
    """This project's own lines for training, and their variants."""
    made = []
    lines = read_train()
    for line in [*lines, *variants(lines)]:
        unknown = {other for label in line.labels for other in RELATED[label]} - line.labels
        if line.category != Category.PROFANITY and _SWEARING.search(line.text):
            unknown.add(Category.PROFANITY)
        labels = {category: category in line.labels for category in Category if category not in unknown}
        made.append(Example(line.text, labels, OWN, line.source, line.kind, line.language))
    return made


def capped(examples: list[Example]) -> list[Example]:
    """At most as many lines of each source as it may have, half of them harmful where there are as many."""
    by_source: dict[str, list[Example]] = {}
    for example in examples:
        by_source.setdefault(example.source, []).append(example)
    kept: list[Example] = []
    for source, lines in by_source.items():
        most = MAX_LINES.get(source, MAX_OTHER_LINES)
        if len(lines) <= most:
            kept += lines
            continue
        rng = random.Random(7)
        harmful = [line for line in lines if line.is_harmful]
        others = [line for line in lines if not line.is_harmful]
        rng.shuffle(harmful)
        rng.shuffle(others)
        harmful = harmful[: most // 2]
        kept += harmful + others[: most - len(harmful)]
    return kept


def _labels(row: dict[str, Any]) -> dict[Category, bool]:
    labels = {Category(name): bool(value) for name, value in row["y"].items()}
    if row["source"] == "davidson" and row["kind"] == "offensive":
        labels.pop(Category.HATE, None)  # it holds misogyny and slurs that other sets call hate
    return labels


def _segment(text: str) -> Segment:
    return Segment(start_s=0, end_s=0, text=text, avg_logprob=0, no_speech_prob=0, compression_ratio=1)


def _rows(folder: Path, use: Use) -> Iterator[dict[str, Any]]:
    paths = sorted(folder.glob("*.jsonl.gz"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no *.jsonl.gz; give the folder of labelled text")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                    wanted = row["use"] == use
                except (ValueError, KeyError) as error:
                    raise ValueError(f"{path}, line {number}: is no labelled line: {error!r}") from error
                if wanted:
                    yield row
