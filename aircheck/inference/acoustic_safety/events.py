"""The names that acoustic classifiers speak: safety events, then context. Their order is that of `ACOUSTIC_SCORES`."""

from __future__ import annotations

SAFETY_EVENTS = ("gunshot", "explosion", "scream", "siren", "glass_breaking")
CONTEXT_EVENTS = ("speech", "music", "silence")
EVENTS = SAFETY_EVENTS + CONTEXT_EVENTS
