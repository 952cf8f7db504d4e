"""Triton as a child that may die: watched, started again, and asked again for what it had not answered.

    async with Supervisor(settings) as triton:
        verdict = await triton.infer(wav, context, language="", deadline_s=None)

Triton 2.51 does not recover by itself: a model's process that ends is never started again, every request is answered
INTERNAL or never, and its health endpoints stay ready. Whatever ends, all of Triton is started anew. Its model control
could do less, but does not help here: to load a model that is loaded does nothing, to load the ensemble loads all its
models again, which takes longer, and requests that a dead `whisper` held are never answered or freed.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any

from aircheck.gateway.answers import Answer
from aircheck.gateway.errors import BusyError, DrainingError, WindowError
from aircheck.gateway.log import LOG
from aircheck.gateway.processes import ProcessWatch, cpu_seconds
from aircheck.gateway.triton_link import SILENCE, LostError, Served
from aircheck.gateway.triton_process import OnLog, TritonProcess
from aircheck.gateway.workspace import Workspace
from aircheck.policy.own import Own
from aircheck.settings import Settings
from aircheck.triton import TritonCrashError, TritonError
from aircheck_client.schema import Context
from preprocessing.errors import AudioError

PROBE_AFTER_S = 15.0  # without an answer, while idle
PROBE_TIMEOUT_S = 30.0
WORKING_SHARE = 0.05  # of a core: models that spend more while nothing is answered are slow, not stuck
SLOW_FACTOR = 10  # times `stall_timeout_s` is too long for any window
NOTICE_S = 2.0  # in which the watch notices that a process has ended
LONGEST_RECOVERY_S = 120.0  # that a window without a deadline waits for
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0  # between two starts that fail


class ServerState(Enum):
    """What health tells: SERVING is healthy, everything else is not."""

    STARTING = "starting"
    SERVING = "serving"
    RECOVERING = "recovering"
    DRAINING = "draining"


class Supervisor:
    """One Triton after another. `infer` may be called while none is there: it waits."""

    def __init__(self, settings: Settings, on_log: OnLog | None = None):
        """`on_log` hears every line of Triton's log, on the event loop."""
        self._settings, self._on_log = settings, on_log or (lambda line: None)
        self._state = ServerState.STARTING
        self._listeners: list[Callable[[ServerState], None]] = []
        self._workspace: Workspace | None = None
        self._process: TritonProcess | None = None  # the last one, in whatever state
        self._run: _Run | None = None  # None: none is serving
        self._is_serving = asyncio.Event()
        self._suspects = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._in_flight = 0
        self.restarts = 0
        self.served = Served()
        """What the models are, as the last Triton that served said."""

    @property
    def state(self) -> ServerState:
        return self._state

    @property
    def in_flight(self) -> int:
        """Windows that somebody waits for."""
        return self._in_flight

    @property
    def address(self) -> str:
        """What gRPC clients of this user, on this machine, take as Triton's address; the same after a restart.

        Raises TritonError while there is none.
        """
        return self.triton.link.url

    @property
    def triton(self) -> TritonProcess:
        """The Triton that serves now. Raises TritonError while there is none."""
        if self._run is None:
            raise TritonError("Triton is not running now")
        return self._run.process

    def on_state(self, callback: Callable[[ServerState], None]) -> None:
        """Calls back with each state that is reached from now on."""
        self._listeners.append(callback)

    async def __aenter__(self) -> Supervisor:
        """Raises TritonError when Triton cannot be started; nothing is left behind then."""
        self._workspace = Workspace(self._settings.shm_prefix or "aircheck")
        try:
            self._serve(await self._start())
        except BaseException:
            self._workspace.close()
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set(ServerState.DRAINING)
        await self._end_watch()
        if self._process is not None:
            await self._process.kill()
        if self._workspace is not None:
            self._workspace.close()

    async def infer(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None = None
    ) -> Answer:
        """The verdict on a window of at most 30 s.

        wav : any audio file that the models' decoder takes
        language : ISO 639-1 code to transcribe in; empty: detect it
        deadline_s : on the clock of time.monotonic; None: answered or refused at some time
        own : the stretch of it that the answer is about; None: all of it

        A window that was under way when Triton or a model ended is sent once more. Cancelled with its task, and dropped
        by the models then. Raises BusyError (the models have no room, or do not come back), WindowError (a model failed
        on it, or ended both times), AudioError (it cannot be used), TimeoutError, and DrainingError when this ends.
        """
        self._in_flight += 1
        try:
            async with asyncio.timeout_at(deadline_s):  # the loop's clock is time.monotonic
                return await self._infer(wav, context, language, deadline_s, own)
        finally:
            self._in_flight -= 1

    def drain(self) -> None:
        """Health no longer says SERVING. Windows are still answered: calls under way have some to send."""
        self._set(ServerState.DRAINING)

    async def metrics(self) -> str:
        """Triton's metrics and those of the models, in the Prometheus text format; empty while there is no Triton."""
        try:
            return await self.triton.link.metrics()
        except (TritonError, OSError, TimeoutError):
            return ""

    async def _end_watch(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._run is not None:
            self._run.lose("the server stops")
            self._run = None
        self._is_serving.set()  # whoever waits for a Triton learns that none comes

    async def _infer(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None
    ) -> Answer:
        try:
            return await (await self._serving()).ask(wav, context, language, deadline_s, own)
        except LostError as fault:
            LOG.info("a window is sent again: %s", fault)
        async with self._suspects:  # one at a time: should a process end again, it is known which window does that
            try:
                return await (await self._serving()).ask(wav, context, language, deadline_s, own)
            except LostError as fault:
                raise WindowError(f"the models ended twice while they worked on this window: {fault}") from None

    async def _serving(self) -> _Run:
        try:
            await asyncio.wait_for(self._is_serving.wait(), LONGEST_RECOVERY_S)
        except TimeoutError:
            raise BusyError("the models are restarting") from None
        if self._run is None:
            raise DrainingError("the server is about to stop")
        return self._run

    async def _keep(self) -> None:
        """Watches Triton and starts it anew, for ever."""
        while True:
            assert self._run is not None
            reason = await self._run.fault()
            run, self._run = self._run, None
            self._set(ServerState.RECOVERING)
            LOG.error("%s; Triton is started anew, %d windows are sent again", reason, run.asked)
            started_s = time.monotonic()
            run.lose(reason)
            await run.process.kill()
            process = await self._start_at_last()
            self.restarts += 1
            self._serve(process)
            LOG.warning("Triton serves again after %.1f s", time.monotonic() - started_s)

    async def _start_at_last(self) -> TritonProcess:
        for attempt in itertools.count():
            try:
                return await self._start()
            except (TritonError, OSError) as error:
                wait_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2**attempt)
                LOG.error("Triton could not be started, next try in %g s: %s", wait_s, error)
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _start(self) -> TritonProcess:
        """Once more where Triton crashes: on a busy machine 2.51 may abort by itself while its models load."""
        try:
            return await self._start_once()
        except TritonCrashError as crash:
            LOG.error("Triton crashed and is started once more: %s", crash)
            return await self._start_once()

    async def _start_once(self) -> TritonProcess:
        assert self._workspace is not None
        self._process = TritonProcess(self._settings, self._on_log, self._workspace)
        await self._process.start()
        return self._process

    def _serve(self, process: TritonProcess) -> None:
        self._run = _Run(process, self._settings, on_lost=self._is_serving.clear)
        self.served = process.served
        self._is_serving.set()
        self._set(ServerState.SERVING)

    def _set(self, state: ServerState) -> None:
        if state is self._state or self._state is ServerState.DRAINING:  # which is final
            return
        self._state = state
        for listener in self._listeners:
            listener(state)


class _Run:
    """A Triton that serves, with the windows that it works on."""

    def __init__(self, process: TritonProcess, settings: Settings, on_lost: Callable[[], None]):
        self.process = process
        self._watch = ProcessWatch(process.processes(), settings.pause_limit_s)
        self._stall_timeout_s = settings.stall_timeout_s
        self._on_lost = on_lost
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.asked = 0  # windows that wait for an answer
        self._answered_at_s = time.monotonic()

    async def fault(self) -> str:
        """Returns why this Triton must not go on, when it must not."""
        watches = [asyncio.create_task(self._watch.fault()), asyncio.create_task(self._stall())]
        try:
            await asyncio.wait([*watches, self._lost], return_when=asyncio.FIRST_COMPLETED)
            ended = next(done for done in (self._lost, *watches) if done.done())
            if ended.exception() is not None:  # unwatched, it must not go on either
                LOG.error("the watch over Triton failed", exc_info=ended.exception())
                return "Triton was not watched any more"
            return ended.result()
        finally:
            for watch in watches:
                watch.cancel()

    def lose(self, reason: str) -> None:
        """Gives this Triton up: lets all that waits for an answer know that there will be none."""
        if not self._lost.done():
            self._on_lost()
            self._lost.set_result(reason)

    async def ask(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None
    ) -> Answer:
        """As TritonLink.infer; raises LostError as soon as this Triton is given up."""
        call = asyncio.create_task(self.process.link.infer(wav, context, language, deadline_s, own))
        self.asked += 1
        try:
            # one that is lost while others are answered is no stall
            patience_s = SLOW_FACTOR * self._stall_timeout_s
            waited: list[asyncio.Future[Any]] = [call, self._lost]
            await asyncio.wait(waited, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if call.done() and not call.cancelled():  # a call is cancelled when its Triton is killed
                return self._answered(call)
            if self._lost.done():
                raise LostError(self._lost.result(), is_certain=True)
            raise LostError(f"a window was not answered within {patience_s:g} s", is_certain=False)
        except LostError as fault:
            if fault.is_certain:
                self.lose(str(fault))
            else:  # if Triton has ended, the watch is about to tell
                await asyncio.wait([self._lost], timeout=NOTICE_S)
            raise
        finally:
            call.cancel()
            call.add_done_callback(_retrieved)
            self.asked -= 1

    def _answered(self, call: asyncio.Task[Answer]) -> Answer:
        if not isinstance(call.exception(), LostError | TimeoutError):
            self._answered_at_s = time.monotonic()
        return call.result()

    async def _stall(self) -> str:
        """Returns when nothing is answered any more: no window while some are asked, or no probe while none is.

        A machine may be slow: while the models compute, more patience is due.
        """
        processes = tuple(self.process.processes())
        spent_s, since_s = cpu_seconds(processes), self._answered_at_s
        while True:
            await asyncio.sleep(1.0)
            if self._answered_at_s > since_s:
                spent_s, since_s = cpu_seconds(processes), self._answered_at_s
            quiet_s = time.monotonic() - since_s
            if self.asked and quiet_s >= self._stall_timeout_s:
                is_working = cpu_seconds(processes) - spent_s >= WORKING_SHARE * quiet_s
                if not is_working or quiet_s >= SLOW_FACTOR * self._stall_timeout_s:
                    return f"no window of {self.asked} was answered for {quiet_s:.0f} s"
            if not self.asked and quiet_s >= PROBE_AFTER_S:
                fault = await self._probe()
                if fault:
                    return fault

    async def _probe(self) -> str:
        """Asks for the verdict on silence; returns what is wrong, if anything is."""
        try:
            await self.process.link.infer(SILENCE, Context(), "en", time.monotonic() + PROBE_TIMEOUT_S)
        except (LostError, TimeoutError) as fault:
            return f"a probe failed: {fault}"
        except (BusyError, WindowError, AudioError) as fault:
            LOG.warning("a probe was answered by an error: %s", fault)
        self._answered_at_s = time.monotonic()
        return ""


def _retrieved(call: asyncio.Task[Any]) -> None:
    """Nobody waits for this call any more: how it ends is not worth a line in the log."""
    if not call.cancelled():
        call.exception()
