"""A small OpenAI-compatible endpoint on loopback, whose answers the test decides: the judge is not ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class JudgeServer:
    """Its address, what was asked of it, and how many requests it held at once."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0

    def policies(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]

    def said(self) -> list[dict[str, str]]:
        return [json.loads(request["messages"][1]["content"]) for request in self.requests]


def answer(violates: bool, rationale: str = "the policy says so") -> str:
    return json.dumps({"violates": violates, "rationale": rationale})


@contextmanager
def judge_server(reply: Callable[[str, dict[str, str]], object]) -> Iterator[JudgeServer]:
    """Serves until the block ends.

    reply : policy prompt and the user's data to the message's content; bytes are sent as the whole body, an int as the
        HTTP status
    """
    state, lock, in_flight = JudgeServer(), threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                in_flight[0] += 1
                state.most_at_once = max(state.most_at_once, in_flight[0])
                state.requests.append(request)
                state.headers.append(dict(self.headers))
            try:
                policy, user = (message["content"] for message in request["messages"])
                content = reply(policy, json.loads(user))
                status = content if isinstance(content, int) else 200
                completion = {"choices": [{"message": {"role": "assistant", "content": content}}]}
                body = content if isinstance(content, bytes) else json.dumps(completion).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the client gave up, as some tests want it to
            finally:
                with lock:
                    in_flight[0] -= 1

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
