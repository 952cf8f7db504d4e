"""Reads the policy examples under `data/` and expands their template grammars, always to the same lines.

A training file holds, for one category, `harmful` and `hard_negative` examples: `lines` (by hand), `split` (by hand,
"|" cuts them into two segments) and `templates` with `slots`. `benign.yaml` holds plain talk, `frames.yaml` ways to
speak about something harmful. A test file holds lines only. The README beside this file says how to extend them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from aircheck.inference.text_safety.groups import read as read_groups
from aircheck.inference.text_safety.sentences import normalise
from aircheck.policy.taxonomy import Category

DATA = Path(__file__).parent / "data"
MAX_WORDS = 32
"""Longest line, in words: what one transcript segment or two hold."""

EXPANSIONS = 22  # lines drawn from each template of a category
BENIGN_EXPANSIONS = 30  # lines drawn from each template of benign.yaml
GROUPS_EACH = 11  # groups that each sentence of groups.yaml is made about
QUOTED_EACH = 24  # harmful ones in each sentence of condemnation
ACTS_EACH = 4  # frames that each act of acts.yaml is put into
TRANSLATED_EACH = 5  # groups that each sentence of languages.yaml is made about, and lines that it quotes
PAIRED = 4  # others that each insult or threat of languages.yaml is joined with
OTHERS_EACH = 8  # things, or people without a protected characteristic, in each harsh sentence
FRAMED = 64  # hard negatives made for each category by framing its harmful lines

Kind = Literal["harmful", "hard_negative", "benign"]
_SEEDS = {"harmful": "harmful", "hard_negative": "lookalike"}  # other words here would draw other training lines
_ALSO = re.compile(r"\s+\+([a-z_]+)$")
_SLOT = re.compile(r"\{(\w+)\}")


class DataError(ValueError):
    """A data file is not as the README says; the message names the file and the entry."""


@dataclass(frozen=True)
class Line:
    """A normalised example: one segment, or two when it is split; `labels` is empty unless it is harmful.

    `category` is the file it stands in ("benign" for plain talk), so a hard negative has one as well. `source` is the
    template it was made from, or its own text: lines of one source are alike, so a fair split keeps them together.
    """

    parts: tuple[str, ...]
    kind: Kind
    category: str
    labels: frozenset[Category] = frozenset()
    source: str = ""
    language: str = "en"

    @property
    def text(self) -> str:
        return " ".join(self.parts)

    @property
    def by_hand(self) -> bool:
        """Whether somebody wrote it as it stands; the others come from templates and frames."""
        return normalise(self.source) == self.text


def read_train(data: Path = DATA) -> list[Line]:
    """Every training line: by hand, from templates, and harmful lines framed into hard negatives. No text twice."""
    frames = _read(data / "train" / "frames.yaml")
    made: list[Line] = []
    for category in Category:
        content = _read(data / "train" / f"{category}.yaml")
        lines = list(_category_lines(content, category, data / "train" / f"{category}.yaml"))
        if category.value not in frames["never_excused"]:
            lines += _framed([line for line in lines if line.kind == "harmful"], frames, category)
        made += lines
    benign = _read(data / "train" / "benign.yaml")
    path = data / "train" / "benign.yaml"
    made += [_line(text, "benign", "benign", path) for text in benign["lines"]]
    for text, template in _expand_all(benign["templates"], benign["slots"], BENIGN_EXPANSIONS, "benign"):
        made.append(replace(_line(text, "benign", "benign", path), source=template))
    made += _questions(data / "train" / "questions.yaml")
    made += _acts(data / "train" / "acts.yaml")
    made += _about_groups(data / "train" / "groups.yaml")
    return _unique(made + _in_other_languages(data / "train" / "languages.yaml"))


def read_test(data: Path = DATA) -> list[Line]:
    """Every held-out line, as written."""
    made = []
    for category in Category:
        path = data / "test" / f"{category}.yaml"
        content = _read(path)
        for kind in ("harmful", "hard_negative"):
            for text in content[kind] + content[f"split_{kind}"]:
                made.append(_line(text, kind, category.value, path))
    made += _questions(data / "test" / "questions.yaml")
    path = data / "test" / "benign.yaml"
    made += [_line(text, "benign", "benign", path) for text in _read(path)["lines"]]
    return made


def _questions(path: Path) -> list[Line]:
    """Requests for something harmful, and harmless ones in the same words."""
    content = _read(path)
    return [
        _line(text, kind, category, path)
        for category, lines in content.items()
        for kind in ("harmful", "hard_negative")
        for text in lines[kind]
    ]


def _acts(path: Path) -> list[Line]:
    """Requests about acts, harmful ones and others that share their words; each in ACTS_EACH of the frames."""
    content = _read(path)
    rng = random.Random("acts")
    frames = content.pop("frames")
    return [
        replace(_line(frame.replace("{act}", act), kind, category, path), source=act)
        for category, acts in content.items()
        for kind in ("harmful", "hard_negative")
        for act in acts[kind]
        for frame in rng.sample(frames, ACTS_EACH)
    ]


def _in_other_languages(path: Path) -> list[Line]:
    """Lines of several languages: sentences about groups, insults, threats, and plain talk."""
    made: list[Line] = []
    for language, content in _read(path).items():
        rng = random.Random(f"languages/{language}")
        hate = [
            replace(_line(text, "harmful", Category.HATE.value, path), source=template, language=language)
            for template in content["hate"]
            for text in _about(template, content["groups"], rng)
        ]
        made += hate
        for template in content["harmless"]:
            texts = _about(template, content["groups"], rng)
            if "{core}" in template:
                texts = [template.replace("{core}", core.text) for core in rng.sample(hate, TRANSLATED_EACH)]
            made += [
                replace(_line(text, "hard_negative", Category.HATE.value, path), source=template, language=language)
                for text in texts
            ]
        for category in (Category.HARASSMENT, Category.VIOLENCE_THREAT):
            lines = content[category.value]
            pairs = [f"{line}, {other}" for line in lines for other in rng.sample(lines, PAIRED) if other != line]
            made += [replace(_line(text, "harmful", category.value, path), language=language) for text in lines + pairs]
    return made


def _about(template: str, groups: Sequence[str], rng: random.Random) -> list[str]:
    """The template with TRANSLATED_EACH of the groups, or as it stands where it speaks of none."""
    if "{group}" not in template and "{of}" not in template:
        return [template]
    forms = [group.split("/") for group in rng.sample(groups, TRANSLATED_EACH)]
    return [template.replace("{group}", form[0]).replace("{of}", form[-1]) for form in forms]


def _about_groups(path: Path) -> list[Line]:
    """Sentences about groups, GROUPS_EACH of them for each sentence, every group as often as any other."""
    content = _read(path)
    rng = random.Random("groups")
    english = read_groups()["en"]
    groups = list(zip(english.plural, english.singular, strict=True))
    waiting: list[tuple[str, str]] = []

    def draw() -> tuple[str, str]:
        if not waiting:
            waiting.extend(groups)
            rng.shuffle(waiting)
        return waiting.pop()

    made = []
    for kind in ("harmful", "hard_negative"):
        for template in content[kind]:
            for plural, singular in (draw() for _ in range(GROUPS_EACH)):
                text = template.replace("{group}", plural).replace("{one}", singular)
                made.append(replace(_line(text, kind, Category.HATE.value, path), source=template))
    harmful = [line for line in made if line.labels]
    for template in content["quoting"]:
        for core in rng.sample(harmful, QUOTED_EACH):
            text = template.replace("{core}", core.text)
            made.append(replace(_line(text, "hard_negative", Category.HATE.value, path), source=template))
    for kind in ("things", "people"):
        others = content["not_people"]
        for template in others[f"hard_negative_{kind}"]:
            for term in rng.sample(others[kind], OTHERS_EACH):
                text = template.replace("{group}", term)
                made.append(replace(_line(text, "hard_negative", Category.HATE.value, path), source=template))
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path.name}: cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path.name}: expected a mapping at the top")
    return content


def _category_lines(content: dict[str, Any], category: Category, path: Path) -> Iterator[Line]:
    if content["category"] != category.value:
        raise DataError(f"{path.name}: says category '{content['category']}'; rename the file or the category")
    for kind in ("harmful", "hard_negative"):
        part = content[kind]
        expanded = _expand_all(part["templates"], content["slots"], EXPANSIONS, f"{category}/{_SEEDS[kind]}")
        for text in part["lines"] + part["split"]:
            yield _line(text, kind, category.value, path)
        for text, template in expanded:
            yield replace(_line(text, kind, category.value, path), source=template)


def _line(text: str, kind: str, category: str, path: Path) -> Line:
    also: set[Category] = set()
    while found := _ALSO.search(text):
        if found[1] not in set(Category):
            raise DataError(f"{path.name}: '{text}' names the unknown category '{found[1]}'")
        also.add(Category(found[1]))
        text = text[: found.start()]
    parts = tuple(normalise(part) for part in text.split("|"))
    if not all(parts) or len(parts) > 2 or len(" ".join(parts).split()) > MAX_WORDS:
        raise DataError(f"{path.name}: '{text}' is empty, has more than one '|', or is over {MAX_WORDS} words")
    labels = frozenset({Category(category)} | also) if kind == "harmful" else frozenset()
    return Line(parts, kind, category, labels, source=text)  # type: ignore[arg-type]  # kinds come from this module


def _expand_all(templates: Sequence[str], slots: dict[str, list[str]], count: int, seed: str) -> list[tuple[str, str]]:
    """Fillings of every template, each with the template it came from."""
    return [
        (text, template) for template in templates for text in _expand(template, slots, count, f"{seed}/{template}")
    ]


def _expand(template: str, slots: dict[str, list[str]], count: int, seed: str) -> list[str]:
    """At most `count` different fillings of a template, the same on every run."""
    rng = random.Random(seed)  # a string seed is hashed with SHA-512: stable across runs and versions
    drawn: dict[str, None] = {}
    for _ in range(count * 4):
        drawn[_SLOT.sub(lambda slot: rng.choice(slots[slot[1]]), template)] = None
        if len(drawn) == count:
            break
    return list(drawn)


def _framed(harmful: Sequence[Line], frames: dict[str, Any], category: Category) -> list[Line]:
    """Harmful lines reported, condemned or quoted from fiction: hard negatives, in one segment or in two."""
    rng = random.Random(f"frames/{category}")
    made = []
    for core in rng.sample(list(harmful), min(FRAMED, len(harmful))):
        frame = rng.choice(frames["reported"] if rng.random() < 0.7 else frames["reported_split"])
        parts = tuple(normalise(part) for part in frame.format(core=core.text).split("|"))
        if len(" ".join(parts).split()) <= MAX_WORDS:
            made.append(replace(core, parts=parts, kind="hard_negative", labels=frozenset()))
    return made


def _unique(lines: Sequence[Line]) -> list[Line]:
    return list({line.text: line for line in reversed(lines)}.values())[::-1]
