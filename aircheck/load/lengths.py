"""How long what is sent is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aircheck.load.errors import LoadError

MIN_S = 0.5
_FORMS = "30 (all alike), uniform:5,30, lognormal:12,0.6 (median and sigma), file:lengths.txt (seconds, one a line)"


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in seconds, cut off at `MIN_S` and `max_s`. `text` is what `parse` takes."""

    text: str
    max_s: float
    quantiles_s: tuple[float, ...]  # inverse of the cumulative distribution, at even steps

    @classmethod
    def parse(cls, text: str, max_s: float) -> Lengths:
        """Raises LoadError."""
        kind, _, rest = text.rpartition(":") if text.startswith("file:") else text.partition(":")
        if text.startswith("file:"):
            return cls(text, max_s, _clipped(_read(Path(text.removeprefix("file:"))), max_s, text))
        at = (np.arange(1000) + 0.5) / 1000
        try:
            numbers = [float(part) for part in (rest or kind).split(",")]
        except ValueError:
            numbers = []
        if not rest and len(numbers) == 1:
            return cls(text, max_s, _clipped(np.array(numbers), max_s, text))
        if len(numbers) != 2:
            raise LoadError(f"lengths {text!r}: is none of {_FORMS}")
        first, second = numbers
        if kind == "uniform" and 0 < first <= second:
            return cls(text, max_s, _clipped(first + (second - first) * at, max_s, text))
        if kind == "lognormal" and first > 0 and second > 0:
            from scipy.stats import norm

            return cls(text, max_s, _clipped(first * np.exp(second * norm.ppf(at)), max_s, text))
        raise LoadError(f"lengths {text!r}: is none of {_FORMS}")

    @property
    def mean_s(self) -> float:
        return float(np.mean(self.quantiles_s))

    def draw_s(self, generator: np.random.Generator) -> float:
        """One length."""
        return float(self.quantiles_s[int(generator.integers(len(self.quantiles_s)))])


def _clipped(lengths_s: np.ndarray, max_s: float, text: str) -> tuple[float, ...]:
    if not len(lengths_s) or not np.all(np.isfinite(lengths_s)) or np.any(lengths_s <= 0):
        raise LoadError(f"lengths {text!r}: wants seconds above 0")
    return tuple(float(length_s) for length_s in np.clip(lengths_s, MIN_S, max_s))


def _read(path: Path) -> np.ndarray:
    try:
        return np.array([float(line) for line in path.read_text().splitlines() if line.strip()])
    except OSError as error:
        raise LoadError(f"lengths file {path}: {error.strerror}") from None
    except ValueError as error:
        raise LoadError(f"lengths file {path}: wants one number of seconds a line ({error})") from None
