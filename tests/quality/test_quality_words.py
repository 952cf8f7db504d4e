"""Words as they are compared."""

from benchmarks.quality.words import normalised


def test_case_punctuation_spelling_and_numbers_are_no_errors():
    assert normalised("Mr. Gray won't pay $20!") == normalised("mister grey will not pay twenty dollars")
