"""Composition rules: what is found beside something else weighs more, or less, than by itself.

A scream beside a threat is likelier an attack than a film; a shot in the middle of music belongs to the song. A rule
names the finding that changes and what must be beside it, and gives a floor or a ceiling for severity and action.

Rules apply to a window's evidence, and to an episode's: what lies in one window may be beside what lies in the next.
Ceilings come before floors, whatever the order of the rules. Applying the rules again changes nothing, so an episode
folded from windows that were already composed is as if all its evidence had been composed at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from aircheck.policy.conditions import Strict, When
from aircheck.policy.taxonomy import CONTEXT_EVENTS, Category, Event
from aircheck_client.schema import Action, EventSpan, Evidence, Severity


class Bound(Strict):
    """A floor or a ceiling of severity, of action, or of both."""

    severity: Severity | None = None
    action: Action | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Bound:
        if self.severity is None and self.action is None:
            raise ValueError("names neither severity nor action; give one or both")
        if self.severity is Severity.NONE:
            raise ValueError("severity 'none' is for audio without findings; use 'low'")
        return self


class Composition(Strict):
    """One rule: evidence of `finding` within `within_s` seconds of `beside` is bounded."""

    why: Annotated[str, Field(min_length=1)]  # shown in the reason of every finding that it applies to
    finding: Category | Event
    beside: Category | Event  # a finding too, or speech, music or silence
    within_s: Annotated[float, Field(strict=True, ge=0.0, le=600.0)]  # 0: they overlap
    when: When | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Composition:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either at_least, which raises, or at_most, which lowers")
        if self.finding in CONTEXT_EVENTS:
            raise ValueError(f"{str(self.finding)!r} gives context and never makes a finding; put it under beside")
        if self.finding == self.beside:
            raise ValueError(f"{str(self.finding)!r} stands under finding and beside; name two different things")
        return self

    @property
    def note(self) -> str:
        return f"beside {self.beside}: {self.why}"

    def bound(self, severity: Severity, action: Action, highest_action: Action) -> tuple[Severity, Action]:
        """Severity and action with the floor or ceiling applied; no floor lifts an action beyond `highest_action`."""
        if self.at_most:
            return min(severity, self.at_most.severity or severity), min(action, self.at_most.action or action)
        floor = self.at_least or Bound(action=action)
        return max(severity, floor.severity or severity), max(action, min(floor.action or action, highest_action))


@dataclass(frozen=True)
class Compositions:
    """A pack's composition rules for one context."""

    rules: tuple[Composition, ...] = ()
    highest_action: Action = Action.REVIEW  # of text of low confidence

    @cached_property
    def context_events(self) -> frozenset[str]:
        """The context events that the rules speak of; a verdict carries their spans, for the fold."""
        return frozenset(rule.beside for rule in self.rules) & CONTEXT_EVENTS

    @cached_property
    def _ceilings_first(self) -> list[Composition]:
        return sorted(self.rules, key=lambda rule: rule.at_least is not None)

    def compose(
        self, by_name: Mapping[str, Sequence[Evidence]], context: Iterable[EventSpan]
    ) -> dict[str, list[Evidence]]:
        """The evidence for each category and event, bounded by what lies beside it.

        Args:
            context: where context events were heard.
        """
        places: dict[str, list[tuple[float, float]]] = {
            name: [(item.lead_start_s, item.lead_end_s) for item in evidence] for name, evidence in by_name.items()
        }
        for span in context:
            places.setdefault(span.event, []).append((span.start_s, span.end_s))
        return {name: [self._bounded(name, item, places) for item in evidence] for name, evidence in by_name.items()}

    def _bounded(self, name: str, item: Evidence, places: Mapping[str, Sequence[tuple[float, float]]]) -> Evidence:
        rules = [
            rule
            for rule in self._ceilings_first
            if rule.finding == name and _is_near(item, places.get(rule.beside, ()), rule.within_s)
        ]
        if not rules:
            return item
        severity, action, note = item.severity, item.action, item.note
        highest = self.highest_action if item.low_confidence else Action.BLOCK
        for rule in rules:
            severity, action = rule.bound(severity, action, highest)
            note = note.removesuffix(rule.note).removesuffix("; ")  # said once, and always in this order
            note = note.replace(f"{rule.note}; ", "")
        notes = "; ".join(filter(None, (note, *(rule.note for rule in rules))))
        return item.model_copy(update={"severity": severity, "action": action, "note": notes})


def _is_near(evidence: Evidence, places: Iterable[tuple[float, float]], within_s: float) -> bool:
    return any(
        max(start_s - evidence.lead_end_s, evidence.lead_start_s - end_s) <= within_s for start_s, end_s in places
    )
