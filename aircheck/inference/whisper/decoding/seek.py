"""Where in a window to decode on: after a pass whose text ends before the speech does, as `whisper.transcribe` seeks.

openai-whisper moves its 30 s along a file, to the last pair of timestamps that it generated. Here windows are cut
before they are decoded, so what moves is the beginning: the next pass hears the same window from there on. Passes go
on until the text covers the speech, or nothing more comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whisper.audio import HOP_LENGTH, SAMPLE_RATE

TIME_PRECISION_S = 2 * HOP_LENGTH / SAMPLE_RATE  # 0.02 s a timestamp token: the encoder halves the mel's frame rate
MAX_PASSES = 8
"""Over one window. An encoder pass is most of the work, and no honest 30 s of speech needs as many."""

Speech = Sequence[tuple[float, float]]
"""Start and end, in seconds from the window's start, of each stretch in which somebody speaks; in order."""

_LEAD_IN_S = 0.2  # of audio before the speech that a pass begins with
_LATEST_START_S = 1.0  # of speech within a pass: the latest that a text may begin (`max_initial_timestamp`)
_MIN_SPEECH_S = 0.4  # left to decode, where the model itself says that another segment follows
_MIN_SPEECH_AFTER_END_S = 1.0  # where it says that none does: its last timestamp may be early by some tenths
_MIN_PROGRESS_S = 0.1
_MIN_HALVED_S = 2.0  # of audio, whose text is cut off: nobody speaks as much in less
_MIN_TOKENS_PER_S = 1.7  # of speech: of people's texts 1 % have fewer than 2, and this few have skipped over some of it
_MIN_SPARSE_S = 5.0  # of speech under one text, before that is believed
_SLOW_TOKENS_PER_S, _USUAL_TOKENS_PER_S, _FAST_TOKENS_PER_S = 2.0, 3.2, 5.0  # where such a text's end is looked for


@dataclass(frozen=True)
class Progress:
    """What a pass has covered.

    tokens : those to keep; a text whose end was not reached is decoded again with what follows
    resume_s : where in the window the next pass begins; None where nothing is left to decode
    until_s : where that pass ends, if not where this one did
    """

    tokens: tuple[int, ...]
    resume_s: float | None
    until_s: float | None = None


def first_offset_s(speech: Speech | None) -> float:
    """Where in the window to begin: a little before the first speech, if that comes late.

    Whisper believes that a text begins within its first second, and writes words into a longer silence.
    """
    if not speech or speech[0][0] <= _LATEST_START_S:
        return 0.0
    return _on_grid(speech[0][0] - _LEAD_IN_S)


def next_offset_s(speech: Speech | None, time_s: float, end_s: float) -> float | None:
    """Where to decode on from `time_s`, if enough is spoken between there and `end_s`."""
    left = _after(speech if speech is not None else [(0.0, end_s)], time_s, end_s)
    return _on_grid(max(time_s, left[0][0] - _LEAD_IN_S)) if _length_s(left) >= _MIN_SPEECH_S else None


def progress(
    tokens: Sequence[int],
    timestamp_begin: int,
    offset_s: float,
    duration_s: float,
    speech: Speech | None,
    *,
    is_cut_off: bool,
) -> Progress:
    """What a pass has covered, from `offset_s` to `duration_s`, the end of its window or the end it was given.

    tokens : of text and timestamps, without prompt and end of text
    speech : None where it is not known, which is taken as: all of it
    is_cut_off : the token limit ended the text, not the model
    """
    spans = speech if speech is not None else [(0.0, duration_s)]
    if speech is not None and (sparse := _until_skipped(tokens, timestamp_begin, offset_s, spans)) is not None:
        return sparse
    is_timestamp = [token >= timestamp_begin for token in tokens]
    pairs = [at for at, (this, following) in enumerate(pairwise(is_timestamp), 1) if this and following]
    ends_closed = is_timestamp[-2:] == [False, True]
    kept = tuple(tokens)
    if pairs and not ends_closed:
        kept = kept[: pairs[-1]]
    stamps = [token - timestamp_begin for token in kept if token >= timestamp_begin]
    if stamps and stamps[-1] > 0:
        end_s = offset_s + stamps[-1] * TIME_PRECISION_S
    elif is_cut_off and duration_s - offset_s >= _MIN_HALVED_S:  # nobody knows to where: decode half as much again
        return Progress((), offset_s, _on_grid(_pause_near((offset_s + duration_s) / 2, offset_s, duration_s, spans)))
    else:
        end_s = duration_s  # one text to the end
    left = _after(spans, end_s, duration_s)
    is_over = not pairs or ends_closed
    wanted_s = _MIN_SPEECH_AFTER_END_S if is_over and not is_cut_off else _MIN_SPEECH_S
    if _length_s(left) < wanted_s or end_s < offset_s + _MIN_PROGRESS_S:
        return Progress(tuple(tokens), None)
    return Progress(kept, _on_grid(max(end_s, left[0][0] - _LEAD_IN_S)))


def _until_skipped(tokens: Sequence[int], timestamp_begin: int, offset_s: float, speech: Speech) -> Progress | None:
    """Up to the first text that has far too few tokens for the speech between its timestamps; None where none has.

    Whisper sometimes writes the first words of half a minute and gives their end as the end of it all. Their real end
    is looked for in the pause where they would usually end, and the next pass begins there.
    """
    stamps = [at for at, token in enumerate(tokens) if token >= timestamp_begin]
    for first, last in pairwise(stamps):
        n_tokens = last - first - 1
        start_s, end_s = (offset_s + (tokens[at] - timestamp_begin) * TIME_PRECISION_S for at in (first, last))
        spoken = _after(speech, start_s, end_s)
        if n_tokens < 1 or _length_s(spoken) < max(_MIN_SPARSE_S, n_tokens / _MIN_TOKENS_PER_S):
            continue
        begin_s = spoken[0][0]
        latest_s = begin_s + max(n_tokens / _SLOW_TOKENS_PER_S, _LATEST_START_S)
        pauses = [end for _, end in spoken if begin_s + n_tokens / _FAST_TOKENS_PER_S <= end <= latest_s]
        usual_s = begin_s + n_tokens / _USUAL_TOKENS_PER_S
        resume_s = _on_grid(min(pauses, key=lambda end: abs(end - usual_s), default=latest_s))
        end = timestamp_begin + round((resume_s - offset_s) / TIME_PRECISION_S)
        return Progress((*tokens[:last], end), resume_s)
    return None


def _pause_near(time_s: float, offset_s: float, end_s: float, speech: Speech) -> float:
    """The middle of the pause nearest to a time, within the middle half of a pass; the time itself where none is."""
    gaps = [(end, start) for (_, end), (start, _) in pairwise(_after(speech, offset_s, end_s))]
    quarter_s = (end_s - offset_s) / 4
    middles = [(start + end) / 2 for start, end in gaps]
    return min((at for at in middles if abs(at - time_s) < quarter_s), key=lambda at: abs(at - time_s), default=time_s)


def _length_s(spans: Speech) -> float:
    return sum(end - start for start, end in spans)


def _after(speech: Speech, time_s: float, duration_s: float) -> list[tuple[float, float]]:
    """The speech after a time and within the window."""
    return [(max(start, time_s), min(end, duration_s)) for start, end in speech if min(end, duration_s) > time_s]


def _on_grid(time_s: float) -> float:
    """Rounded down to a timestamp, which is also a whole number of frames of the log-mel."""
    return int(time_s / TIME_PRECISION_S + 1e-6) * TIME_PRECISION_S
