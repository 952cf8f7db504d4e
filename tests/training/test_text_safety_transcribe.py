from __future__ import annotations

from pathlib import Path

import numpy as np

from aircheck_client.schema import Segment
from training.espeak import SAMPLE_RATE_HZ
from training.text_safety.lines import read_train
from training.text_safety.transcribe import Cache, Window, owned, sample, voice_of, windows


def segment(start_s: float, end_s: float, text: str) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, text=text, avg_logprob=-0.3, no_speech_prob=0.1, compression_ratio=1.2)


def window(*spans_s: tuple[float, float]) -> Window:
    texts = tuple(f"line {index}" for index in range(len(spans_s)))
    return Window(texts, np.zeros(SAMPLE_RATE_HZ, np.float32), spans_s)


def test_segments_go_to_the_line_that_they_sound_in() -> None:
    heard = [segment(0.3, 1.4, "one"), segment(1.5, 2.2, "more"), segment(2.9, 5.0, "two")]
    assert owned(window((0.3, 2.3), (3.1, 5.1)), heard) == [("one", "more"), ("two",)]


def test_lines_that_share_a_segment_are_left_out() -> None:
    heard = [segment(0.3, 5.0, "both"), segment(6.0, 8.0, "third")]
    assert owned(window((0.3, 2.3), (3.1, 5.1), (6.0, 8.0)), heard) == [None, None, ("third",)]


def test_a_line_alone_owns_all_that_was_heard_even_nothing() -> None:
    assert owned(window((0.3, 2.3)), []) == [()]
    assert owned(window((0.3, 2.3), (3.0, 4.0)), []) == [None, None]


def test_a_voice_belongs_to_its_text() -> None:
    voices = [voice_of(f"text {index}") for index in range(40)]
    assert voices == [voice_of(f"text {index}") for index in range(40)]
    assert len(set(voices)) > 20


def test_windows_hold_as_many_lines_as_fit_and_say_where_they_sound() -> None:
    texts = ["the first line is here", "and here is the second", "while the third ends it"]
    together, alone = list(windows(texts, 12.0)), list(windows(texts, 0.0))
    assert [item.texts for item in together] == [tuple(texts)]
    assert [item.texts for item in alone] == [(text,) for text in texts]
    for item in together + alone:
        for start_s, end_s in item.spans_s:
            sound = item.samples[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
            assert np.abs(sound).max() > 0.05
        silence = item.samples[int((item.spans_s[-1][1] + 0.1) * SAMPLE_RATE_HZ) :]
        assert not silence.any()


def test_a_cache_survives_and_is_bound_to_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cache.jsonl"
    Cache(path, "old").add("alone/x", ("heard by the old one",))
    cache = Cache(path, "new")
    assert cache.segments == {}
    cache.add("alone/x", ("heard",))
    cache.add("among others/y", None)
    with path.open("a") as file:
        file.write('{"key": "alone/half a r')
    assert Cache(path, "new").segments == {"alone/x": ("heard",), "among others/y": None}


def test_the_sample_is_of_every_category_and_kind() -> None:
    lines = read_train()
    chosen = sample(lines, 600)
    assert 400 <= len(chosen) <= 600
    assert {(line.category, line.kind) for line in chosen} == {(line.category, line.kind) for line in lines}
    assert sample(lines, 600) == chosen
