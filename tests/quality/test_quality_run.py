"""A run scores every item, goes on after bad ones, and can be taken up again."""

from dataclasses import dataclass, field

import pytest
from quality_results import conditions, result

from benchmarks.quality.manifest import Item, read, write
from benchmarks.quality.results import ResultLog
from benchmarks.quality.run import ItemError, ScorerGoneError, run
from benchmarks.quality.server_scorer import text_segments


@dataclass
class CountingScorer:
    """Scores everything, but what is called bad; ends for good at what is called gone."""

    in_flight: int = 4
    hears: bool = True
    conditions: object = field(default_factory=conditions)
    asked: list = field(default_factory=list)

    def takes(self, item):
        return not item.id.startswith("other")

    def score(self, item, audio):
        self.asked.append((item.id, audio))
        if item.id.startswith("bad"):
            raise ItemError(f"{item.audio or item.id}: no good; mend it")
        if item.id.startswith("gone"):
            raise ScorerGoneError("nobody there")
        return result(item.id).model_copy(update={"item": item})


def scored(tmp_path, items, scorer, heard=None):
    write(items, tmp_path / "m.jsonl")
    with ResultLog(tmp_path / "out", conditions()) as log:
        return run(read(tmp_path / "m.jsonl"), scorer, log, (heard if heard is not None else []).append)


def test_bad_items_are_named_and_the_others_are_scored(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"sound")
    items = [Item(id="a", audio="a.wav"), Item(id="missing", audio="no.wav"), Item(id="bad", text="x"),
             Item(id="other", text="y"), Item(id="z", text="z")]  # fmt: skip
    heard = []
    results = scored(tmp_path, items, scorer := CountingScorer(), heard)
    assert [one.item.id for one in results] == ["a", "missing", "bad", "z"]
    assert "no.wav: No such file or directory; restore the file" in results[1].error
    assert results[2].error == "bad: no good; mend it"
    assert results[0].error is None
    assert ("a", b"sound") in scorer.asked
    assert len(heard) == 4


def test_a_second_run_scores_only_what_is_new_or_failed(tmp_path):
    items = [Item(id="a", text="one"), Item(id="bad", text="two"), Item(id="b", text="three")]
    scored(tmp_path, items, CountingScorer())
    changed = [items[0], items[1], Item(id="b", text="not three")]
    results = scored(tmp_path, changed, scorer := CountingScorer())
    assert sorted(id_ for id_, _ in scorer.asked) == ["b", "bad"]
    assert [one.item for one in results] == changed


def test_a_scorer_that_is_gone_ends_the_run_and_keeps_what_was_finished(tmp_path):
    items = [Item(id=f"{number}", text="x") for number in range(20)] + [Item(id="gone", text="x")]
    with pytest.raises(ScorerGoneError, match="nobody there"):
        scored(tmp_path, items, CountingScorer(in_flight=1))
    scored(tmp_path, items[:-1], scorer := CountingScorer())
    assert len(scorer.asked) < 20


def test_a_scorer_that_does_not_hear_needs_no_audio(tmp_path):
    items = [Item(id="a", audio="nowhere.wav", transcript="words")]
    (only,) = scored(tmp_path, items, CountingScorer(hears=False))
    assert only.error is None


def test_a_text_is_scored_a_line_a_segment_one_after_the_other():
    first, second = text_segments("i will find you\n\nand then we eat\n")
    assert (first.text, second.text) == ("i will find you", "and then we eat")
    assert 0.0 == first.start_s < first.end_s == second.start_s < second.end_s
    assert not first.no_speech_prob  # nobody doubts a text
