"""Requests of several windows are answered as one, or taken out when their sender has gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
import torch
from torch import Tensor

from aircheck.inference.whisper.decoding.options import DecodedWindow, DecodingOptions
from aircheck.inference.whisper.engine import EngineBusyError, EngineClosedError, WhisperEngine, Window
from aircheck.inference.whisper.pending import Answer, PendingRequests
from aircheck.inference.whisper.weights.checkpoint import LoadedWhisper


class Inbox:
    """Collects the answers of one request."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.arrived = threading.Event()

    def __call__(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.arrived.set()

    def the_answer(self) -> Answer:
        assert self.arrived.wait(60)
        assert len(self.answers) == 1
        return self.answers[0]


@pytest.fixture
def engine(small: LoadedWhisper) -> Iterator[WhisperEngine]:
    with WhisperEngine(
        small, DecodingOptions(temperatures=(0.0,), seek=False, max_tokens=80), n_slots=1, max_waiting=6
    ) as engine:
        yield engine


@pytest.fixture
def pending(engine: WhisperEngine) -> Iterator[PendingRequests]:
    pending = PendingRequests(engine)
    yield pending
    pending.close()


def lines(windows: Tensor, *rows: int) -> list[Window]:
    return [Window(windows[row], 30.0) for row in rows]


def test_a_request_is_answered_once_with_all_its_windows_in_order(
    engine: WhisperEngine, pending: PendingRequests, windows: Tensor
) -> None:
    inbox, nothing = Inbox(), Inbox()
    pending.submit(lines(windows, 3, 0, 1), inbox, lambda: False)
    pending.submit([], nothing, lambda: False)
    assert nothing.the_answer() == []
    assert inbox.the_answer() == engine.transcribe(windows[[3, 0, 1]], [30.0] * 3)


def test_a_request_that_the_queue_has_no_room_for_is_told_so_and_takes_none(
    engine: WhisperEngine, pending: PendingRequests, windows: Tensor
) -> None:
    inbox, after = Inbox(), Inbox()
    pending.submit(lines(windows, *([0] * 9)), inbox, lambda: False)
    assert isinstance(inbox.the_answer(), EngineBusyError)
    assert engine.transcribe(windows[:1], [30.0])[0].text, "the queue is free again"
    pending.submit(lines(windows, 0), after, lambda: False)
    assert isinstance(after.the_answer(), list)


def test_a_cancelled_request_is_told_so_and_its_neighbour_is_answered(
    pending: PendingRequests, windows: Tensor
) -> None:
    gone, stays = Inbox(), Inbox()
    pending.submit(lines(windows, *([2] * 2)), gone, lambda: True)
    pending.submit(lines(windows, *([2] * 2)), Inbox(), lambda: True)
    pending.submit(lines(windows, 0), stays, lambda: False)
    answer = stays.the_answer()
    assert isinstance(answer, list)
    assert answer[0].text
    assert gone.the_answer() is None or isinstance(gone.answers[0], list)  # it may have been decoded before


def test_a_request_cancelled_while_it_waits_is_never_decoded(pending: PendingRequests, windows: Tensor) -> None:
    busy, gone = Inbox(), Inbox()
    pending.submit(lines(windows, 2, 2), busy, lambda: False)
    cancelled = threading.Event()
    pending.submit(lines(windows, 2, 2, 2), gone, cancelled.is_set)
    cancelled.set()
    assert gone.the_answer() is None
    assert isinstance(busy.the_answer(), list)


class EngineByHand(WhisperEngine):
    """Decodes a window when the test says so."""

    def __init__(self) -> None:
        self.given: list[Future[DecodedWindow]] = []

    def submit(self, window: Window, block: bool = True) -> Future[DecodedWindow]:
        self.given.append(Future())
        return self.given[-1]


def test_nobody_asks_whether_an_answered_request_was_cancelled() -> None:
    """Triton frees what a request is answered with; asking afterwards would read freed memory, and end the server."""
    engine = EngineByHand()
    pending = PendingRequests(engine)
    answered: set[int] = set()
    asked_late: list[int] = []
    next_round = threading.Event()

    def ask_after(me: int, other: int) -> None:
        def is_cancelled() -> bool:
            if me in answered:
                asked_late.append(me)
            elif answered:
                next_round.set()
            elif len(engine.given) == 2:  # the other is answered when the round of questions has begun
                engine.given[other].set_exception(RuntimeError("an answer"))
            return False

        pending.submit([Window(torch.zeros(80, 3000), 30.0)], lambda _: answered.add(me), is_cancelled)

    ask_after(0, 1)
    ask_after(1, 0)
    assert next_round.wait(10)
    pending.close()
    assert not asked_late


def test_a_round_of_questions_is_bounded_and_everybody_gets_a_turn() -> None:
    pending = PendingRequests(EngineByHand())
    pending.close()  # its thread; the rounds are called here
    asked: list[int] = []
    for number in range(120):

        def is_cancelled(number: int = number) -> bool:
            asked.append(number)
            return False

        pending.submit([Window(torch.zeros(80, 3000), 30.0)], lambda _: None, is_cancelled)
    for n_rounds in (1, 2, 3):
        pending._ask_some()
        assert len(asked) == 50 * n_rounds
    assert set(asked) == set(range(120))


def test_answers_do_not_hold_up_the_thread_that_decodes() -> None:
    engine = EngineByHand()
    pending, answered_on = PendingRequests(engine), []
    arrived = threading.Event()

    def answer(_: Answer) -> None:
        answered_on.append(threading.current_thread())
        arrived.set()

    pending.submit([Window(torch.zeros(80, 3000), 30.0)], answer, lambda: False)
    engine.given[0].set_exception(RuntimeError("an answer"))
    assert arrived.wait(10)
    assert answered_on != [threading.current_thread()]
    pending.submit([Window(torch.zeros(80, 3000), 30.0)], answer, lambda: False)
    pending.close()
    engine.given[1].set_exception(RuntimeError("an answer"))
    assert answered_on[1:] == [threading.current_thread()], "after closing, there is no other thread"


def test_a_request_that_a_closing_engine_cannot_answer_gets_the_error(small: LoadedWhisper, windows: Tensor) -> None:
    engine = WhisperEngine(small, DecodingOptions(temperatures=(0.0,), seek=False, max_tokens=80), n_slots=1)
    pending, inbox, late = PendingRequests(engine), Inbox(), Inbox()
    pending.submit(lines(windows, 2, 2), inbox, lambda: False)
    engine.close()
    pending.submit(lines(windows, 2), late, lambda: False)
    assert isinstance(inbox.the_answer(), EngineClosedError)
    assert isinstance(late.the_answer(), EngineClosedError)
    pending.close()
