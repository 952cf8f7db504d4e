"""Messages under load while the worker and the broker are killed and started again: what becomes of each."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.worker.process import WorkerProcess
from benchmarks.worker.servers import DEAD, VERDICTS, BrokerServer

CLAIM_AFTER_S = 2.0
OPTIONS = ("--claim-after", str(CLAIM_AFTER_S), "--attempts", "50")  # kills are no fault of the messages
_PUT_AT_A_TIME = 5
_ANSWERED_WITHIN_S = 300.0


class Killable(Protocol):
    """What is killed and started again."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass(frozen=True)
class Counts:
    """What became of the messages.

    lost : no verdict and no dead letter
    twice : verdicts beyond the first of a message
    scans : verdicts that were not from a record. One that was stored and not published before a kill is from it
    took_s : from the first message to the last answer
    """

    broker: str
    published: int
    audios: int
    kills: dict[str, int]
    answered: int
    dead_letters: int
    lost: int
    twice: int
    scans: int
    took_s: float


def storm(
    broker: BrokerServer,
    worker: WorkerProcess,
    files: Sequence[Path],
    n_messages: int,
    victims: Sequence[str],
    seed: int = 0,
    others: Mapping[str, Killable] | None = None,
) -> Counts:
    """Publishes messages at random intervals, and kills each of `victims` in turn at random moments between them.

    victims : "worker", "broker", or names of `others`

    Broker and worker run before and after. Raises TimeoutError when messages stay unanswered.
    """
    rng, begun_s = random.Random(seed), time.monotonic()
    ids = [f"message-{number}" for number in range(n_messages)]
    bodies = [
        json.dumps({"id": id_, "uri": str(files[number % len(files)])}).encode() for number, id_ in enumerate(ids)
    ]
    n_parts = len(victims) + 1
    killables: dict[str, Killable] = {"worker": worker, "broker": broker, **(others or {})}
    for part in range(n_parts):
        mine = bodies[part * n_messages // n_parts : (part + 1) * n_messages // n_parts]
        for at in range(0, len(mine), _PUT_AT_A_TIME):
            broker.put(mine[at : at + _PUT_AT_A_TIME])
            time.sleep(rng.uniform(0, 0.3))
        if part < len(victims):
            time.sleep(rng.uniform(0, 1.0))
            _kill_and_start(killables[victims[part]], rng)
    _wait_until_answered(broker)
    answers = broker.answers(VERDICTS)
    counted = Counter(answer["id"] for answer in answers)
    dead = {letter["id"] for letter in broker.answers(DEAD)}
    return Counts(
        broker=broker.scheme,
        published=n_messages,
        audios=len(files),
        kills=dict(Counter(victims)),
        answered=len(set(ids) & set(counted)),
        dead_letters=len(dead),
        lost=len(set(ids) - set(counted) - dead),
        twice=sum(counted.values()) - len(counted),
        scans=sum(not answer["from_record"] for answer in answers),
        took_s=round(time.monotonic() - begun_s, 1),
    )


def _kill_and_start(victim: Killable, rng: random.Random) -> None:
    victim.kill()
    time.sleep(rng.uniform(0, 1.0))
    victim.start()


def _wait_until_answered(broker: BrokerServer) -> None:
    deadline_s = time.monotonic() + _ANSWERED_WITHIN_S
    while broker.unacknowledged():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{broker.unacknowledged()} messages are not answered after {_ANSWERED_WITHIN_S:g} s")
        time.sleep(0.2)
