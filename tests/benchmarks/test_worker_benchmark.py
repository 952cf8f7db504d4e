"""The benchmark of the worker: what its counts say, and its committed result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.worker import kills
from benchmarks.worker.__main__ import RESULT, markdown
from benchmarks.worker.kills import storm


class Broker:
    """Answers as it is told."""

    scheme = "redis"

    def __init__(self, verdicts: list[str], dead: list[str], unacknowledged: int = 0) -> None:
        self._answers = {
            kills.VERDICTS: [{"id": id_, "from_record": number > 0} for number, id_ in enumerate(verdicts)],
            kills.DEAD: [{"id": id_} for id_ in dead],
        }
        self._unacknowledged = unacknowledged
        self.n_put = self.n_kills = self.n_starts = 0

    def put(self, bodies: list[bytes]) -> None:
        self.n_put += len(bodies)

    def answers(self, topic: str) -> list[dict]:
        return self._answers[topic]

    def unacknowledged(self) -> int:
        return self._unacknowledged

    def kill(self) -> None:
        self.n_kills += 1

    def start(self) -> None:
        self.n_starts += 1


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(kills.time, "sleep", lambda _: None)


def test_what_is_lost_and_what_comes_twice_is_counted():
    broker = Broker(["message-0", "message-0", "message-1", "message-2"], ["message-3"])
    counts = storm(broker, Broker([], []), [Path("a"), Path("b")], 6, ("broker", "broker", "worker"))
    assert (broker.n_put, broker.n_kills, broker.n_starts) == (6, 2, 2)
    assert (counts.published, counts.answered, counts.dead_letters, counts.lost, counts.twice) == (6, 3, 1, 2, 1)
    assert (counts.scans, counts.audios, counts.kills) == (1, 2, {"broker": 2, "worker": 1})


def test_messages_that_stay_unanswered_are_an_error(monkeypatch):
    monkeypatch.setattr(kills, "_ANSWERED_WITHIN_S", 0.01)
    with pytest.raises(TimeoutError, match="3 messages are not answered"):
        storm(Broker([], [], unacknowledged=3), Broker([], []), [Path("a")], 1, ())


def test_the_committed_result_is_what_the_page_says():
    report = json.loads(RESULT.read_text())
    page = (RESULT.parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert "| redis | 200 |" in markdown(report)
    for entry in report["kills"].values():
        row = entry["result"]
        shown = f"| {row['published']} | worker 10, broker 10, Triton 2 | {row['answered']} | {row['dead_letters']} "
        assert f"{shown}| {row['lost']} | {row['twice']} | {row['scans']} of {row['audios']} |" in page
        assert row["kills"] == {"worker": 10, "broker": 10, "triton": 2}
