"""The language of an episode's windows, from what was detected in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aircheck.gateway.episode_language import MAX_HELD, Detection, EpisodeLanguage


def spoken(language: str, probability: float = 0.95, speech_s: float = 25.0) -> Detection:
    return Detection(language, probability, speech_s, has_words=True)


WORDLESS = Detection("cy", 0.9, 4.0, has_words=False)


def languages(*windows: Detection, fixed: str = "") -> list[str]:
    """What each window comes out with."""
    state = EpisodeLanguage(fixed)
    released = [language for window in windows for language in state.add(window)]
    return released + state.finish()


class TestAtFirst:
    def test_a_window_full_of_speech_is_enough(self) -> None:
        state = EpisodeLanguage()
        assert state.add(spoken("en")) == ["en"]
        assert state.language == "en"

    def test_a_short_guess_does_not_set_the_language(self) -> None:
        assert languages(spoken("la", 0.4, 3.0), spoken("en"), spoken("en")) == ["en", "en", "en"]

    def test_a_window_without_words_is_no_evidence(self) -> None:
        state = EpisodeLanguage()
        assert state.add(WORDLESS) == [""]
        assert state.language == ""
        assert state.add(spoken("en")) == ["en"]

    def test_the_end_of_a_short_episode_decides_by_what_there_is(self) -> None:
        assert languages(spoken("la", 0.4, 3.0), spoken("en", 0.7, 3.0)) == ["en", "en"]

    def test_a_tie_is_broken_in_bounded_time(self) -> None:
        state = EpisodeLanguage()
        mixed = [spoken(language) for language in ("de", "fr", "es", "it", "nl", "pl", "sv", "da")]
        released = [language for window in [spoken("de", 0.5, 4.0), *mixed] for language in state.add(window)]
        assert len(released) >= MAX_HELD

    def test_a_model_of_one_language_is_sure(self) -> None:
        assert languages(spoken("en", 1.0)) == ["en"]


class TestLater:
    def test_one_window_in_another_language_does_not_change_that_of_the_episode(self) -> None:
        assert languages(spoken("en"), spoken("es", 0.85), spoken("en")) == ["en", "en", "en"]
        assert languages(spoken("en"), spoken("es", speech_s=5), spoken("en")) == ["en", "en", "en"]

    def test_one_window_full_of_another_language_is_transcribed_in_it(self) -> None:
        assert languages(spoken("en"), spoken("es", 0.99), spoken("en", 0.6), spoken("en")) == ["en", "es", "en", "en"]
        assert languages(spoken("en"), spoken("es", 0.99)) == ["en", "es"]

    def test_two_in_a_row_do_and_both_are_in_it(self) -> None:
        assert languages(spoken("en"), spoken("es"), spoken("es"), spoken("es")) == ["en", "es", "es", "es"]

    def test_unless_they_hold_little_speech_or_are_unsure(self) -> None:
        assert languages(spoken("en"), spoken("es", speech_s=5), spoken("es", speech_s=5)) == ["en"] * 3
        assert languages(spoken("en"), spoken("es", 0.7), spoken("es", 0.7)) == ["en"] * 3

    def test_windows_without_words_between_them_do_not_count(self) -> None:
        assert languages(spoken("en"), spoken("es"), WORDLESS, spoken("es")) == ["en", "es", "en", "es"]

    def test_a_third_language_begins_a_run_of_its_own(self) -> None:
        found = languages(spoken("en"), spoken("es"), spoken("fr"), spoken("fr"), spoken("fr"))
        assert found == ["en", "es", "fr", "fr", "fr"]

    def test_it_may_change_back(self) -> None:
        assert languages(*[spoken(x) for x in ("en", "es", "es", "en", "en")]) == ["en", "es", "es", "en", "en"]


def test_a_fixed_language_is_never_changed() -> None:
    assert languages(spoken("es"), spoken("es"), WORDLESS, fixed="en") == ["en", "en", "en"]


@given(
    st.lists(
        st.builds(
            Detection,
            st.sampled_from(["", "en", "es", "cy"]),
            st.sampled_from([0.0, 0.4, 0.8, 0.99]),
            st.sampled_from([0.0, 3.0, 12.0, 29.0]),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_every_window_gets_a_language_once_and_few_wait(windows: list[Detection]) -> None:
    state = EpisodeLanguage()
    released = 0
    for count, window in enumerate(windows, start=1):
        released += len(state.add(window))
        assert count - released < MAX_HELD
    assert released + len(state.finish()) == len(windows)
