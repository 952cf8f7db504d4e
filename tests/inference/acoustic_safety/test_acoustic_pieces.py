"""Windows as pieces of one length, and back."""

from __future__ import annotations

import numpy as np
import pytest

from aircheck.inference.acoustic_safety.pieces import (
    FRAME_S,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    PIECE_FRAMES,
    PIECE_SAMPLES,
    SAMPLE_RATE,
    cut,
    frames_in,
    join,
    pieces_in,
)

DURATIONS_S = (0.01, 0.32, 1.0, 5.12, 5.13, 9.6, 9.61, 17.0, 30.0)


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_joined_frames_are_those_of_the_window(duration_s: float) -> None:
    """Frames that say where they lie come back in order, each from one piece."""
    ramp = np.zeros(30 * SAMPLE_RATE, np.float32)
    end = round(duration_s * SAMPLE_RATE)
    ramp[:end] = 1 + np.arange(end)
    pieces = cut(ramp, duration_s)
    assert pieces.shape == (pieces_in(duration_s), PIECE_SAMPLES)
    firsts = pieces[:, ::FRAME_SAMPLES, None]  # each frame's first sample
    joined = join(list(firsts), duration_s)[:, 0]
    assert joined.tolist() == (1 + np.arange(frames_in(duration_s)) * FRAME_SAMPLES).tolist()


def test_a_frame_is_taken_from_the_piece_in_which_it_is_further_inside() -> None:
    which = [np.full((PIECE_FRAMES, 1), n) for n in range(3)]
    duration_s = (2 * HOP_SAMPLES + PIECE_SAMPLES) / SAMPLE_RATE
    joined = join(which, duration_s)[:, 0].tolist()
    assert joined == [0] * 15 + [1] * 14 + [2] * 15


def test_what_follows_the_duration_is_silence() -> None:
    pieces = cut(np.ones(30 * SAMPLE_RATE, np.float32), 6.0)
    assert pieces.sum() == 6 * SAMPLE_RATE + (PIECE_SAMPLES - HOP_SAMPLES)  # the overlap is in two pieces


def test_scores_come_at_least_twice_a_second_and_short_audio_is_one_piece() -> None:
    assert FRAME_S <= 0.5
    assert [pieces_in(duration_s) for duration_s in (0.0, 0.2, 5.12, 30.0)] == [0, 1, 1, 7]
