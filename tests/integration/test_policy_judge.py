"""A server with a guard model as its classifier and a policy judge behind it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aircheck.server import Server
from aircheck.settings import ROOT, Settings
from aircheck_client import AircheckClient, Retry
from aircheck_client.schema import Action, Verdict
from support.audio import wav
from support.guards import save_guard
from support.judge_server import answer, judge_server
from support.speech import speak
from support.triton import FREE_PORTS
from support.whisper_models import random_whisper, save_pt

TIMEOUT_S = 120


def test_windows_that_wait_for_the_judge_do_not_keep_others_waiting(tmp_path: Path) -> None:
    two_windows = threading.Barrier(2)

    def reply(policy: str, said: dict[str, str]) -> str:
        two_windows.wait(TIMEOUT_S)  # one question a window: nobody is answered before two windows have asked
        return answer(False, "nothing in the policy is about this")

    clip = wav(speak("hello and welcome back to the show"))
    with judge_server(reply) as judge:
        settings = Settings.load(
            whisper=str(save_pt(random_whisper(n_mels=80, n_vocab=51865), tmp_path / "mine.pt")),
            whisper_fallback=False,  # random weights babble at every temperature
            text_classifier=str(save_guard(tmp_path / "my-guard", "qwen3")),
            text_labels=ROOT / "server_config" / "labels" / "guard_qwen3guard.yaml",
            judge_url=judge.url,
            judge_model="my-judge",
            judge_below=1.0,  # whatever random weights score is near a threshold
            judge_above=1.0,
            judge_max_per_window=1,
            judge_timeout_s=60.0,
            **FREE_PORTS,
        )
        with (
            Server(settings) as server,
            AircheckClient(server.url, timeout_s=TIMEOUT_S, retry=Retry(attempts=1)) as client,
            ThreadPoolExecutor(4) as callers,
        ):
            verdicts: list[Verdict] = list(callers.map(client.scan_clip, [clip] * 4))
    assert len(judge.requests) == 4
    for verdict in verdicts:
        assert verdict.segments
        roles = {model.role: model.name for model in verdict.models}
        assert (roles["text_safety"], roles["policy_judge"]) == ("my-guard", "my-judge")
        assert not any("timed out" in warning for warning in verdict.warnings)
        judged = [item for finding in verdict.findings for item in finding.evidence if "policy judge" in item.note]
        assert all(item.action is Action.ALLOW for item in judged)
