"""Whose turn it is, and what becomes of what nobody took."""

import threading
import time

from aircheck.load.calls import NOT_SENT
from aircheck.load.turns import Turns
from aircheck.load.workload import Kind, Workload


def taken(turns, seconds):
    began_s, found = time.monotonic(), []
    while time.monotonic() - began_s < seconds:
        if (arrival := turns.next(Kind.CLIP)) is not None:
            found.append(arrival)
            turns.done()
    return found


def test_an_open_loop_hands_out_each_arrival_once_and_not_before_its_time():
    load = Workload(rate=20, seconds=1)
    turns = Turns(load)
    threading.Thread(target=turns.pace, daemon=True).start()
    for arrival in load.arrivals():
        while (got := turns.next(Kind.CLIP)) is None:
            pass
        assert got == arrival
        assert time.monotonic() - turns.began_s >= arrival.at_s
        turns.done()
    turns.wait()
    assert list(turns.not_sent()) == []


def test_processes_share_one_schedule():
    load = Workload(rate=5, seconds=20)
    parts = [Turns(load, rank, 3)._arrivals for rank in range(3)]
    assert sorted(arrival.index for part in parts for arrival in part) == list(range(100))


def test_what_no_user_was_free_for_is_a_call_without_an_answer():
    turns = Turns(Workload(rate=200, seconds=0.1))
    turns.pace()
    left = list(turns.not_sent())
    assert len(left) == 20
    assert {call.error for call in left} == {NOT_SENT}


def test_a_closed_loop_ends_with_its_time_and_never_counts_a_call_twice():
    turns = Turns(Workload(loop="closed", seconds=0.3), rank=1, n=2)
    found = taken(turns, 1.2)
    assert found
    assert [arrival.index for arrival in found] == list(range(1, 2 * len(found), 2))
    assert turns.is_done
