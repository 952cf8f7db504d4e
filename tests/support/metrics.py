"""What a running server's /metrics says."""

from __future__ import annotations

import urllib.request

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One reading of /metrics."""

    def __init__(self, url: str):
        with urllib.request.urlopen(url, timeout=30) as answer:
            self.families: list[Metric] = list(text_string_to_metric_families(answer.read().decode()))

    @property
    def names(self) -> set[str]:
        """Of the samples, without those that tell when a counter was made."""
        samples = {sample.name for family in self.families for sample in family.samples}
        return {name for name in samples if not name.endswith("_created")}

    def total(self, name: str, **labels: str) -> float:
        """The sum of a sample's values over all labels that are not given."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
