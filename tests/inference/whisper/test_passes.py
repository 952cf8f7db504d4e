"""One window, decoded in as many passes as its speech takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aircheck.inference.whisper.decoding.options import DecodedWindow
from aircheck.inference.whisper.decoding.seek import MAX_PASSES
from aircheck.inference.whisper.scheduling.passes import WindowPasses, between
from aircheck.inference.whisper.scheduling.sequence import Sequence, Window

BEGIN = 1000  # the first timestamp token
MAX_TOKENS = 100
TEXT = range(10, 50)  # as many tokens as ten seconds of speech give


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def text(*tokens: int, language: str = "en", no_speech_prob: float = 0.1, avg_logprob: float = -0.3) -> DecodedWindow:
    return DecodedWindow(tokens, language, avg_logprob, no_speech_prob)


@pytest.fixture
def log_mel() -> torch.Tensor:
    return torch.rand(80, 3000, generator=torch.Generator().manual_seed(0))


class Queue(list[Sequence]):
    """Takes later passes as an engine does, and decodes them by hand."""

    def passes(self, window: Window, seeks: bool = True) -> WindowPasses:
        made = WindowPasses(window, BEGIN, MAX_TOKENS, seeks, self.append)
        first = made.first()
        if first is not None:
            self.append(first)
        return made

    def decode(self, decoded: DecodedWindow) -> None:
        self.pop(0).finish(decoded)


def test_later_passes_hear_what_follows_in_the_language_of_the_first(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 20.0, ((0.2, 11.0), (14.0, 16.5))))
    queue.decode(text(at(0), *TEXT, at(11), at(11), 2, language="es"))
    (second,) = queue
    assert second.window.language == "es"
    assert second.window.duration_s == pytest.approx(6.2)
    assert torch.equal(torch.as_tensor(second.window.log_mel)[:, :1620], log_mel[:, 1380:])
    assert not passes.future.done()
    queue.decode(text(at(0), 3, at(2.6)))
    assert not queue
    assert [(one.offset_s, one.decoded.tokens) for one in passes.future.result()] == [
        (0.0, (at(0), *TEXT, at(11))),
        (pytest.approx(13.8), (at(0), 3, at(2.6))),
    ]


def test_a_window_in_which_nobody_speaks_is_not_decoded(log_mel: torch.Tensor) -> None:
    queue = Queue()
    assert queue.passes(Window(log_mel, 20.0, ())).future.result() == ()
    assert not queue


def test_a_window_is_decoded_from_its_first_speech(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 20.0, ((12.0, 14.0),)))
    queue.decode(text(at(0), 1, at(2)))
    assert [one.offset_s for one in passes.future.result()] == [pytest.approx(11.8)]


def test_a_pass_that_finds_no_speech_is_the_last(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((0.0, 30.0),)))
    queue.decode(text(at(0), *TEXT, at(11), at(11), no_speech_prob=0.9, avg_logprob=-2.0))
    assert len(passes.future.result()) == 1


def test_a_text_cut_off_by_the_token_limit_goes_on(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((0.0, 29.0),)))
    queue.decode(text(at(0), *TEXT, at(9), at(9), *range(100, 160)))
    queue.decode(text(at(0), *TEXT, at(20)))
    assert [one.offset_s for one in passes.future.result()] == [0.0, pytest.approx(9.0)]


def test_a_text_cut_off_before_any_end_is_decoded_in_parts(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((0.0, 12.0), (13.0, 29.0))))
    queue.decode(text(at(0), *range(MAX_TOKENS)))
    first_half = queue[0].window
    assert first_half.duration_s == pytest.approx(12.5)
    assert torch.equal(torch.as_tensor(first_half.log_mel)[:, :1250], log_mel[:, :1250])
    assert bool((torch.as_tensor(first_half.log_mel)[:, 1250:] == log_mel.min()).all())
    queue.decode(text(at(0), *TEXT, at(12)))
    assert queue[0].window.duration_s == pytest.approx(17.2)
    queue.decode(text(at(0), *TEXT))
    found = [(one.offset_s, one.end_s, one.decoded.tokens) for one in passes.future.result()]
    assert found[0] == (0.0, 30.0, ())
    assert found[1] == (0.0, pytest.approx(12.5), (at(0), *TEXT, at(12)))
    assert found[2] == (pytest.approx(12.8), 30.0, (at(0), *TEXT))


def test_after_text_that_is_not_believed_the_language_is_detected_anew(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((0.0, 4.0), (14.0, 29.0))))
    queue.decode(text(at(0), *TEXT, at(4), language="ko", no_speech_prob=0.5, avg_logprob=-0.9))
    assert (queue[0].window.language, queue[0].window.duration_s) == (None, pytest.approx(16.2))
    queue.decode(text(at(0), *TEXT, at(5), at(5), no_speech_prob=0.5, avg_logprob=-0.9))
    assert len(passes.future.result()) == 2  # two in a row: the window is given up


def test_hostile_audio_costs_a_bounded_number_of_passes(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((0.0, 30.0),)))
    for _ in range(MAX_PASSES):
        queue.decode(text(at(0), 1, at(0.5), at(0.5)))
    assert not queue
    assert len(passes.future.result()) == MAX_PASSES


def test_without_seeking_there_is_one_pass_over_the_whole_window(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0, ((5.0, 30.0),)), seeks=False)
    queue.decode(text(at(0), *TEXT, at(11), at(11), 2))
    (only,) = passes.future.result()
    assert (only.offset_s, only.decoded.tokens) == (0.0, (at(0), *TEXT, at(11), at(11), 2))


def test_cancelling_the_window_takes_out_the_pass_under_way(log_mel: torch.Tensor) -> None:
    queue = Queue()
    passes = queue.passes(Window(log_mel, 30.0))
    queue.decode(text(at(0), *TEXT, at(11), at(11)))
    assert passes.future.cancel()
    assert queue[0].future.cancelled()
    queue.decode(text(at(0), 1, at(19)))  # answers nobody


def test_the_end_of_a_shifted_log_mel_is_its_own_silence(log_mel: torch.Tensor) -> None:
    shifted = between(log_mel, 10.0)
    assert shifted.shape == log_mel.shape
    assert torch.equal(shifted[:, :2000], log_mel[:, 1000:])
    assert bool((shifted[:, 2000:] == log_mel.min()).all())
    assert between(log_mel, 0.0) is log_mel


def test_a_pass_keeps_the_windows_own_limit(log_mel: torch.Tensor) -> None:
    queue = Queue()
    window = replace(Window(log_mel, 30.0, ((0.0, 3.0), (9.2, 30.0))), max_tokens=4)
    passes = queue.passes(window)
    queue.decode(text(at(0), 1, at(9), at(9)))  # as long as the window allows: cut off
    assert queue[0].window.max_tokens == 4
    queue.decode(text(at(0), 1))
    assert len(passes.future.result()) == 2
