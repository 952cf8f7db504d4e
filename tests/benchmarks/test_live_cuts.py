"""What counts as an error beside a cut."""

import pytest

from benchmarks.live_cuts import Errors, errors

SAID = "red green blue white black brown"


@pytest.mark.parametrize(
    ("windows", "found"),
    [
        (["red green blue", "white black brown"], Errors(6, 1)),
        (["red green blow", "white black brown"], Errors(6, 1, substitutions=1, beside_cuts=1)),
        (["red green", "white black brown"], Errors(6, 1, deletions=1, beside_cuts=1)),
        (["red green blue", "blue white black brown"], Errors(6, 1, insertions=1, beside_cuts=1)),
        (["red grin blue", "white black brawn"], Errors(6, 1, substitutions=2)),
        (["", SAID, ""], Errors(6, 0)),
    ],
)
def test_errors_are_told_by_whether_they_are_beside_a_cut(windows, found):
    assert errors(SAID, windows, "en") == found
