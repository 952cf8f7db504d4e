"""Where a pass over a window ends, and whether another one follows."""

from __future__ import annotations

import pytest

from aircheck.inference.whisper.decoding.seek import Progress, first_offset_s, next_offset_s, progress

BEGIN = 1000  # the first timestamp token
TEXT = range(10, 50)  # as many tokens as ten seconds of speech give


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def after(*tokens: int, offset_s: float = 0.0, speech=((0.0, 30.0),), is_cut_off: bool = False) -> Progress:
    return progress(tokens, BEGIN, offset_s, 30.0, speech, is_cut_off=is_cut_off)


def test_speech_after_the_last_pair_is_decoded_on_from_there() -> None:
    assert after(at(0), *TEXT, at(11), at(11)) == Progress((at(0), *TEXT, at(11)), pytest.approx(11.0))


def test_a_text_without_its_end_is_decoded_again_with_what_follows() -> None:
    assert after(at(0), *TEXT, at(11), at(11), 2, 3) == Progress((at(0), *TEXT, at(11)), pytest.approx(11.0))


def test_nothing_is_dropped_from_the_last_pass() -> None:
    tokens = (at(0), *TEXT, at(11), at(11), 2, 3)
    assert after(*tokens, speech=[(0.0, 11.2)]) == Progress(tokens, None)


def test_a_pause_is_skipped() -> None:
    assert after(at(0), *TEXT, at(11), at(11), speech=[(0.0, 11.0), (20.0, 24.0)]).resume_s == pytest.approx(19.8)


def test_a_closed_text_is_decoded_on_only_for_speech_that_a_late_end_cannot_explain() -> None:
    closed = (at(0), *TEXT, at(11))
    assert after(*closed, speech=[(0.0, 11.8)]).resume_s is None
    assert after(*closed, speech=[(0.0, 11.0), (14.0, 16.0)]).resume_s == pytest.approx(13.8)


def test_a_single_text_to_the_end_covers_the_window() -> None:
    assert after(at(0), *TEXT, 2).resume_s is None


def test_times_of_a_later_pass_count_from_its_start() -> None:
    assert after(at(0), *TEXT, at(5), at(5), offset_s=11.0).resume_s == pytest.approx(16.0)
    assert after(at(0), *TEXT, at(18.5), at(18.5), offset_s=11.0, speech=[(0.0, 29.6)]).resume_s is None


def test_a_text_cut_off_by_the_token_limit_goes_on_after_its_last_pair() -> None:
    assert after(at(0), *TEXT, at(9), at(9), 2, 3, is_cut_off=True).resume_s == pytest.approx(9.0)


def test_a_text_cut_off_before_any_end_is_decoded_again_up_to_a_pause() -> None:
    cut_off = (at(0), *TEXT, 2)
    assert after(*cut_off, is_cut_off=True) == Progress((), 0.0, pytest.approx(15.0))
    speech = [(0.0, 6.0), (7.0, 17.0), (18.0, 29.0)]
    assert after(*cut_off, speech=speech, is_cut_off=True).until_s == pytest.approx(17.5)
    assert after(*cut_off, offset_s=28.5, is_cut_off=True) == Progress(cut_off, None)  # nobody speaks so much in 1.5 s


def test_what_follows_the_end_of_a_pass_is_decoded_if_enough_is_spoken() -> None:
    assert next_offset_s([(0.0, 9.0), (12.0, 14.0)], 9.0, 30.0) == pytest.approx(11.8)
    assert next_offset_s([(0.0, 9.3)], 9.0, 30.0) is None
    assert next_offset_s(None, 9.0, 30.0) == pytest.approx(9.0)


def test_speech_that_is_not_known_is_taken_as_everywhere() -> None:
    assert after(at(0), *TEXT, at(11), at(11), speech=None).resume_s == pytest.approx(11.0)


@pytest.mark.parametrize(
    ("speech", "offset_s"),
    [(None, 0.0), ([], 0.0), ([(0.9, 3.0)], 0.0), ([(12.5, 14.0)], 12.3), ([(0.1, 0.5), (20.0, 21.0)], 0.0)],
)
def test_a_window_is_decoded_from_its_first_speech(speech, offset_s: float) -> None:
    assert first_offset_s(speech) == pytest.approx(offset_s)


def test_speech_that_a_text_skips_is_decoded_on_from_the_pause_after_its_words() -> None:
    speech = [(0.2, 1.4), (1.8, 12.0), (12.4, 24.5)]
    assert after(at(0), 1, 2, 3, at(24.88), speech=speech) == Progress((at(0), 1, 2, 3, at(1.4)), pytest.approx(1.4))


def test_without_a_pause_it_is_decoded_on_from_where_slow_words_end() -> None:
    done = after(at(0), *range(1, 7), at(24.88), speech=[(0.2, 24.5)])
    assert done == Progress((at(0), *range(1, 7), at(3.2)), pytest.approx(3.2))


def test_of_several_pauses_the_words_end_in_the_likeliest() -> None:
    speech = [(0.0, 2.9), (3.2, 4.1), (4.4, 6.0), (6.3, 20.0)]
    assert after(at(0), *range(14), at(20), speech=speech).resume_s == pytest.approx(4.1)


def test_texts_before_the_skipped_speech_are_kept() -> None:
    before = (at(0), *range(1, 30), at(9), at(9))
    done = after(*before, 2, 3, at(29), speech=[(0.0, 9.0), (9.5, 10.5), (11.0, 29.0)])
    assert done == Progress((*before, 2, 3, at(10.5)), pytest.approx(10.5))


def test_few_words_in_little_speech_are_believed() -> None:
    assert after(at(0), 1, 2, at(24.0), speech=[(0.0, 2.0), (22.0, 24.0)]).resume_s is None
