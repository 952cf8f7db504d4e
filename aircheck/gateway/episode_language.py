"""Which language each window of an episode is transcribed in, decided from what was detected in its windows, in order.

Whisper detects a language from 30 s of audio at most, and guesses where it holds little speech. So no window decides
alone: the first windows with words establish the language, weighted by their speech, and it changes only when windows
in a row are surely in another one. A single window that is full of another language is transcribed in that one, without
changing the episode's. What comes out depends on the detections alone and never on their timing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from aircheck_client.schema import Verdict

ENOUGH_EVIDENCE_S = 6.0  # seconds of speech times probability that establish a language
CLEAR_MAJORITY = 0.6  # of the evidence for all languages
SURE = 0.8  # probability from which a detection speaks against the established language
CHANGE_WINDOWS = 2  # windows with words in a row, and
CHANGE_SPEECH_S = 20.0  # seconds of speech in them, that change it
ALONE_PROBABILITY, ALONE_SPEECH_S = 0.9, 10.0  # a window with both is in its own language, whatever is around it
MAX_HELD = 8  # windows that wait for a decision: bounds memory, and how late a verdict comes


@dataclass(frozen=True)
class Detection:
    """What is known of the language of one window.

    language : the likeliest one, whatever the window was transcribed in; empty where none was detected
    has_words : only then does the window count
    """

    language: str
    probability: float
    speech_s: float
    has_words: bool

    @classmethod
    def of(cls, verdict: Verdict) -> Detection:
        # a model of one language detects none: it is sure
        language, probability = verdict.detected_language, verdict.detected_probability
        return cls(
            language=language or verdict.language,
            probability=probability if language else 1.0,
            speech_s=verdict.coverage.speech_s,
            has_words=bool(verdict.segments),
        )

    @property
    def evidence_s(self) -> float:
        return self.probability * self.speech_s


class EpisodeLanguage:
    """The state of one episode: windows are added in order, and their languages come out in order.

    The language that a window comes out with is the established one, also where the window came before it was, unless
    it is surely all in another; windows without words come out with the one that they were added under.
    """

    def __init__(self, fixed: str = "") -> None:
        """`fixed`: a language that no detection changes; empty to detect it."""
        self.language = fixed
        """What the next window is transcribed in; empty: in what is detected in it."""
        self._is_fixed = bool(fixed)
        self._held: list[Detection] = []

    def add(self, window: Detection) -> list[str]:
        """The languages of the windows, oldest first, about which this one decides: of none, itself, or earlier ones.

        window : as transcribed in `self.language`
        """
        self._held.append(window)
        if self._is_fixed or not any(item.has_words for item in self._held):
            return self._release(self.language)
        return self._change(window) if self.language else self._establish()

    def finish(self) -> list[str]:
        """The languages of the windows that are left when the episode ends."""
        if self.language:
            return self._settle()
        self.language = self._likeliest()
        return self._release(self.language)

    def _establish(self) -> list[str]:
        votes_s = self._votes_s()
        likeliest = self._likeliest()
        most_s = votes_s.get(likeliest, 0.0)
        is_clear = most_s >= ENOUGH_EVIDENCE_S and most_s >= CLEAR_MAJORITY * sum(votes_s.values())
        if not is_clear and len(self._held) < MAX_HELD:
            return []
        self.language = likeliest
        return self._release(likeliest, wordless="")

    def _change(self, window: Detection) -> list[str]:
        """Held are windows that speak for one other language, the first of them first, and wordless ones between."""
        if not window.has_words:
            return self._settle() if len(self._held) >= MAX_HELD else []
        if not self._opposes(window):
            return self._settle()
        released: list[str] = []
        if self._held[0].language != window.language:  # the run ends here, and another may begin
            self._held.pop()
            released = self._settle()
            self._held = [window]
        run = [item for item in self._held if item.has_words]
        if len(run) >= CHANGE_WINDOWS and sum(item.speech_s for item in run) >= CHANGE_SPEECH_S:
            former, self.language = self.language, window.language
            return released + self._release(self.language, wordless=former)
        if len(self._held) >= MAX_HELD:
            return released + self._settle()
        return released

    def _settle(self) -> list[str]:
        """What is held did not change the language."""
        released = [
            item.language if not self._is_fixed and self._is_other_by_itself(item) else self.language
            for item in self._held
        ]
        self._held = []
        return released

    def _is_other_by_itself(self, item: Detection) -> bool:
        return (
            item.has_words
            and item.language != ""
            and item.probability >= ALONE_PROBABILITY
            and item.speech_s >= ALONE_SPEECH_S
        )

    def _opposes(self, window: Detection) -> bool:
        return window.language not in ("", self.language) and window.probability >= SURE

    def _votes_s(self) -> dict[str, float]:
        votes_s: dict[str, float] = defaultdict(float)
        for item in self._held:
            if item.has_words and item.language:
                votes_s[item.language] += item.evidence_s
        return votes_s

    def _likeliest(self) -> str:
        votes_s = self._votes_s()
        return min(votes_s, key=lambda language: (-votes_s[language], language), default="")

    def _release(self, language: str, wordless: str | None = None) -> list[str]:
        other = language if wordless is None else wordless
        released = [language if item.has_words else other for item in self._held]
        self._held = []
        return released
