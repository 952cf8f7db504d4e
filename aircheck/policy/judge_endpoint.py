"""Puts the policy judge's questions to an OpenAI-compatible endpoint, within a deadline and a budget.

Answers are requested concurrently, from one event loop on a thread of its own: whoever asks waits at most `timeout_s`
in all, and what has not come by then is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from aircheck.policy.errors import PolicyError
from aircheck.policy.judge import Answer, JudgeError, PolicyJudge, Question, parse_answer
from aircheck.settings import Settings

MAX_RESPONSE_BYTES = 64 * 1024
MAX_ANSWER_TOKENS = 1024  # a reasoning model thinks before it answers
HOUR_S = 3600.0


@dataclass(frozen=True)
class EndpointOptions:
    """Where the endpoint is, and how much is asked of it.

    url : base of the API, for example `http://127.0.0.1:8100/v1`
    timeout_s : for all questions of one call together
    parallel : most requests in flight
    max_per_hour : most requests in any hour; further questions get no answer
    """

    url: str
    model: str
    key: SecretStr | None
    timeout_s: float
    parallel: int
    max_per_hour: int


def judge_of(settings: Settings) -> PolicyJudge | None:
    """The policy judge of the settings; None where there is none. Raises PolicyError when its key cannot be read."""
    if settings.judge_url is None or settings.judge_model is None:
        return None
    options = EndpointOptions(
        url=settings.judge_url,
        model=settings.judge_model,
        key=_key(settings.judge_key_file) if settings.judge_key_file else None,
        timeout_s=settings.judge_timeout_s,
        parallel=settings.judge_parallel,
        max_per_hour=settings.judge_max_per_hour,
    )
    return PolicyJudge(
        name=options.model,
        ask=JudgeEndpoint(options),
        below=settings.judge_below,
        above=settings.judge_above,
        max_per_window=settings.judge_max_per_window,
    )


def _key(path: Path) -> SecretStr:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"judge_key_file {path}: cannot be read: {error}") from None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise PolicyError(f"judge_key_file {path}: holds no API key; write the key alone on its first line")
    return SecretStr(key)


class JudgeEndpoint:
    """An `Ask` over HTTP; thread-safe."""

    def __init__(self, options: EndpointOptions) -> None:
        self._options = options
        self._sent_at_s: deque[float] = deque()
        self._budget = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="policy-judge", daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {options.key.get_secret_value()}"} if options.key else {}
        # no proxies or credentials from the environment: transcripts go to the address in the settings and nowhere else
        self._client = httpx2.AsyncClient(
            headers=headers, timeout=options.timeout_s, trust_env=False, follow_redirects=False
        )
        self._in_flight = asyncio.Semaphore(options.parallel)

    def __call__(self, questions: Sequence[Question]) -> Sequence[Answer | JudgeError]:
        """An answer, or why there is none, for each question, after at most `timeout_s`."""
        return asyncio.run_coroutine_threadsafe(self._ask_all(questions), self._loop).result()

    def close(self) -> None:
        """Stops the thread; the endpoint cannot be asked any more."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask_all(self, questions: Sequence[Question]) -> list[Answer | JudgeError]:
        tasks = [asyncio.create_task(self._ask(question)) for question in questions]
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=self._options.timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return [JudgeError("timed out") if task in late else task.result() for task in tasks]

    async def _ask(self, question: Question) -> Answer | JudgeError:
        try:
            async with self._in_flight:
                self._spend()
                return parse_answer(_content(await self._post(question)))
        except JudgeError as error:
            return error
        except httpx2.TimeoutException:
            return JudgeError("timed out")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return JudgeError(f"it cannot be reached: {type(error).__name__}")

    async def _post(self, question: Question) -> bytes:
        request = {
            "model": self._options.model,
            "messages": question.messages(),
            "temperature": 0,
            "max_tokens": MAX_ANSWER_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": Answer.model_json_schema()},
            },
        }
        url = self._options.url.rstrip("/") + "/chat/completions"
        async with self._client.stream("POST", url, json=request) as response:
            if response.status_code != 200:
                raise JudgeError(f"it answered with HTTP {response.status_code}")
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_RESPONSE_BYTES:
                    raise JudgeError("its answer is too long")
        return body

    def _spend(self) -> None:
        """Counts a request. Raises JudgeError when the hour's budget is used up."""
        now_s = time.monotonic()
        with self._budget:
            while self._sent_at_s and now_s - self._sent_at_s[0] >= HOUR_S:
                self._sent_at_s.popleft()
            if len(self._sent_at_s) >= self._options.max_per_hour:
                raise JudgeError("the budget of the hour is used up")
            self._sent_at_s.append(now_s)


def _content(body: bytes) -> Any:
    """The message's content in a chat completion. Raises JudgeError."""
    try:
        message = json.loads(body)["choices"][0]["message"]
        return None if message.get("refusal") else message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise JudgeError("its response is no chat completion") from None
