"""Swear words: which count, in which disguise, and which only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aircheck.inference.text_safety.errors import ProfanityListError
from aircheck.inference.text_safety.profanity import Profanity
from aircheck.settings import ROOT

SHIPPED = ROOT / "server_config" / "profanity"


@pytest.fixture(scope="module")
def lists() -> Profanity:
    return Profanity(SHIPPED)


def severity(lists: Profanity, text: str, language: str = "en") -> int:
    found = lists.find(text, language)
    return found.severity if found else 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("well damn, that hurt", 1),
        ("what the hell", 1),
        ("that is bullshit", 2),
        ("stop bitching about it", 2),
        ("Shit! I forgot", 2),
        ("what the fuck", 3),
        ("FUCKING great", 3),
        ("for fuck’s sake", 3),
        ("you mother-fucking liar", 3),
        ("damn this shit, fuck it", 3),  # the strongest counts
    ],
)
def test_a_swear_word_has_the_severity_of_its_list(lists: Profanity, text: str, expected: int) -> None:
    assert severity(lists, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("What the f***", "F***ing hell", "you f--k", "f---, man", "sh*t", "bullsh*t", "motherf***er", "f*k you"),
        *("b****", "sh!t!", "a$$hole", "sh1t", "4sshole", "sh#t", "sh-t happens"),
        *("s h i t", "F.U.C.K.", "f-u-c-k", "fuuuck", "shiiiiit"),
        *("the f word", "the F-word", "he dropped an F-bomb", "effing thing"),
    ],
)
def test_a_masked_spelt_or_stretched_word_is_found(lists: Profanity, text: str) -> None:
    assert severity(lists, text) >= 2


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Scunthorpe, Penistone and Essex",
            "a cocktail in the cockpit",
            "assess the class",
            "a shiitake pie",
            "Matsushita",
        ),
        *("Dick Cheney", "Tom, Dick and Harry", "Moby Dick", "Mr. Cocks", "a pussycat", "tit for tat", "blue tits"),
        *("he'll do", "summa cum laude", "a garden hoe", "the basement", "an analysis", "the grass"),
        *(
            "e-mail",
            "an X-ray on the 5th",
            "a b c d e",
            "the C.I.A. and the F.B.I.",
            "be-- careful",
            "see note*",
            "a-- what",
        ),
        *("", "***", "2 * 3", "$100", "@home", "---"),
    ],
)
def test_benign_text_holds_no_swear_word(lists: Profanity, text: str) -> None:
    assert severity(lists, text) == 0


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "So eine Scheißidee", 2),
        ("de", "das ist SCHEISSE", 2),
        ("de", "Dick und Doof", 0),
        ("es", "eres un hijo de puta", 3),
        ("es", "la santa hostia", 0),
        ("fr", "espèce d'enculé", 3),
        ("fr", "au fond du cul-de-sac", 0),
        ("it", "ma vaffanculo", 3),
        ("it", "che ca**o dici", 2),
        ("it", "la guerra di Troia", 0),
        ("nl", "wat een klootzak", 2),
        ("nl", "hij is dick", 0),
        ("pl", "o k***a mać", 3),
        ("pl", "kurtka i zupa", 0),
        ("pt", "vai tomar no cu", 3),
        ("pt", "fiz uma put* de uma festa", 0),  # with the mark of a footnote
        ("ru", "иди нахуй", 3),
        ("ru", "страхуй машину, ребята", 0),
        ("xx", "fuck", 0),  # no list
    ],
)
def test_each_language_has_its_own_list(lists: Profanity, language: str, text: str, expected: int) -> None:
    assert severity(lists, text, language) == expected


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("what the fuck", "f***"),
        ("s h i t", "s***"),
        ("a f***ing mess", "f******"),
        ("a son of a bitch", "s** o* a b****"),
    ],
)
def test_a_word_is_named_masked(lists: Profanity, text: str, masked: str) -> None:
    found = lists.find(text, "en")
    assert found is not None
    assert found.masked == masked


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("strong: [frell]\nmoderate: [frell]\nmild: []", "'frell' stands under two severities"),
        ("strong: [frell(s]\nmoderate: []\nmild: []", r"'frell\(s': write endings as"),
        ("strong: [no]\nmoderate: []\nmild: []", "strong.0.*quote"),
        ("strong: []\nmoderate: []\nmild: []\nworse: []", "worse"),
        ("strong: [big frell*]\nmoderate: []\nmild: []", "single word"),
        ("strong: [", "xx.yaml"),
    ],
)
def test_a_faulty_list_is_refused_by_file_and_entry(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "xx.yaml").write_text(text)
    with pytest.raises(ProfanityListError, match=named):
        Profanity(tmp_path)


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfanityListError, match="holds no word list"):
        Profanity(tmp_path)


def test_the_version_follows_the_lists(tmp_path: Path) -> None:
    path = tmp_path / "xx.yaml"
    path.write_text("strong: [frell]\nmoderate: []\nmild: []")
    before = Profanity(tmp_path).model.version
    path.write_text("strong: [frell, frak]\nmoderate: []\nmild: []")
    assert Profanity(tmp_path).model.version != before
