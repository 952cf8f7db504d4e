"""The order in which windows go to the models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aircheck.gateway import scheduling
from aircheck.gateway.errors import OverloadedError
from aircheck.gateway.scheduling import (
    CLIPS_LINGER_S,
    MOST_AT_FIRST,
    YIELD_EVERY,
    Priority,
    Turns,
    WindowScheduler,
)


class Order:
    """Windows that come in while the models are full, and the order in which they then go."""

    def __init__(self, scheduler: WindowScheduler):
        self.scheduler, self.went, self.tasks = scheduler, list[str](), list[asyncio.Task[None]]()

    async def come(self, turns: Turns, *names: str) -> None:
        for name in names:
            self.tasks.append(asyncio.create_task(self._go(turns, name)))
        await asyncio.sleep(0)

    async def _go(self, turns: Turns, name: str) -> None:
        async with turns.window():
            self.went.append(name)
            await asyncio.sleep(0)

    async def finish(self) -> list[str]:
        await asyncio.gather(*self.tasks)
        return self.went


def run(scenario: Callable[[WindowScheduler, Order], Awaitable[None]], max_in_flight: int = 1) -> list[str]:
    async def main() -> list[str]:
        scheduler = WindowScheduler(max_in_flight, kept_free=0)
        order = Order(scheduler)
        full = [scheduler.join(Priority.NORMAL).window() for _ in range(max_in_flight)]
        for window in full:
            await window.__aenter__()
        await scenario(scheduler, order)
        for window in full:
            await window.__aexit__(None, None, None)
        went = await order.finish()
        assert (scheduler.in_flight, scheduler.waiting()) == (0, 0)
        return went

    return asyncio.run(main())


def test_a_clip_goes_before_an_episode_and_an_episode_before_a_back_catalogue() -> None:
    async def scenario(scheduler: WindowScheduler, order: Order) -> None:
        for priority in (Priority.BULK, Priority.NORMAL, Priority.INTERACTIVE):
            await order.come(scheduler.join(priority), priority.name)

    assert run(scenario) == ["INTERACTIVE", "NORMAL", "BULK"]


def test_scans_of_one_priority_take_turns() -> None:
    async def scenario(scheduler: WindowScheduler, order: Order) -> None:
        await order.come(scheduler.join(Priority.NORMAL), "a1", "a2", "a3")
        await order.come(scheduler.join(Priority.NORMAL), "b1")
        await order.come(scheduler.join(Priority.NORMAL), "c1", "c2")

    assert run(scenario) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_back_catalogue_is_never_starved() -> None:
    async def scenario(scheduler: WindowScheduler, order: Order) -> None:
        await order.come(scheduler.join(Priority.BULK), "bulk")
        await order.come(scheduler.join(Priority.NORMAL), *(f"n{index}" for index in range(3 * YIELD_EVERY)))

    assert run(scenario).index("bulk") == YIELD_EVERY - 1


def test_a_window_that_is_given_up_takes_no_turn() -> None:
    async def scenario(scheduler: WindowScheduler, order: Order) -> None:
        turns = scheduler.join(Priority.NORMAL)
        await order.come(turns, "gone", "stays")
        order.tasks[0].cancel()
        await asyncio.gather(order.tasks.pop(0), return_exceptions=True)

    assert run(scenario) == ["stays"]


def test_a_clip_finds_room_that_no_episode_may_take() -> None:
    async def main() -> None:
        scheduler = WindowScheduler(3, kept_free=1)
        episode = scheduler.join(Priority.NORMAL)
        held = [asyncio.create_task(hold(episode)) for _ in range(5)]
        await asyncio.sleep(0)
        assert scheduler.in_flight == 2
        async with asyncio.timeout(1), scheduler.join(Priority.INTERACTIVE).window():
            assert scheduler.in_flight == 3
        await give_up(held)
        assert (scheduler.in_flight, scheduler.waiting()) == (0, 0)

    asyncio.run(main())


def test_clips_that_take_all_room_leave_some_to_an_episode() -> None:
    async def main() -> None:
        scheduler = WindowScheduler(2, kept_free=1)
        order, clips = Order(scheduler), scheduler.join(Priority.INTERACTIVE)
        await order.come(clips, *(f"c{index}" for index in range(4 * YIELD_EVERY)))
        await order.come(scheduler.join(Priority.NORMAL), "episode")
        assert (await order.finish()).index("episode") < 2 * YIELD_EVERY

    asyncio.run(main())


def test_recordings_take_more_room_until_a_clip_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(scheduling.time, "monotonic", lambda: now_s)

    async def main() -> None:
        nonlocal now_s
        scheduler = WindowScheduler(3, kept_free=1, max_without_clips=6)
        episode, clips = scheduler.join(Priority.NORMAL), scheduler.join(Priority.INTERACTIVE)
        held = [asyncio.create_task(hold(episode)) for _ in range(9)]
        await asyncio.sleep(0)
        assert (scheduler.in_flight, scheduler.waiting()) == (5, 4)
        both = [asyncio.create_task(hold(clips)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (scheduler.in_flight, scheduler.waiting(Priority.INTERACTIVE)) == (6, 1)
        await give_up(held[:1])  # its place is the second clip's
        assert (scheduler.in_flight, scheduler.waiting(Priority.INTERACTIVE)) == (6, 0)
        await give_up(held[1:4])  # and theirs nobody's, for two is what the episode has beside clips
        assert (scheduler.in_flight, scheduler.waiting()) == (3, 4)
        await give_up(both)
        assert (scheduler.in_flight, scheduler.waiting()) == (2, 3)
        now_s += CLIPS_LINGER_S
        await give_up(held[4:5])
        assert (scheduler.in_flight, scheduler.waiting()) == (4, 0)
        await give_up(held[5:])

    asyncio.run(main())


async def hold(turns: Turns) -> None:
    async with turns.window():
        await asyncio.sleep(3600)


async def give_up(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_who_would_wait_too_long_is_refused_with_a_time_to_come_again() -> None:
    async def main() -> None:
        scheduler = WindowScheduler(1, kept_free=0)
        turns = scheduler.join(Priority.NORMAL)
        for _ in range(8):
            async with turns.window():
                await asyncio.sleep(0.01)
        scheduler.refuse_late(Priority.INTERACTIVE, 0.1)  # there is room
        async with turns.window():
            waiting = [asyncio.create_task(wait(turns)) for _ in range(40)]
            await asyncio.sleep(0)
            scheduler.refuse_late(Priority.NORMAL, 60.0)
            with pytest.raises(OverloadedError, match="40 windows wait") as raised:
                scheduler.refuse_late(Priority.NORMAL, 0.1)
            assert raised.value.retry_after_s > 0.1
            scheduler.refuse_late(Priority.INTERACTIVE, 0.3)  # goes before them all
        await asyncio.gather(*waiting)

    async def wait(turns: Turns) -> None:
        async with turns.window():
            pass

    asyncio.run(main())


def test_windows_in_flight_count_for_the_wait() -> None:
    async def main() -> None:
        scheduler = WindowScheduler(8, kept_free=0)
        turns = scheduler.join(Priority.INTERACTIVE)
        await asyncio.gather(*(one(turns, 0.05 * at) for at in range(8)))
        under_way = [asyncio.create_task(one(turns, 0.2)) for _ in range(7)]
        await asyncio.sleep(0)
        assert scheduler.waiting() == 0
        scheduler.refuse_late(Priority.INTERACTIVE, 5.0)
        with pytest.raises(OverloadedError):
            scheduler.refuse_late(Priority.INTERACTIVE, 0.1)
        await asyncio.gather(*under_way)

    async def one(turns: Turns, seconds: float) -> None:
        async with turns.window():
            await asyncio.sleep(seconds)

    asyncio.run(main())


def test_few_requests_do_not_look_like_slow_models() -> None:
    async def main() -> None:
        scheduler = WindowScheduler(8)
        turns = scheduler.join(Priority.INTERACTIVE)
        for _ in range(10):  # one at a time, with pauses
            async with turns.window():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.03)
        assert scheduler.expected_s(Priority.INTERACTIVE) == 0.0

    asyncio.run(main())


def test_a_crowd_that_comes_before_the_pace_is_known_is_let_in_in_part() -> None:
    async def main() -> tuple[int, int]:
        scheduler = WindowScheduler(2)
        turns = scheduler.join(Priority.INTERACTIVE)
        let_in: list[asyncio.Task[None]] = []
        refused: list[OverloadedError] = []
        for _ in range(100):
            try:
                scheduler.refuse_late(Priority.INTERACTIVE, 60.0)
            except OverloadedError as error:
                refused.append(error)
            else:
                let_in.append(asyncio.create_task(pass_by(turns)))
                await asyncio.sleep(0)
        assert all(error.retry_after_s > 0 for error in refused)
        with pytest.raises(OverloadedError):
            scheduler.refuse_late(Priority.INTERACTIVE, 60.0, on_their_way=1000)
        await asyncio.gather(*let_in)
        return len(let_in), len(refused)

    async def pass_by(turns: Turns) -> None:
        async with turns.window():
            await asyncio.sleep(0.02)

    let_in, refused = asyncio.run(main())
    assert let_in == 2 * (1 + MOST_AT_FIRST)  # in flight, and waiting
    assert refused == 100 - let_in
