"""Policy packs: versioned YAML files that turn a classifier's score into a severity and an action.

A pack lists, for every category of speech and every harmful sound event, the levels at which something happens. A level
applies from its `score` upwards (inclusive); of the levels that a score reaches, the highest one counts. Overrides
replace the levels of some categories for some content types, markets and audiences. Compositions (`compositions`) make
a finding more or less severe where something else is found beside it. docs/policy.md explains how to write one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from aircheck.policy.compositions import Composition, Compositions
from aircheck.policy.conditions import Strict, When, reject_unknown
from aircheck.policy.errors import PolicyError, UnknownPackError
from aircheck.policy.taxonomy import CONTEXT_EVENTS, HARM_EVENTS, Category, Event
from aircheck.yaml_files import YamlFile, YamlFileError
from aircheck_client.schema import Action, Context, Segment, Severity

Threshold = Annotated[float, Field(strict=True, gt=0.0, le=1.0)]


class Level(Strict):
    """From this score upwards (inclusive), a finding has this severity and asks for this action."""

    score: Threshold
    severity: Severity
    action: Action

    @model_validator(mode="after")
    def _is_a_finding(self) -> Level:
        if self.severity is Severity.NONE:
            raise ValueError("severity 'none' is for audio without findings; use 'low', or remove the level")
        return self


def _rising(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    for lower, upper in pairwise(levels):
        if upper.score <= lower.score:
            raise ValueError(f"score {upper.score} follows {lower.score}; list the levels by rising score, each once")
        if upper.severity < lower.severity:
            raise ValueError(
                f"severity falls from {lower.severity} to {upper.severity} at score {upper.score}; "
                "a higher score must not get a milder severity"
            )
        if upper.action < lower.action:
            raise ValueError(
                f"action falls from {lower.action} to {upper.action} at score {upper.score}; "
                "a higher score must not be treated more mildly"
            )
    return levels


Levels = Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(_rising)]


def _known_categories(data: object) -> object:
    if isinstance(data, dict):
        reject_unknown(data, allowed=tuple(Category))
    return data


def _known_events(data: object) -> object:
    if isinstance(data, dict):
        context = [str(key) for key in data if key in CONTEXT_EVENTS]
        if context:
            raise ValueError(f"{', '.join(map(repr, context))} gives context and never makes a finding; remove it")
        reject_unknown(data, allowed=HARM_EVENTS)
    return data


CategoryLevels = Annotated[dict[Category, Levels], BeforeValidator(_known_categories)]
EventLevels = Annotated[dict[Event, Levels], BeforeValidator(_known_events)]

_Key = TypeVar("_Key", Category, Event)


def _reject_missing(given: Mapping[_Key, object], wanted: tuple[_Key, ...]) -> None:
    missing = [str(key) for key in wanted if key not in given]
    if missing:
        raise ValueError(f"no levels for {', '.join(missing)}; a pack rates everything: add them")


def _all_categories(levels: dict[Category, Levels]) -> dict[Category, Levels]:
    _reject_missing(levels, tuple(Category))
    return levels


def _all_events(levels: dict[Event, Levels]) -> dict[Event, Levels]:
    _reject_missing(levels, HARM_EVENTS)
    return levels


class Override(Strict):
    """Other levels for some categories or events under some conditions, and why."""

    when: When
    why: Annotated[str, Field(min_length=1)]  # shown in the reason of every finding that it decides
    categories: CategoryLevels = Field(default_factory=dict)
    events: EventLevels = Field(default_factory=dict)

    @model_validator(mode="after")
    def _changes_something(self) -> Override:
        if not (self.categories or self.events):
            raise ValueError("changes no category and no event; add levels or remove the override")
        return self


class LowConfidence(Strict):
    """When a transcript is not to be trusted, and the most that it may lead to by itself.

    The measures and the usual limits are openai-whisper's (`transcribe.py`: no_speech_threshold 0.6,
    logprob_threshold -1.0, compression_ratio_threshold 2.4). A segment that fails any one of them is of low confidence.
    """

    max_no_speech_prob: Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
    min_avg_logprob: Annotated[float, Field(strict=True, le=0.0)]
    max_compression_ratio: Annotated[float, Field(strict=True, gt=0.0)]
    highest_action: Action

    @model_validator(mode="after")
    def _never_blocks(self) -> LowConfidence:
        if self.highest_action is Action.BLOCK:
            raise ValueError(
                "highest_action 'block': text of low confidence never blocks by itself; use 'review' or less"
            )
        return self

    def doubts(self, segment: Segment) -> tuple[str, ...]:
        """Why this segment's words may not be what was said; empty when they can be trusted."""
        doubts = []
        # Written as `not (… <= …)` so that a NaN counts as a doubt.
        if not segment.no_speech_prob <= self.max_no_speech_prob:
            doubts.append(f"no-speech probability {segment.no_speech_prob:.2f} > {self.max_no_speech_prob:g}")
        if not segment.avg_logprob >= self.min_avg_logprob:
            doubts.append(f"average log-probability {segment.avg_logprob:.2f} < {self.min_avg_logprob:g}")
        if not segment.compression_ratio <= self.max_compression_ratio:
            doubts.append(f"compression ratio {segment.compression_ratio:.2f} > {self.max_compression_ratio:g}")
        return tuple(doubts)


class Definition(Strict):
    """What a pack changes in what a policy judge reads about a category; the taxonomy says the rest."""

    definition: Annotated[str, Field(min_length=1)] | None = None  # instead of the taxonomy's
    exclusions: tuple[Annotated[str, Field(min_length=1)], ...] = ()  # besides the taxonomy's

    @model_validator(mode="after")
    def _changes_something(self) -> Definition:
        if not (self.definition or self.exclusions):
            raise ValueError("gives neither definition nor exclusions; give one or remove it")
        return self


class GapRule(Strict):
    """How many seconds of one kind may go unchecked, and what follows from more."""

    tolerated_s: Annotated[float, Field(strict=True, ge=0.0)]
    action: Action


class WindowGapRule(GapRule):
    """The same in a window; a short one tolerates no more than a share of its length."""

    tolerated_share: Annotated[float, Field(strict=True, ge=0.0, le=1.0)] = 1.0

    def tolerated_in_s(self, duration_s: float) -> float:
        """What a window of this length may have."""
        return min(self.tolerated_s, self.tolerated_share * duration_s)


class CoverageRules(Strict):
    """What follows where audio could not be checked; without a rule, it would pass as clean."""

    undecoded: GapRule  # seconds of a recording that could not be decoded
    untranscribed: WindowGapRule  # seconds of speech activity without text, in a window
    unclassified: GapRule  # seconds, in a window, of one language that the text classifier does not cover


@dataclass(frozen=True)
class Rule:
    """The levels in force for one category or event, and the override that set them, if one did."""

    levels: tuple[Level, ...]
    why: str = ""

    def level_for(self, score: float) -> Level | None:
        """The highest level that `score` reaches (inclusive), or None below the first."""
        reached = [level for level in self.levels if score >= level.score]
        return reached[-1] if reached else None


@dataclass(frozen=True)
class Rules:
    """A pack resolved for one context."""

    pack: str
    version: str
    sha256: str  # of the pack's file
    categories: Mapping[Category, Rule]
    events: Mapping[Event, Rule]
    low_confidence: LowConfidence
    coverage: CoverageRules
    compositions: Compositions
    definitions: Mapping[Category, Definition]

    @cached_property
    def least_scores(self) -> dict[str, float]:
        """The score from which each category is found."""
        return {str(category): rule.levels[0].score for category, rule in self.categories.items()}


class PolicyPack(Strict):
    """One pack, as its YAML file has it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,31}$")]
    description: Annotated[str, Field(min_length=1)]
    low_confidence: LowConfidence
    coverage: CoverageRules
    categories: Annotated[CategoryLevels, AfterValidator(_all_categories)]
    events: Annotated[EventLevels, AfterValidator(_all_events)]
    overrides: tuple[Override, ...] = ()
    compositions: tuple[Composition, ...] = ()
    definitions: Annotated[dict[Category, Definition], BeforeValidator(_known_categories)] = Field(default_factory=dict)

    _sha256: str = PrivateAttr("")

    @property
    def sha256(self) -> str:
        """Of the pack's file."""
        return self._sha256

    def for_context(self, context: Context) -> Rules:
        """The rules for this content type and market; a later override wins over an earlier one."""
        categories = {category: Rule(levels) for category, levels in self.categories.items()}
        events = {event: Rule(levels) for event, levels in self.events.items()}
        for override in self.overrides:
            if override.when.matches(context):
                categories |= {key: Rule(levels, override.why) for key, levels in override.categories.items()}
                events |= {key: Rule(levels, override.why) for key, levels in override.events.items()}
        return Rules(
            pack=self.name,
            version=self.version,
            sha256=self._sha256,
            categories=MappingProxyType(categories),
            events=MappingProxyType(events),
            low_confidence=self.low_confidence,
            coverage=self.coverage,
            compositions=Compositions(
                tuple(rule for rule in self.compositions if rule.when is None or rule.when.matches(context)),
                self.low_confidence.highest_action,
            ),
            definitions=MappingProxyType(self.definitions),
        )


def load_pack(path: Path) -> PolicyPack:
    """Read and check one pack.

    Raises:
        PolicyError: the file cannot be read, is not YAML, breaks a rule (every fault is listed, with its key), or is
            not named after its pack.
    """
    try:
        file = YamlFile.read(path)
        pack = file.checked(PolicyPack)
    except YamlFileError as error:
        raise PolicyError(f"policy pack {error}") from None
    if path.stem != pack.name:
        raise PolicyError(f"policy pack {path}: name: {pack.name!r} differs from the file's name; rename one of them")
    pack._sha256 = file.sha256
    return pack


class PackLibrary:
    """Every pack of a directory, by name; read once, when the server starts."""

    def __init__(self, directory: Path) -> None:
        """Load all `*.yaml` in `directory`.

        Raises:
            PolicyError: no such directory, no pack in it, or a pack with a fault.
        """
        if not directory.is_dir():
            raise PolicyError(f"{directory}: no such directory; point policy_dir at the folder with the policy packs")
        misnamed = sorted(path.name for path in directory.glob("*.yml"))
        if misnamed:
            raise PolicyError(f"{directory}: packs end in .yaml; rename {', '.join(misnamed)}")
        self._packs = {path.stem: load_pack(path) for path in sorted(directory.glob("*.yaml"))}
        if not self._packs:
            raise PolicyError(f"{directory}: holds no policy pack; add at least default.yaml")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._packs)

    def __getitem__(self, name: str) -> PolicyPack:
        """The pack called `name`. Raises UnknownPackError, which lists the packs there are."""
        try:
            return self._packs[name]
        except KeyError:
            raise UnknownPackError(f"no policy pack {name!r}; available: {', '.join(self.names)}") from None


def main(arguments: list[str]) -> int:
    """`python -m aircheck.policy.packs DIRECTORY`: check every pack of a directory before a server reads it."""
    if len(arguments) != 1:
        print("usage: python -m aircheck.policy.packs DIRECTORY", file=sys.stderr)
        return 2
    try:
        library = PackLibrary(Path(arguments[0]))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    for name in library.names:
        pack = library[name]
        print(f"{name} v{pack.version}: {pack.description}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
