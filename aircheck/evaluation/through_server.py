"""Scores items end to end, on a running server, through the client that everybody uses.

The verdict is the server's; the scores below the pack's thresholds, which verdicts leave out, come with it. Texts have
no audio to send: they are scored by the text classifier in this process.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from aircheck.evaluation.items import EVENTS, Item, Result, Span, UsageError
from aircheck.evaluation.through_models import Scorer, rounded
from aircheck_client.client import AircheckClient, VerdictStream
from aircheck_client.errors import (
    AircheckError,
    AuthenticationError,
    OverloadedError,
    ScanCancelledError,
    UnavailableError,
)
from aircheck_client.schema import Context, Verdict

_TIMEOUT_S = 600.0
_PATIENCE_S = 1800.0
_SERVER_GONE = (UnavailableError, AuthenticationError, ScanCancelledError)  # the run ends, and can be taken up again


class ServerScorer(Scorer):
    """Every item through the whole server, `in_flight` at a time so that its batches fill."""

    def __init__(self, client: AircheckClient, context: Context, in_flight: int, texts: Scorer):
        """texts : scores items without audio; of the same text classifier as the server's

        Raises UsageError when the server does not have the pack, AircheckError when it does not answer.
        """
        self._client, self._context, self._in_flight, self._texts = client, context, in_flight, texts
        info = client.info(timeout_s=_TIMEOUT_S)
        packs = {pack.name: pack for pack in info.policy_packs}
        if context.policy_pack not in packs:
            raise UsageError(f"the server has no policy pack {context.policy_pack!r}; available: {', '.join(packs)}")
        pack = packs[context.policy_pack]
        self.conditions = {
            **{model.role: f"{model.name} {model.version}" for model in info.models},
            "server": info.server_version,
            "pack": f"{pack.name} {pack.version} (sha256 {pack.sha256[:12]})",
            "context": f"{context.content_type}, market {context.market}",
        }
        self.languages = info.languages

    def __call__(self, items: Sequence[Item]) -> Iterator[Result]:
        """Raises AircheckError when the server is gone; what was scored by then has been given."""
        if texts := [item for item in items if item.audio is None]:
            here, there = self._texts.conditions["text_safety"], self.conditions["text_safety"]
            if not here.startswith(there):
                raise UsageError(
                    f"{texts[0].id}: a server takes audio; texts are scored here, by {here}, but it has {there}: "
                    "leave out --url, or choose the same --text-classifier in the settings"
                )
            yield from self._texts(texts)
        with ThreadPoolExecutor(self._in_flight, thread_name_prefix="item") as pool:
            try:
                scans = [pool.submit(self._result, item, item.audio) for item in items if item.audio is not None]
                for done in as_completed(scans):
                    yield done.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _scan(self, audio: Path) -> tuple[Verdict, VerdictStream]:
        """Waits while others have the server, _PATIENCE_S at most. Raises AircheckError."""
        given_up_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                stream = self._client.stream(audio, self._context, timeout_s=_TIMEOUT_S, scores=True)
                *_, verdict = stream
                return verdict, stream
            except OverloadedError as error:
                if time.monotonic() > given_up_s:
                    raise
                time.sleep(error.retry_after_s or 1.0)

    def _result(self, item: Item, audio: Path) -> Result:
        try:
            verdict, stream = self._scan(audio)
        except _SERVER_GONE:
            raise
        except AircheckError as error:
            return Result(id=item.id, fingerprint="", error=str(error))
        highest: dict[str, float] = defaultdict(float)
        for window in stream.about.scores:
            for name, score in (window.categories | {event: window.events.get(event, 0.0) for event in EVENTS}).items():
                highest[name] = max(highest[name], score)
        return Result(
            id=item.id,
            fingerprint=item.fingerprint(),
            duration_s=verdict.duration_s,
            transcript=" ".join(segment.text for segment in verdict.segments),
            language=verdict.language,
            scores=rounded(highest),
            spans=tuple(
                Span(target=finding.category, start_s=one.start_s, end_s=one.end_s, score=one.score)
                for finding in verdict.findings
                if finding.category in EVENTS
                for one in finding.evidence
            ),
        )
