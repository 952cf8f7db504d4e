"""What the models answer on one window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aircheck_client.schema import Verdict


@dataclass(frozen=True)
class Answer:
    """The verdict on a window, and its highest score of each category and sound event, whatever the levels.

    findings_json : what the verdict was made of, a schema.WindowFindings; not parsed, for few callers ask for it
    """

    verdict: Verdict
    categories: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, float] = field(default_factory=dict)
    findings_json: bytes = b""

    def with_verdict(self, verdict: Verdict) -> Answer:
        """The same scores with the verdict in other terms, such as another time."""
        return replace(self, verdict=verdict)
