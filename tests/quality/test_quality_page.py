"""The page needs nothing from outside and gives nothing from outside a voice; the Markdown likewise."""

import re
from html.parser import HTMLParser

import pytest
from quality_results import RULES, conditions, result

from benchmarks.quality.build import build
from benchmarks.quality.gate import Outcome
from benchmarks.quality.html import render
from benchmarks.quality.markdown import BEGIN, END, MarkdownError, check, renew
from support.audio import FORMATS, encode, tone

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Tags(HTMLParser):
    """Which tags there are, with their attributes, as a browser would read them."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    manifest = tmp_path_factory.mktemp("page") / "m.jsonl"
    manifest.write_text("{}\n")
    results = [
        result("spoken", {"hate": (2.0, 3.0)}, {"hate": 0.1}, transcript="a b c", slices={"sex": "male"}),
        *(result(f"{HOSTILE}{n}", {}, {"hate": 0.9}, heard=HOSTILE, slices={HOSTILE: HOSTILE}, note=HOSTILE)
          for n in range(3)),
        result("ok", {"hate": None}, {"hate": 0.9}, slices={"sex": "female"}),
        result("bang", {"gunshot": (1.0, 1.5)}, events=(("gunshot", 1.0, 1.5, 0.9),)),
        *(result(f"s{n}{term}", {}, slices={"identity_sentence": HOSTILE + str(n), "identity_term": term})
          for n in range(2) for term in (HOSTILE, "b")),
        result("x").model_copy(update={"error": HOSTILE}),
    ]  # fmt: skip
    return build(results, conditions(), manifest=manifest, command=f"aircheck {HOSTILE}", rules=RULES)


def test_what_came_from_outside_is_text_and_nothing_else(report, tmp_path):
    outcomes = [Outcome(name=HOSTILE, bound="≤ 1", value=None, passed=False)]
    tags = Tags(render(report, tmp_path, outcomes, HOSTILE)).found
    assert [tag for tag, _ in tags].count("script") == 1  # the page's own
    assert "img" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_the_page_asks_the_network_for_nothing(report, tmp_path):
    page = render(report, tmp_path)
    for tag, attributes in Tags(page).found:
        assert tag not in {"link", "iframe", "object", "embed"}
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:audio/mpeg;base64,")), (tag, attributes)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_the_page_says_first_that_the_classifiers_are_embedded(report, tmp_path):
    page = render(report, tmp_path)
    assert page.index("Embedded classifiers.") < page.index("In short")
    real = report.model_copy(update={"embedded_classifiers": False})
    assert "Embedded classifiers." not in render(real, tmp_path)


def test_every_plot_says_in_words_what_it_shows(report, tmp_path):
    tags = Tags(render(report, tmp_path)).found
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    assert plots
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in plots)


@pytest.mark.parametrize("name", FORMATS)
def test_a_mistake_can_be_listened_to_whatever_its_format(report, tmp_path, name):
    (tmp_path / "spoken.wav").write_bytes(encode(tone(4.0), name))
    players = [attributes["src"] for tag, attributes in Tags(render(report, tmp_path)).found if tag == "audio"]
    (only,) = players  # the other items' audio is not there
    assert only.startswith("data:audio/mpeg;base64,")
    assert 4_000 < len(only) < 30_000  # three seconds at 24 kbit/s are 9 kB


def test_markdown_takes_the_figures_between_its_markers_and_leaves_the_rest(report, tmp_path):
    path = tmp_path / "quality.md"
    path.write_text(f"# Mine\n\n{BEGIN}\nfigures of yesterday\n{END}\n\nafter\n")
    plots = renew(path, report, ())
    text = path.read_text()
    assert text.startswith("# Mine\n\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "figures of yesterday" not in text
    assert {path.suffix for path in plots} == {".svg"}
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (tmp_path / name).read_text().startswith("<svg ")
    assert "<script" not in text.replace("`aircheck " + HOSTILE + "`", "").replace("\\<script", "")
    renew(path, report, ())
    assert path.read_text() == text


def test_markdown_without_markers_is_refused_before_any_work(tmp_path):
    path = tmp_path / "quality.md"
    path.write_text("# Mine\n")
    with pytest.raises(MarkdownError, match="has no place for the figures"):
        check(path)
