"""How windows are decoded, and what was decoded from one."""

from __future__ import annotations

from dataclasses import dataclass

from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES

from aircheck.settings import Settings

# openai-whisper's defaults (whisper/transcribe.py)
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COMPRESSION_RATIO_THRESHOLD = 2.4
LOGPROB_THRESHOLD = -1.0
NO_SPEECH_THRESHOLD = 0.6

# Where speech activity is known, openai-whisper's two tests of silence are asked for less: cries, laughter and alarms
# get texts such as "Thank you." that pass its own. docs/whisper_engine.md has the figures.
DOUBTFUL_NO_SPEECH_PROB = 0.2
DOUBTFUL_LOGPROB = -0.7


class UnsupportedLanguageError(ValueError):
    """The language asked for is not one that the checkpoint can transcribe."""


@dataclass(frozen=True)
class DecodingOptions:
    """How windows are decoded. What is not an option is openai-whisper's default without beams."""

    # ISO 639-1 code of the speech; None detects it in each window (an English-only model has nothing to detect)
    language: str | None = None

    # what to decode at, one after the other, until the text passes openai-whisper's tests; 0 takes the likeliest token
    temperatures: tuple[float, ...] = TEMPERATURES

    # of the noise that tokens are drawn with above temperature 0
    seed: int = 0

    # latest timestamp that a window's text may begin with, in seconds
    max_initial_timestamp_s: float = 1.0

    # most tokens generated in a window; None is half the text context (224), the longest seen in training
    max_tokens: int | None = None

    # decode on where a text ends before the speech does, as `whisper.transcribe` does
    seek: bool = True

    # also find when each word is spoken, at the cost of one more pass of the decoder over each window's text
    word_timestamps: bool = False

    @classmethod
    def of(cls, settings: Settings) -> DecodingOptions:
        """What the server's settings say."""
        return cls(
            language=None if settings.language == "auto" else settings.language,
            temperatures=TEMPERATURES if settings.whisper_fallback else TEMPERATURES[:1],
            seed=settings.whisper_seed,
            word_timestamps=settings.word_timestamps,
        )

    def __post_init__(self) -> None:
        if not self.temperatures or min(self.temperatures) < 0:
            raise ValueError(f"temperatures are {self.temperatures}; give at least one, none below 0")


@dataclass(frozen=True)
class Word:
    """A word, with the white space and punctuation it is written with, and when it is spoken within its window.

    probability : mean probability of its tokens, given the text before them
    n_tokens : text tokens it takes
    """

    text: str
    start_s: float
    end_s: float
    probability: float
    n_tokens: int


@dataclass(frozen=True)
class DecodedWindow:
    """What was decoded from one window, with `whisper.DecodingResult`'s meanings.

    tokens : sampled tokens, text and timestamps, without the prompt and the end of text
    avg_logprob : mean log-probability of the sampled tokens, the end of text included
    no_speech_prob : probability of <|nospeech|> in the first position
    temperature : the one at which these tokens were generated
    detected_language, detected_probability : the likeliest one, whichever was asked for; of an English-only model
        English for certain
    words : where they were asked for
    """

    tokens: tuple[int, ...]
    language: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float = 0.0
    words: tuple[Word, ...] = ()
    detected_language: str = ""
    detected_probability: float = 0.0

    @property
    def is_silent(self) -> bool:
        """Likely no speech, and the text that was decoded all the same is unlikely (whisper/transcribe.py)."""
        return self.no_speech_prob > NO_SPEECH_THRESHOLD and not self.avg_logprob > LOGPROB_THRESHOLD

    @property
    def is_doubtful(self) -> bool:
        """Not to be believed: unlikely at every temperature, or of audio in which the model hardly hears speech."""
        if self.temperature > 0 and self.avg_logprob < LOGPROB_THRESHOLD:
            return True
        return self.no_speech_prob > DOUBTFUL_NO_SPEECH_PROB and self.avg_logprob < DOUBTFUL_LOGPROB


@dataclass(frozen=True)
class DecodedPass:
    """What was decoded from a window from `offset_s` seconds on, to `end_s` or its end; timestamps count from there."""

    offset_s: float
    decoded: DecodedWindow
    end_s: float | None = None


def verified_language(model: Whisper, language: str | None) -> str | None:
    """The language, if the model can transcribe it. Raises UnsupportedLanguageError."""
    if language is None:
        return None
    known = list(LANGUAGES)[: model.num_languages] if model.is_multilingual else ["en"]
    if language not in known:
        kind = "multilingual" if model.is_multilingual else "English-only"
        raise UnsupportedLanguageError(
            f"language {language!r} is not one this {kind} Whisper model transcribes; "
            f"leave it unset or use one of: {', '.join(known)}"
        )
    return language
