"""What the benchmark of faults counts as answered, as a clear error and as lost."""

import asyncio

import pytest

from aircheck_client import Action, DeadlineError, OverloadedError, Severity, Verdict
from benchmarks.faults.__main__ import markdown
from benchmarks.faults.load import Outcome, Requests, Row

VERDICT = Verdict(
    scope="window",
    duration_s=4.0,
    score=0.0,
    severity=Severity.NONE,
    action=Action.ALLOW,
    reason="",
    policy_pack="default",
    policy_version="3",
    policy_sha256="0" * 64,
    server_version="0",
    models=(),
)


class FakeClient:
    """Answers rightly at first, then with what it is told to."""

    def __init__(self):
        self.answer = VERDICT

    async def scan_clip(self, audio, timeout_s):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    scan = scan_clip


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (VERDICT, "answered", ""),
        (VERDICT.model_copy(update={"server_version": "1"}), "answered", ""),
        (VERDICT.model_copy(update={"action": Action.BLOCK}), "lost", "wrong"),
        (DeadlineError("late"), "lost", "no answer"),
        (OverloadedError("full"), "error", "OverloadedError"),
    ],
)
def test_outcomes(answer, kind, what):
    async def run():
        client = FakeClient()
        requests = Requests(client, [b"clip"], b"recording")
        await requests.learn()
        client.answer = answer
        return await requests.clip(7), await requests.scan()

    for outcome in asyncio.run(run()):
        assert (outcome.kind, outcome.what) == (kind, what)


def test_a_row_counts_all_requests_and_names_what_was_not_answered():
    outcomes = [
        *[Outcome("answered")] * 6,
        *[Outcome("error", "OverloadedError")] * 2,
        Outcome("lost", "wrong"),
    ]
    row = Row.of("kill -9 `whisper`", outcomes, 0.31, None, "a note")
    assert (row.in_flight, row.answered, row.errors, row.lost) == (9, 6, {"OverloadedError": 2}, {"wrong": 1})
    table = markdown({"faults": [vars(row)]}).splitlines()
    assert table[-1] == "| kill -9 `whisper` (a note) | 9 | 6 | 2 OverloadedError | 1 wrong | 0.3 | – |"
    assert len(table[0].split("|")) == len(table[-1].split("|"))
