"""What the supervisor does when Triton ends, with a stand-in for Triton that ends when it is told to."""

import asyncio
import itertools
import logging
import time
from types import SimpleNamespace

import pytest

from aircheck.gateway import log, supervisor
from aircheck.gateway.errors import DrainingError, WindowError
from aircheck.gateway.supervisor import ServerState, Supervisor
from aircheck.gateway.triton_link import LostError, Served
from aircheck.settings import Settings
from aircheck.triton import TritonCrashError, TritonError
from aircheck_client.schema import Context

CONTEXT = Context()
POISON, SLOW, GOOD = b"poison", b"slow", b"good"


class FakeTriton:
    """Answers at once, dies of POISON, and never answers SLOW. Each start makes another; all are in `started`."""

    def __init__(self, settings, on_log, workspace):
        self.served = Served(languages=(f"of start {len(self.started) + 1}",))
        self.asked, self.dropped, self.calls = [], [], []
        self.is_dead = self.was_killed = False
        self.link = SimpleNamespace(infer=self._infer)

    async def start(self):
        await asyncio.sleep(0.01)
        self.started.append(self)
        if len(self.started) in self.failing_starts:
            raise TritonError("no memory")
        if len(self.started) in self.crashing_starts:
            raise TritonCrashError("exit status 134")

    def processes(self):
        return {}

    async def kill(self):
        self.was_killed = True
        for call in self.calls:  # as a channel does that is closed
            call.cancel()
        self.calls.clear()

    async def _infer(self, wav, context, language, deadline_s, own=None):
        self.asked.append(wav)
        self.calls.append(asyncio.current_task())
        try:
            await asyncio.sleep(3600 if wav == SLOW else 0.02)
        except asyncio.CancelledError:
            self.dropped.append(wav)
            raise
        if wav == POISON or self.is_dead:
            self.is_dead = True
            raise LostError("Stub process 'whisper_0_0' is not healthy.", is_certain=True)
        return wav.decode(errors="replace")


@pytest.fixture
def triton(monkeypatch):
    Triton = type("Triton", (FakeTriton,), {"started": [], "failing_starts": (), "crashing_starts": ()})  # noqa: N806
    monkeypatch.setattr(supervisor, "TritonProcess", Triton)
    monkeypatch.setattr(supervisor, "_FIRST_RETRY_S", 0.05)
    return Triton


def supervised(run, **settings):
    async def main():
        async with Supervisor(Settings.load(**settings)) as one:
            return await asyncio.wait_for(run(one), 30)

    return asyncio.run(main())


async def infer(one, wav, timeout_s=None):
    """The verdict, or the error's type."""
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        return await one.infer(wav, CONTEXT, "", deadline_s)
    except (WindowError, DrainingError, TimeoutError) as error:
        return type(error)


def test_windows_in_flight_at_a_death_are_answered_and_the_one_that_kills_is_sent_twice(triton):
    async def run(one):
        return await asyncio.gather(*(infer(one, wav) for wav in (GOOD, GOOD, POISON, GOOD)))

    assert supervised(run) == ["good", "good", WindowError, "good"]
    assert sum(one.asked.count(POISON) for one in triton.started) == 2
    assert all(one.was_killed for one in triton.started)


def test_a_call_that_ends_with_its_triton_before_its_caller_learns_why_is_sent_again(triton):
    async def run(one):
        task = asyncio.create_task(infer(one, SLOW))
        while not triton.started[0].asked:
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_soon(one._run.lose, "killed")
        for call in triton.started[0].calls:
            loop.call_soon(call.cancel)
        while len(triton.started) < 2 or not triton.started[1].asked:
            await asyncio.sleep(0.01)
        task.cancel()
        return triton.started[1].asked

    assert supervised(run) == [SLOW]


def test_two_that_kill_are_told_from_those_beside_them(triton):
    async def run(one):
        return await asyncio.gather(*(infer(one, wav) for wav in (GOOD, POISON, GOOD, POISON, GOOD)))

    assert supervised(run) == ["good", WindowError, "good", WindowError, "good"]


def test_states_follow_a_death_and_windows_wait_for_the_recovery(triton):
    states = []

    async def run(one):
        states.append(one.state)
        one.on_state(states.append)
        await infer(one, POISON)
        return await infer(one, GOOD), one.restarts

    assert supervised(run) == ("good", 2)
    serving, recovering = ServerState.SERVING, ServerState.RECOVERING
    assert states == [serving, recovering, serving, recovering, serving, ServerState.DRAINING]


def test_what_is_served_is_what_the_last_triton_says(triton):
    async def run(one):
        before = one.served
        await infer(one, POISON)
        await infer(one, GOOD)
        return before.languages, one.served.languages

    assert supervised(run) == (("of start 1",), ("of start 3",))


def test_a_window_that_is_sent_again_is_logged_under_its_call(triton, caplog):
    caplog.handler.addFilter(log.add_call)

    async def call(one, name, wav):
        log.begin(name)
        return await infer(one, wav)

    async def run(one):
        await asyncio.gather(*(asyncio.create_task(call(one, *what)) for what in (("4711", GOOD), ("4712", POISON))))

    with caplog.at_level(logging.INFO, "aircheck.gateway"):
        supervised(run)
    lines = [(record.call, record.getMessage().split(":")[0]) for record in caplog.records]
    assert ("4712 ", "a window is sent again") in lines
    assert {call for call, text in lines if "window is sent again" not in text} == {""}


def test_a_start_that_fails_is_tried_again(triton):
    triton.failing_starts = (2, 3)

    async def run(one):
        first = asyncio.create_task(infer(one, POISON))
        await asyncio.sleep(0.03)
        answer = await infer(one, GOOD)
        await first
        return answer

    assert supervised(run) == "good"
    assert len(triton.started) >= 4


def test_the_first_start_that_fails_is_an_error(triton):
    triton.failing_starts = (1,)
    with pytest.raises(TritonError, match="no memory"):
        supervised(lambda one: None)


def test_a_first_start_that_crashes_is_tried_once_more(triton):
    triton.crashing_starts = (1,)
    assert supervised(lambda one: infer(one, GOOD)) == "good"
    triton.crashing_starts = range(1, 9)
    with pytest.raises(TritonCrashError, match="134"):
        supervised(lambda one: infer(one, GOOD))


def test_a_deadline_ends_the_wait_for_a_recovery(triton):
    triton.failing_starts = range(2, 1000)

    async def run(one):
        killer = asyncio.create_task(infer(one, POISON))
        await asyncio.sleep(0.1)
        answer = await infer(one, GOOD, timeout_s=0.1)
        killer.cancel()
        return answer

    assert supervised(run) is TimeoutError


def test_a_cancelled_or_late_window_is_dropped_by_triton(triton):
    async def run(one):
        assert await infer(one, SLOW, timeout_s=0.05) is TimeoutError
        task = asyncio.create_task(infer(one, SLOW))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        return one.in_flight

    assert supervised(run) == 0
    assert triton.started[0].dropped == [SLOW, SLOW]
    assert len(triton.started) == 1


def test_a_triton_that_answers_nothing_is_started_anew(triton):
    async def run(one):
        task = asyncio.create_task(infer(one, SLOW))
        while one.restarts < 1:
            await asyncio.sleep(0.05)
        assert await infer(one, GOOD) == "good"
        task.cancel()

    supervised(run, stall_timeout_s=0.5)
    assert triton.started[0].dropped == [SLOW]


def test_a_triton_that_computes_gets_more_time(triton, monkeypatch):
    spent_s = itertools.count()
    monkeypatch.setattr(supervisor, "cpu_seconds", lambda pids: float(next(spent_s)))

    async def run(one):
        begun_s = time.monotonic()
        task = asyncio.create_task(infer(one, SLOW))
        while one.restarts < 1:
            await asyncio.sleep(0.05)
        task.cancel()
        return time.monotonic() - begun_s

    assert supervised(run, stall_timeout_s=0.3) >= 3.0


def test_deadlines_that_pass_count_as_no_answers(triton):
    async def run(one):
        while one.restarts < 1:
            await infer(one, SLOW, timeout_s=0.1)

    supervised(run, stall_timeout_s=1.0)


def test_an_idle_triton_is_probed(triton, monkeypatch):
    monkeypatch.setattr(supervisor, "PROBE_AFTER_S", 0.5)

    async def run(one):
        await asyncio.sleep(1.5)
        assert one.restarts == 0
        assert len(triton.started[0].asked) >= 1
        triton.started[0].is_dead = True
        while one.restarts < 1:
            await asyncio.sleep(0.05)

    supervised(run)


def test_draining_shows_in_health_while_windows_are_still_answered(triton):
    states = []

    async def run(one):
        one.on_state(states.append)
        one.drain()
        assert await infer(one, POISON) is WindowError  # and Triton is started anew, if need be
        return await infer(one, GOOD)

    assert supervised(run) == "good"
    assert states == [ServerState.DRAINING]


def test_windows_that_wait_at_the_end_are_refused(triton):
    async def main():
        async with Supervisor(Settings.load()) as one:
            waiting = [asyncio.create_task(infer(one, SLOW)) for _ in range(2)]
            await asyncio.sleep(0.05)
        return await asyncio.gather(*waiting), await infer(one, GOOD)

    assert asyncio.run(main()) == ([DrainingError, DrainingError], DrainingError)
    assert triton.started[0].was_killed
    assert triton.started[0].dropped == [SLOW, SLOW]
