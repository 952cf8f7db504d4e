"""Locust's side of a load: users over gRPC, options, events. See benchmarks/load/locustfile.py for how to run it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gevent
import grpc.experimental.gevent
from locust import User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

grpc.experimental.gevent.init_gevent()  # before what makes channels is imported: gRPC's waits become gevent's

from aircheck.load import calls as call_file
from aircheck.load.audio import Recordings
from aircheck.load.calls import Call, Ledger
from aircheck.load.errors import LoadError
from aircheck.load.options import DEFAULT_URL, DEFAULT_USERS, add_options
from aircheck.load.senders import Senders
from aircheck.load.turns import DRAIN_S, LEAD_S, Turns
from aircheck.load.web_tab import add_tab
from aircheck.load.workload import MAX_USERS, Kind, Workload

_STOP_S = 5  # that users get to end once all calls have
_DONE = "load_done"
_CALLS = "calls"


class _State:
    """Of this process's present run."""

    senders: ClassVar[Senders]  # one connection for all users, as a worker in earnest has
    turns: ClassVar[Turns | None] = None
    began_unix_s: ClassVar[float] = 0.0
    ledger: ClassVar[Ledger] = Ledger()
    n_done: ClassVar[int] = 0


class LoadUser(User):
    """Makes calls, one at a time: in a closed loop those of its kind, in an open one whichever is due."""

    abstract = True
    host = DEFAULT_URL
    kind: ClassVar[Kind]
    wait_time = constant(0)

    @task
    def work(self) -> None:
        """The next call, if it is time for one."""
        turns = _State.turns
        if turns is None or (arrival := turns.next(self.kind)) is None:
            gevent.sleep(0.01)
            return
        try:
            call, fault = _State.senders.send(arrival, turns.began_s)
            _State.ledger.add([call])
            self._tell(call, fault)
        finally:
            turns.done()

    def _tell(self, call: Call, fault: Exception | None) -> None:
        for name, took_s, its_fault in _figures(call, fault):
            self.environment.events.request.fire(
                request_type=call.kind.value,
                name=name,
                response_time=1000 * took_s,
                response_length=call.received_bytes,
                exception=its_fault,
                context={
                    "audio_s": call.audio_s,
                    "sent_bytes": call.sent_bytes,
                    "is_late": call.is_late,
                    "error": call.error,
                },
            )


class ClipScanner(LoadUser):
    """Ingestion: clips of at most 30 s, a message each way."""

    kind = Kind.CLIP


class EpisodeScanner(LoadUser):
    """Recordings of any length: the first verdict and the last one apart."""

    kind = Kind.EPISODE


class LiveListener(LoadUser):
    """Live audio at the pace of speech: from the end of each window to its verdict."""

    kind = Kind.LIVE


class RawEnsemble(LoadUser):
    """Triton's ensemble by tritonclient, past the gateway."""

    kind = Kind.ENSEMBLE


_USERS: dict[Kind, type[LoadUser]] = {
    user.kind: user for user in (ClipScanner, EpisodeScanner, LiveListener, RawEnsemble)
}


def _figures(call: Call, fault: Exception | None) -> Iterator[tuple[str, float, Exception | None]]:
    """What Locust shows of a call: names, seconds and what went wrong."""
    if call.kind is Kind.EPISODE:
        if call.first_s is not None:
            yield "first verdict", call.first_s - call.at_s, None
        yield "last verdict", call.latency_s, fault
    elif call.kind is Kind.LIVE:
        for delay_s in call.delays_s:
            yield "verdict after its window", delay_s, None
        yield "whole stream", call.latency_s, fault
    else:
        yield "verdict", call.latency_s, fault


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    add_options(parser)


@events.init.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None:
        raise RuntimeError("Locust gave no options")
    workload = _checked(environment)
    if options.num_users is None:
        options.num_users = len(workload.weights) * 4 if workload.loop == "closed" else DEFAULT_USERS
    options.num_users = min(options.num_users, MAX_USERS)
    options.spawn_rate = options.spawn_rate or options.num_users
    options.run_time = int(workload.seconds + workload.timeout_s + DRAIN_S) + _STOP_S  # Locust's own, a last bound
    environment.stop_timeout = environment.stop_timeout or _STOP_S
    _choose_users(environment, workload)
    environment.host = environment.host or DEFAULT_URL
    if isinstance(environment.runner, MasterRunner):
        environment.runner.register_message(_DONE, _count_done)
    add_tab(environment, _State.ledger, workload)


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    runner, options = environment.runner, environment.parsed_options
    assert options is not None
    workload = _checked(environment)  # the page may have changed it
    _choose_users(environment, workload)
    _State.n_done = 0
    _State.ledger.clear()
    if isinstance(runner, MasterRunner):
        options.ranks = sorted(runner.get_worker_index(client.id) for client in runner.clients.ready)  # to the workers
        _State.began_unix_s = time.time() + LEAD_S
        return
    ranks = options.ranks if isinstance(runner, WorkerRunner) else [0]
    rank = ranks.index(runner.worker_index) if isinstance(runner, WorkerRunner) else 0
    url = _bare(str(environment.host or DEFAULT_URL))
    _State.senders = Senders(url, workload, Recordings(workload.audio))
    turns = _State.turns = Turns(workload, rank, len(ranks))
    _State.began_unix_s = turns.began_unix_s
    gevent.spawn(turns.pace)
    gevent.spawn(_finish, environment, turns)


def _choose_users(environment: Environment, workload: Workload) -> None:
    """The kinds of the mix; a worker knows all, and is told by the master."""
    if isinstance(environment.runner, WorkerRunner):
        return
    for kind, user in _USERS.items():
        user.weight = workload.weights.get(kind, 0)
    environment.user_classes[:] = [user for kind, user in _USERS.items() if kind in workload.weights]


def _finish(environment: Environment, turns: Turns) -> None:
    turns.wait()
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        _State.ledger.add(turns.not_sent())
        runner.send_message(_DONE, {_CALLS: _State.ledger.take()})
    else:
        _end(environment)


def _count_done(environment: Environment, msg: Message, **_: Any) -> None:
    _reported(msg.data)
    _State.n_done += 1
    if environment.parsed_options is not None and _State.n_done >= len(environment.parsed_options.ranks):
        gevent.spawn(_end, environment)


def _end(environment: Environment) -> None:
    runner, options = environment.runner, environment.parsed_options
    if runner is None or options is None:
        return
    if options.headless:
        runner.quit()
    else:
        runner.stop()


@events.report_to_master.add_listener
def _report(data: dict[str, Any], **_: Any) -> None:
    data[_CALLS] = _State.ledger.take()


@events.worker_report.add_listener
def _reported(data: dict[str, Any], **_: Any) -> None:
    _State.ledger.add(Call.of(fields) for fields in data.get(_CALLS, ()))


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    turns, _State.turns = _State.turns, None
    if turns is not None:
        _State.ledger.add(turns.not_sent())
    if isinstance(environment.runner, WorkerRunner):
        return
    calls = _State.ledger.all()
    if environment.parsed_options is not None and environment.parsed_options.calls:
        call_file.write(Path(environment.parsed_options.calls), _State.began_unix_s, calls)
    answered = [call for call in calls if not call.error]
    errors = sorted({call.error for call in calls if call.error})
    print(
        f"calls: {len(calls)}, answered: {len(answered)}, late starts: {sum(call.is_late for call in calls)}, "
        f"errors: {', '.join(f'{sum(call.error == kind for call in calls)} {kind}' for kind in errors) or 'none'}"
    )
    if answered:
        lasted_s = max(call.ended_s for call in answered)
        answered_s = sum(call.audio_s for call in answered)
        print(f"audio seconds a second: {answered_s / lasted_s:.2f} ({answered_s:.0f} s answered in {lasted_s:.1f} s)")


def _checked(environment: Environment) -> Workload:
    """Ends the process with a message when the load cannot be, or may not go there."""
    try:
        workload = Workload.of(vars(environment.parsed_options))
        workload.check_host(_bare(str(environment.host or DEFAULT_URL)))
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    return workload


def _bare(host: str) -> str:
    return host.split("://")[-1].rstrip("/")
