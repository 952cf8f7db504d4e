"""Where a window ends: at a pause in speech, as late as can be, since a window costs Whisper 30 s whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from preprocessing.speech_activity import (
    CHUNK,
    SAMPLE_RATE_HZ,
    Span,
    SpanOptions,
    at_speech_level,
    speech_activity,
    speech_spans,
)

# the network hangs on: a pause of 0.2 s between two words is a gap of 0.1 s in its speech, one of 0.3 s a gap of 0.2 s
_PAUSES = SpanOptions(min_silence_s=0.1, padding_s=0.0)
_DIPS = SpanOptions(start_probability=0.5, end_probability=0.5, min_silence_s=0.0, min_speech_s=0.0, padding_s=0.0)
_STEP = SAMPLE_RATE_HZ // 100  # resolution of the search for a quiet point: 10 ms
_STRETCH = SAMPLE_RATE_HZ // 10  # a cut falls on the centre of the quietest stretch of this length: 0.1 s
_MIN_ROOM = 2 * CHUNK  # a pause must lie within the range of a cut for this long: 64 ms
_MARGIN = 3 * SAMPLE_RATE_HZ // 10  # kept behind the last word where nobody speaks after it: 0.3 s
_PAUSE_END = 3 * SAMPLE_RATE_HZ // 10  # only the last 0.3 s of a pause are searched: the rest of it fills the window
_FILL_FOR_PAUSE = 2  # a pause that is 1 s longer is worth a window 2 s shorter: sentences end in the longer ones
_MAX_WORTH = SAMPLE_RATE_HZ  # but no pause is worth more than one of 1 s

_LIVE_SHORTEST = 3 * SAMPLE_RATE_HZ // 2  # a window of 1.5 s, for each costs Whisper 30 s
_LIVE_PAUSE = 2 * SAMPLE_RATE_HZ // 5  # 0.4 s: longer than between two words
LIVE_LEAD = 6 * SAMPLE_RATE_HZ
LIVE_TAIL = 2 * SAMPLE_RATE_HZ // 5  # 0.4 s
"""Samples before and after a live window that the models hear with it: words at its ends are whole, and those that it
begins with are heard in their context, which costs little, as Whisper encodes 30 s in any case (benchmarks.live_cuts).
"""

Range = tuple[int, int]  # samples [first, end)


def lookahead(longest: int) -> int:
    """Samples beyond a full window of `longest` that `window_end` examines. No window but a last one is shorter."""
    return longest // 3


def window_end(samples: np.ndarray, longest: int) -> int:
    """The length, in samples, of the window that begins with `samples`: fp32 [more than longest], 16 kHz mono.

    `samples` goes on for `lookahead(longest)` beyond a full window, or ends sooner with the recording.

    - A window ends in a pause, as late as it can; where there is none, in the longest dip or where it is quietest.
    - A long stretch without speech before the first word is a window of its own: it costs no Whisper, and leaves the
      next window full of speech.
    - The end of a recording is not left over as a scrap: two windows share it, unless nobody speaks in the second.
    """
    shortest, size = lookahead(longest), len(samples)
    if samples.any():
        probabilities = speech_activity().probabilities(at_speech_level(samples))
    else:  # as a gap between timestamps is, of any length, from a file of any size
        probabilities = np.zeros(-(-size // CHUNK), np.float32)
    pauses, dips = (
        _gaps(speech_spans(probabilities, size / SAMPLE_RATE_HZ, options), size) for options in (_PAUSES, _DIPS)
    )
    first_word, last_word = pauses[0][1], pauses[-1][0]
    if shortest <= first_word < longest:
        return _quietest(samples, (max(shortest, first_word - _PAUSE_END), first_word))
    if size >= longest + shortest:
        within, aim = (longest // 2, longest), longest
    elif last_word < longest:  # one window holds all the speech that is left
        first = min(max(last_word + _MARGIN, size - longest, longest // 2), longest)
        return _quietest(samples, (first, max(first, min(size - shortest, longest))))
    else:
        within, aim = (max(shortest, size - longest), min(longest, size - shortest)), size // 2
    return _in_pause(samples, pauses, dips, within, aim)


def live_end(samples: np.ndarray, longest: int) -> int | None:
    """The length of the window that begins with `samples`, fp32 [any], 16 kHz mono, while more is to come.

    None: it goes on. A window ends as soon as somebody who spoke has paused, or after `longest` samples, in the longest
    pause or dip of its second half that has LIVE_TAIL behind it; so what is said is known soon.
    """
    size = len(samples)
    if size < _LIVE_SHORTEST:
        return None
    probabilities = speech_activity().probabilities(at_speech_level(samples))
    pauses, dips = (
        _gaps(speech_spans(probabilities, size / SAMPLE_RATE_HZ, options), size) for options in (_PAUSES, _DIPS)
    )
    last_word = pauses[-1][0]
    if len(pauses) > 1 and size - last_word >= _LIVE_PAUSE:
        return _quietest(samples, (last_word, size))
    if size < longest:
        return None
    return _in_pause(samples, pauses, dips, (size // 2, size - LIVE_TAIL), size)


def _in_pause(samples: np.ndarray, pauses: Sequence[Range], dips: Sequence[Range], within: Range, aim: int) -> int:
    """A point within the range: in a pause, near `aim` if possible; else in a dip, else where it is quietest."""
    if found := [pause for pause in pauses if _room(pause, within) >= _MIN_ROOM]:
        first, end = max(found, key=lambda pause: _worth(pause) - abs(aim - min(pause[1], within[1])))
        first = max(first, min(end, within[1]) - _PAUSE_END)
    elif found := [dip for dip in dips if _room(dip, within) > 0]:
        first, end = max(found, key=lambda dip: (_room(dip, within), dip[1]))
    else:
        first, end = within
    return _quietest(samples, (max(first, within[0]), min(end, within[1])))


def _gaps(speech: Sequence[Span], size: int) -> list[Range]:
    """What is no speech, in order: before the first span, between them, and after the last one; it may be empty."""
    ends = [0, *(round(time_s * SAMPLE_RATE_HZ) for span in speech for time_s in (span.start_s, span.end_s)), size]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _room(gap: Range, within: Range) -> int:
    return min(gap[1], within[1]) - max(gap[0], within[0])


def _worth(pause: Range) -> int:
    return _FILL_FOR_PAUSE * min(pause[1] - pause[0], _MAX_WORTH)


def _quietest(samples: np.ndarray, within: Range) -> int:
    """The centre of the quietest stretch within the range; of equal ones (digital silence) the last."""
    first, end = within
    steps = (end - first) // _STEP
    stretch = min(_STRETCH // _STEP, steps)
    if stretch == 0:
        return (first + end) // 2
    searched = samples[first : first + steps * _STEP]
    energy = np.square(searched - searched.mean()).reshape(steps, _STEP).mean(1, dtype=np.float64)
    running = np.convolve(energy, np.ones(stretch), "valid")
    return first + (len(running) - 1 - int(np.argmin(running[::-1]))) * _STEP + stretch * _STEP // 2
