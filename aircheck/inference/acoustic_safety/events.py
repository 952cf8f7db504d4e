"""The names that acoustic classifiers speak: safety events, then context. Their order is that of `ACOUSTIC_SCORES`."""

from __future__ import annotations

from aircheck.policy import taxonomy

EVENTS = tuple(event.value for event in taxonomy.Event)
SAFETY_EVENTS = tuple(event for event in EVENTS if event not in taxonomy.CONTEXT_EVENTS)
CONTEXT_EVENTS = tuple(event for event in EVENTS if event in taxonomy.CONTEXT_EVENTS)
